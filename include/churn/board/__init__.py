"""The data of the gate board."""
