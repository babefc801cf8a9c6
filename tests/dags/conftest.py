"""The DAG files as Airflow's DAG processor parses them, in a temporary Airflow home."""

import os
import sys
import tempfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]

# Airflow reads its configuration when it is first imported.
os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="churn-tests-airflow-")
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
os.environ["AIRFLOW__CORE__DAGS_FOLDER"] = str(REPOSITORY / "dags")
os.environ["AIRFLOW__CORE__PLUGINS_FOLDER"] = str(REPOSITORY / "plugins")
# As the DAG processor does with the folder of a bundle.
sys.path.insert(0, str(REPOSITORY / "dags"))


@pytest.fixture(scope="session")
def dag_bag():
    from airflow.dag_processing.dagbag import DagBag

    return DagBag(str(REPOSITORY / "dags"))
