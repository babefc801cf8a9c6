"""Feast: the feature store, point-in-time joins, and the online store that serves one AS_OF."""
