"""Airflow imports this module in every component at startup. It preloads libraries in the parent process of tasks: the
scheduler with LocalExecutor, the worker with CeleryExecutor.

Tasks are forks and start with these libraries imported, which saves seconds per task. include/churn is not preloaded,
so that code changes reach the next task without a restart. Nothing here may open a connection or start a thread:
neither survives the fork.

Airflow logs stderr of a task as errors. MLflow writes logs of every level and progress bars there; both are turned off.
"""

import os
import sys
from importlib import import_module

from airflow.configuration import conf

# Airflow overrides its settings with the names exported here: none.
__all__: list[str] = []

# MLflow reads them when it is imported.
for _variable in ("MLFLOW_CONFIGURE_LOGGING", "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"):
    os.environ.setdefault(_variable, "false")

# Includes submodules that the libraries import lazily.
HEAVY = (
    # First: its import gets slower with every loaded module.
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
