"""Drift: each AS_OF held against what its version was trained on, and against an earlier AS_OF."""
