"""Airflow imports this module at its start, in every component. In the one that tasks are forks of (the scheduler where
LocalExecutor runs them, a Celery worker where it does) it imports what tasks import.

Airflow logs what a task writes to stderr as an error. MLflow writes its log there, whatever the level, and the progress
of downloads. Here it is told to leave logging to the process, so that each record has its own level, and to draw none.

What is imported here, tasks find imported (0.2 s a task instead of 7 to 30). Only libraries: a change of include/churn
is seen by the next task, without a restart. Nothing here may open a connection or start a thread: neither survives
the fork. Airflow freezes the garbage collector around the fork itself, so that the pages stay shared.
"""

import os
import sys
from importlib import import_module

from airflow.configuration import conf

# Airflow takes names from here over its own settings: none are meant.
__all__: list[str] = []

# MLflow reads them when it is imported.
for _variable in ("MLFLOW_CONFIGURE_LOGGING", "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"):
    os.environ.setdefault(_variable, "false")

# Modules of the same libraries that are imported late, at the first use, are named beside the library.
HEAVY = (
    # First: it asks every module that is there for each of numpy's functions.
    "skops.io",
    "airflow.providers.postgres.hooks.postgres",
    "pandas",
    "pyarrow.csv",
    "pyarrow.parquet",
    "adbc_driver_postgresql.dbapi",
    "sklearn.calibration",
    "sklearn.compose",
    "sklearn.ensemble",
    "sklearn.impute",
    "sklearn.inspection",
    "sklearn.linear_model",
    "sklearn.metrics",
    "sklearn.pipeline",
    "sklearn.preprocessing",
    "feast",
    "feast.repo_operations",
    "feast.infra.passthrough_provider",
    "feast.infra.compute_engines.local.compute",
    "feast.infra.offline_stores.contrib.postgres_offline_store.postgres",
    "feast.infra.online_stores.postgres_online_store.postgres",
    "feast.infra.registry.sql",
    "jinja2",
    "matplotlib.figure",
    "matplotlib.backends.backend_svg",
    "mlflow.sklearn",
    "mlflow.pyfunc.scoring_server",
    "mlflow.tracking.request_header.registry",
    "git",
)

TASKS_ARE_FORKS_OF = "worker" if "CeleryExecutor" in conf.get("core", "executor") else "scheduler"

if TASKS_ARE_FORKS_OF in sys.argv:
    for _module in HEAVY:
        import_module(_module)
