"""The commands that need the running stack: run the chain, predict, roll back, withdraw, reproduce."""
