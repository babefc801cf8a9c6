"""The chain on CeleryExecutor: two workers share only the landing directory, and one is killed while it trains."""

from datetime import date
from pathlib import Path

import pytest
from fsspec.core import url_to_fs
from mlflow import MlflowClient

from bench.celery_workers import Worker
from churn.features.store import FEATURE_SERVICE, read_online
from churn.settings import TRAINING_ROWS
from churn.training.recipe import Parameters
from tests.conftest import database_copy, tracking
from tests.database_dump import dump_of_drops
from tests.e2e.stack import JANUARY
from tests.integration.conftest import Pipeline
from tests.integration.training_chain import Chain
from tests.opened_store import opened_store

# A stack, workers and a chain of which a part is done twice.
pytestmark = pytest.mark.timeout(1200)


def tries(worker: Worker) -> list[int]:
    """Return the tries of `train` that ran on the worker, from their logs."""
    logs = (worker.home / "logs").glob("dag_id=churn_train/*/task_id=train/attempt=*.log")
    return sorted(int(log.stem.removeprefix("attempt=")) for log in logs)


@pytest.fixture(scope="module")
def undisturbed(disturbed, postgres_url, churn_template, mlflow_template, tmp_path_factory) -> dict:
    """The state after the same chain by sequential function calls."""
    directory, drops = tmp_path_factory.mktemp("undisturbed"), disturbed.stack.drops
    with (
        database_copy(postgres_url, churn_template) as database_url,
        tracking(postgres_url, mlflow_template, directory) as mlflow,
    ):
        chain = Chain(Pipeline(database_url, drops, directory / "archive"))
        chain(date.fromisoformat(JANUARY), Parameters(training_rows=TRAINING_ROWS))
        return state(database_url, MlflowClient(mlflow, mlflow), str(directory / "archive"), drops)


def state(database_url: str, client: MlflowClient, archive: str, drops: Path) -> dict:
    """The whole state: drops and snapshots, features of every customer, versions, decisions, the archive."""
    lines = (drops / JANUARY / "users.csv").read_text().splitlines()[1:]
    with opened_store(database_url) as store:
        served = read_online(store, store.get_feature_service(FEATURE_SERVICE), [line.split(",")[0] for line in lines])
    versions = client.search_model_versions("name = 'streamflow_churn'")
    runs = {int(version.version): client.get_run(version.run_id).data for version in versions}
    files, root = url_to_fs(archive)
    return {
        "drops": dump_of_drops(database_url),
        "served": served,
        "stages": {int(version.version): version.current_stage for version in versions},
        "tags": {(int(v.version), name): value for v in versions for name, value in v.tags.items()},
        "figures": {
            (number, name): value
            for number, run in runs.items()
            for name, value in {**run.params, **run.metrics}.items()
            if name != "train_seconds"
        },
        "archive": [path.removeprefix(root) for path in files.find(root)],
    }


def test_every_run_succeeds_although_a_training_worker_was_killed(disturbed):
    assert disturbed.versions_at_the_kill == 0
    assert {dag: run["state"] for dag, run in disturbed.runs.items()} == {
        "churn_snapshot": "success",
        "churn_materialize": "success",
        "churn_train": "success",
        "churn_score": "success",
        "churn_outcome": "success",
    }


def test_the_task_of_the_killed_worker_is_finished_by_the_other_one(disturbed):
    assert tries(disturbed.killed) == [1]
    assert tries(disturbed.other) == [2]


def test_every_other_task_ran_once(disturbed):
    tries = {name: task["try_number"] for name, task in disturbed.tasks.items() if task["state"] == "success"}
    assert tries.pop("train") == 2
    assert set(tries.values()) == {1}


@pytest.fixture(scope="module")
def found(disturbed) -> dict:
    """The state after the disturbed chain."""
    stack = disturbed.stack
    return state(stack.settings["CHURN_DATABASE_URL"], stack.client(), disturbed.archive, stack.drops)


@pytest.mark.parametrize("part", ["drops", "served", "stages", "tags", "figures", "archive"])
def test_the_state_is_that_of_an_undisturbed_run(found, undisturbed, part):
    assert found[part] == undisturbed[part]


def test_one_decision_was_made_and_it_promoted_the_one_version(disturbed):
    assert disturbed.stack.decided() == [(date.fromisoformat(JANUARY), "PROMOTE", 1)]


def test_heavy_tasks_wait_in_the_training_queue(disturbed):
    queues = {name: task["queue"] for name, task in disturbed.tasks.items()}
    assert {task for task, queue in queues.items() if queue == "training"} == {
        "train",
        "report",
        "score",
        "judge",
        "expect",
        "drift",
    }
    assert set(queues.values()) == {"default", "training"}


def test_a_worker_shares_only_the_landing_directory(disturbed):
    home = disturbed.stack.settings["CHURN_HOME"]
    assert {name for name, value in disturbed.other.environment.items() if home in value} == {"LANDING_DIR"}
    assert not list((Path(home) / "archive").iterdir())
