"""What a person must accept of a drop, because it is unlike the one before."""
