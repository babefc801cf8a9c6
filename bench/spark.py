"""Seconds of the steps that Spark takes over, by customers, on a standalone cluster of two worker processes with a core
each.

The training set is compared with that of Postgres. The driver is two processes: Python, and the Java process beside it.
"""

import os
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import date
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import mlflow
import psutil
import requests
from mlflow import MlflowClient

from bench import BenchError, ours
from bench.context import Bench
from bench.figures import MEGABYTE, Row, number, significant
from bench.measure import Measured, Watch, measure
from bench.processes import free_ports, mlflow_server, running
from churn.features.store import FEATURE_SERVICES, open_offline_store
from churn.registry.model_version import MODEL_NAME, PRODUCTION
from churn.settings import SPARK, training_rows
from churn.spark.parquet_snapshots import write_parquet
from churn.training.training_set import build_training_set

Where = tuple[str, Path, date]
"""The URL of the database, the landing directory and the AS_OF."""

WORKERS = 2
WORKER_MEMORY, EXECUTOR_MEMORY = "3g", "2g"
SECONDS_BETWEEN_LOOKS = 0.2


def run(bench: Bench) -> Row:
    """Measure every size.

    Raises:
        BenchError: pyspark is not installed, or the training sets differ.
    """
    if find_spec("pyspark") is None:
        raise BenchError("pyspark is not installed: make spark")
    rows: list[Row] = []
    for customers in bench.customers:
        directory = bench.server.directory / f"spark_{customers}"
        directory.mkdir()
        with (
            mlflow_server(directory / "mlflow") as tracking,
            bench.drops(customers) as (drop,),
            bench.server.database() as url,
            cluster(directory) as environment,
        ):
            mlflow.set_tracking_uri(tracking)
            where = (url, drop.path.parent, drop.as_of)
            wanted = measure(bench.server, prepare, *where).result
            for name, step in STEPS.items():
                found, driver = measured(bench, step, where, environment)
                if name == "training set" and found.result != wanted:
                    raise BenchError(f"the training set of {customers:,} customers is not that of Postgres")
                bench.say(f"{customers:,} customers, {name}: {number(found.seconds)} s")
                rows.append(
                    {
                        "customers": customers,
                        "step": name,
                        "s": significant(found.seconds),
                        "customers / s and core": significant(customers / found.seconds / WORKERS),
                        "driver MB, Python": round(found.peak_bytes / MEGABYTE),
                        "driver MB, Java": round(driver / MEGABYTE),
                    }
                )
    return {"workers": WORKERS, "executor memory": EXECUTOR_MEMORY, "spark": rows}


@contextmanager
def cluster(directory: Path) -> Iterator[Mapping[str, str]]:
    """Run a master and two workers; yield the variables of a process that uses them."""
    home = Path(str(find_spec("pyspark").origin)).parent  # type: ignore[union-attr]
    port, page, *pages = free_ports(2 + WORKERS)
    local = {"SPARK_LOCAL_IP": "127.0.0.1", "SPARK_NO_DAEMONIZE": "1", "PYSPARK_PYTHON": sys.executable}
    start = [str(home / "bin" / "spark-class"), "org.apache.spark.deploy"]
    master = f"spark://127.0.0.1:{port}"

    def alive() -> int:
        try:
            return int(requests.get(f"http://127.0.0.1:{page}/json/", timeout=5).json()["aliveworkers"])
        except requests.RequestException:
            return -1

    def daemon(stack: ExitStack, name: str, options: list[str], workers: int) -> None:
        command = [start[0], f"{start[1]}.{name}", "--host", "127.0.0.1", *options]
        log = directory / f"{name.rpartition('.')[2]}-{workers}.log"
        stack.enter_context(running(command, log, lambda: alive() >= workers, local))

    configuration = directory / "conf"
    configuration.mkdir()
    (configuration / "spark-defaults.conf").write_text(
        f"spark.executor.memory {EXECUTOR_MEMORY}\nspark.executor.cores 1\nspark.cores.max {WORKERS}\n"
        f"spark.local.dir {directory / 'scratch'}\n"
    )
    with ExitStack() as stack:
        daemon(stack, "master.Master", ["--port", str(port), "--webui-port", str(page)], 0)
        for number_of, its_page in enumerate(pages, 1):
            options = ["--cores", "1", "--memory", WORKER_MEMORY, "--webui-port", str(its_page)]
            daemon(
                stack,
                "worker.Worker",
                [*options, "--work-dir", str(directory / f"work-{number_of}"), master],
                number_of,
            )
        yield {
            **local,
            "CHURN_OFFLINE": SPARK,
            "CHURN_SPARK_MASTER": master,
            "SNAPSHOTS_URL": str(directory / "snapshots"),
            "SPARK_CONF_DIR": str(configuration),
        }


def measured(bench: Bench, step: Any, where: Where, environment: Mapping[str, str]) -> tuple[Measured, int]:
    """Measure a step; return the peak bytes of its Java process too."""
    found = measure(bench.server, beside, step, where, environment)
    result, driver = found.result
    return Measured(found.seconds, found.peak_bytes, result=result), driver


def beside(watch: Watch, step: Any, where: Where, environment: Mapping[str, str]) -> Any:
    """Run a step with the variables of the cluster; return its result, and the peak bytes of its Java process."""
    os.environ.update(environment)
    peak, ended = [0], threading.Event()

    def look() -> None:
        while not ended.wait(SECONDS_BETWEEN_LOOKS):
            peak[0] = max(peak[0], *(each.memory_info().rss for each in psutil.Process().children(recursive=True)), 0)

    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    try:
        return step(watch, *where), peak[0]
    finally:
        ended.set()


def prepare(watch: Watch, url: str, landing: Path, as_of: date) -> str:
    """Bring a drop to its snapshot in Postgres, and a version to Production; return the digest of the training set."""
    ours.prepare(watch, url)
    ours.load_and_validate(watch, url, landing, as_of)
    ours.snapshot(watch, url, landing, as_of)
    ours.train_version(watch, url, landing, as_of)
    MlflowClient().transition_model_version_stage(MODEL_NAME, "1", PRODUCTION)
    return ours.training_set(watch, url, landing, as_of)


def write_snapshots(watch: Watch, url: str, landing: Path, as_of: date) -> None:
    with watch:
        write_parquet(as_of, url, landing.parent / "archive", os.environ["SNAPSHOTS_URL"])


def join_training_set(watch: Watch, url: str, _: Path, as_of: date) -> str:
    """Return the digest of the training set."""
    with watch:
        store = open_offline_store(url)
        found = build_training_set(store, FEATURE_SERVICES, as_of, url, most_rows=training_rows())
    return found.digest


STEPS = {
    "snapshot as Parquet": write_snapshots,
    "training set": join_training_set,
    "score": ours.score,
    # With the join again. It removes the version that scored.
    "training": ours.train_version,
}
