"""Reproduction of a model version from its lineage, compared bit for bit."""
