"""The commands that work through the running stack: run the chain, ask, roll back, withdraw, reproduce."""
