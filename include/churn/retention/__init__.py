"""Retention: deletes expired data. The audit trail is kept for ever: decisions, moves of Production, the archive of
drops, and the record of each date's inputs."""

RETENTION_LOCK = "retention"
"""Lock held while MLflow artifacts are deleted, and while a backup reads them."""
