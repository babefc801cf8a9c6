"""The StreamFlow churn pipeline as plain Python: no Airflow, no Flask.

One AS_OF flows through the modules in this order: landing, validation, archive, loading, snapshots,
features, training_set, training, gate, promotion.
"""
