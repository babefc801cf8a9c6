"""What an operator asks and keeps: status, doctor, backup, restore."""
