"""What the gate board shows."""
