"""CHURN_OFFLINE: with the default nothing imports pyspark; with spark the chain waits for the Parquet snapshot."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from churn.settings import POSTGRES, SPARK, SettingError, offline

REPOSITORY = Path(__file__).parents[2]

WITHOUT = """
import importlib, sys
from pathlib import Path


class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"pyspark", "py4j"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, Absent())
sys.path[:0] = ["include", ".", "dags"]
names = [path.stem for path in Path("dags").glob("*.py")]
for root, package in (("include", "churn"), (".", "serving"), (".", "embedded")):
    for path in sorted(Path(root, package).rglob("*.py")):
        name = ".".join(path.relative_to(root).with_suffix("").parts)
        # gunicorn.conf.py is no module.
        if path.stem.isidentifier() and path.stem != "__main__" and name != "churn.spark.offline_store":
            names.append(name.removesuffix(".__init__"))
for name in names:
    importlib.import_module(name)
print(len(names), sorted(each for each in sys.modules if "pyspark" in each or "spark_offline_store" in each))
"""

TASKS = """
import json, sys
sys.path[:0] = ["include", "dags"]
from airflow.dag_processing.dagbag import DagBag
bag = DagBag("dags")
assert not bag.import_errors, bag.import_errors
print(json.dumps({
    f"{dag.dag_id}.{task.task_id}": {
        "queue": task.queue,
        "outlets": [each.name for each in task.outlets],
        "then": sorted(task.downstream_task_ids),
    } for dag in bag.dags.values() for task in dag.tasks
}))
"""


def run(code, **environment):
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=REPOSITORY,
        # By Feast's directory of metrics it would count as a worker of the service that other tests run.
        env={name: value for name, value in os.environ.items() if "PROMETHEUS" not in name} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.splitlines()[-1]


def test_every_module_is_imported_without_pyspark():
    number, _, loaded = run(WITHOUT).partition(" ")
    assert int(number) > 200
    assert loaded == "[]"


def test_with_spark_the_tasks_that_join_have_their_queue_and_the_chain_waits_for_the_parquet_snapshot():
    by_postgres, by_spark = (json.loads(run(TASKS, CHURN_OFFLINE=engine)) for engine in (POSTGRES, SPARK))
    assert not [name for name, task in by_postgres.items() if task["queue"] == SPARK]
    assert {name for name, task in by_spark.items() if task["queue"] == SPARK} == {
        *("churn_snapshot.parquet", "churn_train.train", "churn_train.gate", "churn_train.report"),
        *("churn_score.score", "churn_outcome.judge", "churn_withdraw.outcomes"),
    }
    assert by_spark["churn_snapshot.snapshot"] == {"queue": "default", "outlets": [], "then": ["parquet"]}
    assert by_spark["churn_snapshot.parquet"]["outlets"] == by_postgres["churn_snapshot.snapshot"]["outlets"]
    assert by_spark["churn_snapshot.parquet"]["then"] == by_postgres["churn_snapshot.snapshot"]["then"]
    assert by_spark.keys() - by_postgres.keys() == {"churn_snapshot.parquet"}


def test_another_engine_is_refused_by_its_name():
    with pytest.raises(SettingError, match="CHURN_OFFLINE must be postgres or spark, got 'duckdb'"):
        offline({"CHURN_OFFLINE": "duckdb"})
