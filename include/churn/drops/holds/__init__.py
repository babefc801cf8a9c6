"""Holds: a drop that differs too much from the previous one waits until a person accepts it."""
