"""Checks that alert an operator."""
