"""The operator's commands: status, doctor, backup, restore."""
