"""From snapshots and labels to a registered candidate."""
