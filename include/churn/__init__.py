"""The StreamFlow churn pipeline as plain Python: no import of Airflow or Flask."""
