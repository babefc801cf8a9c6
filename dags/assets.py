"""The assets that chain the DAGs, each partitioned by AS_OF."""

from airflow.sdk import Asset

churn_snapshots = Asset("churn_snapshots")
churn_online_features = Asset("churn_online_features")
churn_production_model = Asset("churn_production_model")
