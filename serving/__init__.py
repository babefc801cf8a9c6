"""The HTTP service: churn predictions of the Production model by customer id."""
