"""Erasure: removes customers from every place that holds rows of them, and keeps a keyed hash of each.

Each place is a module with a function that looks for the customers and removes them. It is idempotent: where it was
interrupted, the next call continues.
"""
