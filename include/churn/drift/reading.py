"""What is compared of an AS_OF: the features and scores of a fixed sample of its customers."""

SAMPLE = 2**16
"""Customers that are compared, on each side. Their PSI is right to 0.001 where there is no difference, and neither
memory nor time grow with the customers."""

SCORE = "churn_probability"
"""The column of the scores."""
