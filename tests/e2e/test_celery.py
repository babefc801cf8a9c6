"""The chain on CeleryExecutor: two workers share only the landing directory, and one is killed while it trains."""

import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import psutil
import pytest
from fsspec.core import url_to_fs
from mlflow import MlflowClient

from bench.celery_workers import Worker, celery_workers
from bench.processes import redis_server
from churn.features.store import FEATURE_SERVICE, read_online
from churn.synthetic.generate import write_drops
from tests.conftest import database_copy, tracking
from tests.database_dump import dump_of_drops
from tests.e2e.stack import JANUARY, Stack, free_ports
from tests.integration.conftest import Pipeline
from tests.integration.training_chain import Chain
from tests.opened_store import opened_store
from tests.patience import wait_for

pytestmark = [
    pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed"),
    # A stack, workers and a chain of which a part is done twice.
    pytest.mark.timeout(1200),
]

HEARTBEAT_TIMEOUT = "20"
"""Seconds without a word from a task until it is taken for dead; Airflow's default is five minutes."""


@dataclass(frozen=True)
class Disturbed:
    """The result of a chain whose first try of `train` ran on the worker `killed`."""

    stack: Stack
    archive: str
    killed: Worker
    other: Worker
    versions_at_the_kill: int


@pytest.fixture(scope="module")
def drops(tmp_path_factory) -> Path:
    drops = tmp_path_factory.mktemp("drops")
    write_drops(drops, customers=4000, months=1, seed=11)
    return drops


@pytest.fixture(scope="module")
def disturbed(drops, object_store, homes, tmp_path_factory) -> Iterator[Disturbed]:
    """The chain of January, from its trigger to its end, with a worker killed in between."""
    home, workers_home = homes / "celery", tmp_path_factory.mktemp("workers")
    with ExitStack() as cleanup:
        broker = cleanup.enter_context(redis_server(workers_home))
        settings = {
            "CHURN_HOME": str(home),
            "CHURN_CELERY_BROKER": broker,
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": HEARTBEAT_TIMEOUT,
            **free_ports("AIRFLOW_PORT", "MLFLOW_PORT", "SERVING_PORT"),
        }
        stack = Stack(settings, drops)
        cleanup.callback(stack.make, "clean")
        stack.start("up")
        archive = f"{object_store}/celery"
        environment = {**stack.settings, "ARCHIVE_DIR": archive, "SCORES_URL": f"{object_store}/celery-scores"}
        # It would start the same chain beside, also by a task that it has sent before.
        stack.airflow("PATCH", "/dags/churn_landing", json={"is_paused": True})
        workers = cleanup.enter_context(celery_workers(workers_home, environment, ["one", "two"]))
        wait_for(lambda: not sent(stack), seconds=180, or_say=lambda: f"{sent(stack)}")
        shutil.copytree(drops / JANUARY, Path(stack.settings["LANDING_DIR"]) / JANUARY)
        stack.airflow("POST", "/dags/churn_snapshot/dagRuns", json={"logical_date": None, "conf": {"as_of": JANUARY}})
        killed = kill_the_one_that_trains(stack, workers)
        versions = len(stack.client().search_model_versions())
        wait_for(lambda: ended(stack), seconds=400, or_say=lambda: f"{tasks(stack)}")
        (other,) = [worker for worker in workers if worker is not killed]
        yield Disturbed(stack, archive, killed, other, versions)


def runs(stack: Stack) -> dict[str, dict]:
    """Return the runs of the chain by their DAG."""
    of_january = [run for run in stack.runs() if JANUARY in (run["partition_key"], (run["conf"] or {}).get("as_of"))]
    assert len({run["dag_id"] for run in of_january}) == len(of_january), of_january
    return {run["dag_id"]: run for run in of_january}


def tasks(stack: Stack) -> dict[str, dict]:
    """Return the tasks of those runs by their name."""
    ours = {run["dag_run_id"] for run in runs(stack).values()}
    return {task["task_id"]: task for task in all_tasks(stack) if task["dag_run_id"] in ours}


def all_tasks(stack: Stack) -> list[dict]:
    return stack.airflow("GET", "/dags/~/dagRuns/~/taskInstances", params={"limit": 1000})["task_instances"]


def sent(stack: Stack) -> list[dict]:
    """Return the tasks that workers hold or that wait in a queue."""
    return [task for task in all_tasks(stack) if task["state"] in ("queued", "running")]


def ended(stack: Stack) -> bool:
    states = [run["state"] for run in runs(stack).values()]
    return len(states) == 4 and not {"queued", "running"} & set(states)


def kill_the_one_that_trains(stack: Stack, workers: list[Worker]) -> Worker:
    """Kill the worker whose task `train` has run for half a second of CPU, and return it."""
    wait_for(lambda: pid_of_training(stack), seconds=400, or_say=lambda: f"{tasks(stack)}")
    process = psutil.Process(pid_of_training(stack))
    while process.cpu_times().user < 0.5:
        time.sleep(0.01)
    (worker,) = [worker for worker in workers if has_started(worker, process.pid)]
    worker.kill()
    return worker


def has_started(worker: Worker, pid: int) -> bool:
    """Return whether the process descends from the worker."""
    try:
        return worker.process.pid in [parent.pid for parent in psutil.Process(pid).parents()]
    except psutil.NoSuchProcess:
        return False


def tries(worker: Worker) -> list[int]:
    """Return the tries of `train` that ran on the worker, from their logs."""
    logs = (worker.home / "logs").glob("dag_id=churn_train/*/task_id=train/attempt=*.log")
    return sorted(int(log.stem.removeprefix("attempt=")) for log in logs)


def pid_of_training(stack: Stack) -> int | None:
    train = tasks(stack).get("train")
    return train["pid"] if train and train["state"] == "running" else None


@pytest.fixture(scope="module")
def undisturbed(drops, postgres_url, churn_template, mlflow_template, tmp_path_factory) -> dict:
    """The state after the same chain by sequential function calls."""
    directory = tmp_path_factory.mktemp("undisturbed")
    with (
        database_copy(postgres_url, churn_template) as database_url,
        tracking(postgres_url, mlflow_template, directory) as mlflow,
    ):
        Chain(Pipeline(database_url, drops, directory / "archive"))(date.fromisoformat(JANUARY))
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
    assert {dag: run["state"] for dag, run in runs(disturbed.stack).items()} == {
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
    tries = {name: task["try_number"] for name, task in tasks(disturbed.stack).items() if task["state"] == "success"}
    assert tries.pop("train") == 2
    assert set(tries.values()) == {1}


@pytest.mark.parametrize("part", ["drops", "served", "stages", "tags", "figures", "archive"])
def test_the_state_is_that_of_an_undisturbed_run(disturbed, undisturbed, part):
    stack = disturbed.stack
    found = state(stack.settings["CHURN_DATABASE_URL"], stack.client(), disturbed.archive, stack.drops)
    assert found[part] == undisturbed[part]


def test_one_decision_was_made_and_it_promoted_the_one_version(disturbed):
    assert disturbed.stack.decided() == [(date.fromisoformat(JANUARY), "PROMOTE", 1)]


def test_heavy_tasks_wait_in_the_training_queue(disturbed):
    queues = {name: task["queue"] for name, task in tasks(disturbed.stack).items()}
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
