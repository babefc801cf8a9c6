"""Making a model version again: what it keeps for that (lineage.py), and doing it, bit for bit (reproduce.py)."""
