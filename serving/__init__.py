"""The HTTP service: a customer's id in, the churn probability of the Production model out."""
