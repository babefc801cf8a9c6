"""Celery workers as local processes, for tests and benchmarks.

A worker gets only the environment of a remote machine (docs/cluster.md): its own AIRFLOW_HOME and temporary directory,
and no access to Airflow's database.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from embedded.operator.doctor.workers import QUEUES
from embedded.stack.process_manager import StackError, end_of

PATIENCE = 600.0
"""Seconds, which only end a worker that hangs."""

TOLD = (
    "AIRFLOW__CELERY__BROKER_URL",
    "AIRFLOW__CELERY__RESULT_BACKEND",
    "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT",
    "AIRFLOW__CORE__DAGS_FOLDER",
    "AIRFLOW__CORE__EXECUTION_API_SERVER_URL",
    "AIRFLOW__CORE__EXECUTOR",
    "AIRFLOW__CORE__LOAD_EXAMPLES",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT",
    "AIRFLOW_CONN_CHURN_POSTGRES",
    "ARCHIVE_DIR",
    "ARROW_DEFAULT_MEMORY_POOL",
    "CHURN_CONTROL_SHARE",
    "CHURN_REDIS_URL",
    "CHURN_VALUE",
    "LANDING_DIR",
    "MLFLOW_TRACKING_URI",
    "PGTZ",
    "PYTHONPATH",
    "SCORES_URL",
)
"""The variables of a stack that its workers get in addition to those of the machine."""

OF_A_STACK = ("AIRFLOW", "CHURN", "MLFLOW", "_MLFLOW", "SERVING", "FEAST", "PROMETHEUS")
"""The prefixes of the variables of a stack."""


@dataclass(frozen=True)
class Worker:
    """A running worker; `home` holds all its files, `environment` all its variables."""

    name: str
    home: Path
    environment: Mapping[str, str]
    process: subprocess.Popen[bytes]

    @property
    def log(self) -> Path:
        return self.home / "worker.log"

    def kill(self) -> None:
        """Kill the worker with all its processes, like a power failure."""
        root = psutil.Process(self.process.pid)
        # Stopped first, so that it neither starts a process nor notices the death of one.
        root.suspend()
        for process in (*root.children(recursive=True), root):
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait()


@contextmanager
def celery_workers(directory: Path, environment: Mapping[str, str], names: Sequence[str]) -> Iterator[list[Worker]]:
    """Run a worker for each name, with one task at a time, until the block ends.

    Args:
        directory: the parent of their homes.
        environment: the stack's variables; workers get those in TOLD.

    Raises:
        StackError: one of them does not start.
    """
    workers = [_start(name, directory / name, environment) for name in names]
    try:
        deadline = time.monotonic() + PATIENCE
        while late := [worker for worker in workers if b" ready." not in worker.log.read_bytes()]:
            if time.monotonic() > deadline or any(worker.process.poll() is not None for worker in late):
                raise StackError(f"the worker {late[0].name} did not start:\n{end_of(late[0].log, 30)}")
            time.sleep(0.2)
        yield workers
    finally:
        for worker in workers:
            if worker.process.poll() is None:
                worker.kill()


def _start(name: str, home: Path, environment: Mapping[str, str]) -> Worker:
    (home / "tmp").mkdir(parents=True)
    # Variables of the machine also choose OpenBLAS's kernels, and so the last bit of a figure.
    told = {name: value for name, value in os.environ.items() if not name.startswith(OF_A_STACK)}
    told |= {name: value for name, value in environment.items() if name in TOLD}
    told |= {"AIRFLOW_HOME": str(home), "HOME": str(home), "TMPDIR": str(home / "tmp")}
    command = [sys.executable, "-m", "airflow", "celery", "worker", "--celery-hostname", name]
    # A log server would listen on every interface.
    command += ["--queues", ",".join(QUEUES), "--concurrency", "1", "--skip-serve-logs"]
    with (home / "worker.log").open("wb") as log:
        process = subprocess.Popen(command, env=told, cwd=home, stdout=log, stderr=subprocess.STDOUT)
    return Worker(name, home, told, process)
