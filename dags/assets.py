"""The assets that chain the DAGs, each partitioned by AS_OF."""

from airflow.sdk import Asset

churn_snapshots = Asset("churn_snapshots")
churn_online_features = Asset("churn_online_features")
churn_trainings = Asset("churn_trainings")
"""A training of the AS_OF has ended, whatever came of it."""
churn_scores = Asset("churn_scores")
churn_production_model = Asset("churn_production_model")
churn_outcomes = Asset("churn_outcomes")
"""The dates whose labels the drop of the AS_OF brought are judged."""
