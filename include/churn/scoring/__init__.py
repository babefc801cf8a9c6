"""Scoring: from features to the probability of churn."""
