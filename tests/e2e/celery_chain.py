"""A chain on CeleryExecutor: two workers share only the landing directory, and one is killed while it trains."""

import re
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.celery_workers import Worker, celery_workers
from bench.processes import redis_server
from embedded.commands.chain import CHAIN
from tests.e2e.stack import JANUARY, Stack, free_ports
from tests.patience import wait_for
from tests.webhook import Webhook, webhook

HEARTBEAT_TIMEOUT = "20"
"""Seconds without a word from a task until it is taken for dead; Airflow's default is five minutes."""


PASSWORD = "hunter2-marker"
"""Of the stack's Postgres, traced by test_secrets.py."""


@dataclass(frozen=True)
class Disturbed:
    """The result of a chain whose first try of `train` ran on the worker `killed`.

    Attributes:
        runs: the runs of the chain by their DAG.
        tasks: the tasks of those runs by their name.
        directory: holds the homes of the workers.
        alerts: receives the alerts.
    """

    stack: Stack
    archive: str
    killed: Worker
    other: Worker
    versions_at_the_kill: int
    runs: dict[str, dict]
    tasks: dict[str, dict]
    directory: Path
    alerts: Webhook


@contextmanager
def disturbed_chain(drops: Path, server: str, object_store: str, home: Path, directory: Path) -> Iterator[Disturbed]:
    """Run the chain of January on the Postgres `server`, from its trigger to its end, and kill a worker in between."""
    with ExitStack() as cleanup:
        broker = cleanup.enter_context(redis_server(directory))
        alerts = cleanup.enter_context(webhook())
        settings = {
            "CHURN_HOME": str(home),
            "CHURN_POSTGRES": with_password(server),
            "CHURN_CELERY_BROKER": broker,
            "AIRFLOW_CONN_CHURN_ALERTS": alerts.connection,
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
        workers = cleanup.enter_context(celery_workers(directory, environment, ["one", "two"]))
        wait_for(lambda: not sent(stack), seconds=180, or_say=lambda: f"{sent(stack)}")
        shutil.copytree(drops / JANUARY, Path(stack.settings["LANDING_DIR"]) / JANUARY)
        stack.airflow("POST", "/dags/churn_snapshot/dagRuns", json={"logical_date": None, "conf": {"as_of": JANUARY}})
        killed = kill_the_one_that_trains(stack, workers)
        versions = len(stack.client().search_model_versions())
        wait_for(lambda: ended(stack), seconds=400, or_say=lambda: f"{tasks(stack)}")
        (other,) = [worker for worker in workers if worker is not killed]
        yield Disturbed(stack, archive, killed, other, versions, runs(stack), tasks(stack), directory, alerts)


def with_password(server: str) -> str:
    """Return the URL of the server with PASSWORD: the tests' server admits any, and its address is what is traced."""
    found = re.sub(r"//([^:@/]+):?@", rf"//\1:{PASSWORD}@", server)
    assert PASSWORD in found
    return found


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
    return len(states) == len(CHAIN) and not {"queued", "running"} & set(states)


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


def pid_of_training(stack: Stack) -> int | None:
    train = tasks(stack).get("train")
    return train["pid"] if train and train["state"] == "running" else None
