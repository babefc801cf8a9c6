"""Retention: what was kept for long enough is taken away. What an auditor asks for stays for ever: the decisions, the
moves of Production, the archive of drops, and of each date what it was made of."""

RETENTION_LOCK = "retention"
"""The lock of whoever removes artifacts of MLflow, and of whoever must not miss any: a backup."""
