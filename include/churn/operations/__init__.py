"""What an operator is alerted to."""
