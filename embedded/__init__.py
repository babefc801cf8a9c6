"""The embedded stack: Postgres, Airflow, MLflow and serving on one machine, with no Docker and no root.

`python -m embedded <command>` is the whole interface; the Makefile calls nothing else.
"""
