"""The world of the serving benchmarks: the customers of a drop, served online, two versions, and services on them."""

import csv
import json
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import mlflow
from mlflow import MlflowClient

from bench import ours
from bench.context import SEED, Bench
from bench.measure import Watch, measure
from bench.processes import free_ports, mlflow_server, running
from churn.drops.contract import USERS
from churn.features.store import FEATURE_SERVICE
from churn.postgres.database import connect
from churn.registry.model_version import MODEL_NAME, PRODUCTION
from churn.training.recipe import Parameters
from churn.training.train import train
from embedded.environment import environment
from embedded.settings import REPOSITORY, Settings
from embedded.stack.services import answers

WORKERS = 2

FAMILIES = ("random forest", "logistic regression")
"""The slowest family to score one customer by, and the fastest."""

LIMIT_TABLE = Path(__file__).parent / "sql" / "limit" / "customers.sql"

NAIVE = ("uvicorn", "bench.naive_service:app", "--workers", str(WORKERS), "--no-access-log", "--log-level", "warning")
OURS = ("gunicorn", "--config", str(REPOSITORY / "serving" / "gunicorn.conf.py"))
LIMIT = ("gunicorn", "--config", "python:bench.limit_service")
COMMANDS = {"naive": NAIVE, "ours": OURS, "limit": LIMIT}


@dataclass(frozen=True)
class Service:
    """A running service: the address of its predictions, its port and its first process."""

    url: str
    port: int
    pid: int


@dataclass(frozen=True)
class World:
    """What a service is started on.

    Attributes:
        url: the database.
        settings: those of a stack whose Postgres and MLflow are the benchmark's.
        directory: where logs go.
        versions: the version of each family of models.
        users: every customer, in a random order.
        questions: a file with a line {"user_id": …} for each of them.
    """

    url: str
    settings: Settings
    directory: Path
    versions: Mapping[str, int]
    users: Sequence[str]
    questions: Path

    def to_production(self, version: int) -> None:
        """Move the version to stage Production, as a person does it in MLflow."""
        MlflowClient(self.settings.mlflow_url).transition_model_version_stage(
            MODEL_NAME, str(version), PRODUCTION, archive_existing_versions=True
        )

    @contextmanager
    def service(self, side: str) -> Iterator[Service]:
        """Run the service of a side with two workers, on the version in stage Production.

        Raises:
            BenchError: it does not start.
        """
        (port,) = free_ports(1)
        command = [sys.executable, "-m", *COMMANDS[side]]
        variables = environment(replace(self.settings, serving_port=port)) | {
            "SERVING_WORKERS": str(WORKERS),
            "UVICORN_PORT": str(port),
            # As in supervisord.conf.
            "MALLOC_ARENA_MAX": "2",
            # A process title overwrites the environment, by which tests find the services.
            "SPT_NOENV": "1",
        }
        health = f"http://127.0.0.1:{port}/health" + ("/ready" if side == "ours" else "")
        with running(command, self.directory / f"{side}.log", lambda: answers(health), variables) as process:
            yield Service(f"http://127.0.0.1:{port}/predict", port, process.pid)


@contextmanager
def world(bench: Bench) -> Iterator[World]:
    """Load two drops of the smallest size, train a version on each, and serve the newer one."""
    with bench.drops(bench.customers[0], months=len(FAMILIES)) as drops, bench.server.database() as url:
        landing, dates = drops[0].path.parent, [drop.as_of for drop in drops]
        directory = landing.parent
        with mlflow_server(directory / "mlflow") as tracking:
            bench.say(f"serving {bench.customers[0]:,} customers and training two versions")
            versions = measure(bench.server, prepare, url, tracking, landing, dates).result
            with (drops[-1].path / USERS.name).open(encoding="utf-8") as file:
                users = [row["user_id"] for row in csv.DictReader(file)]
            random.Random(SEED).shuffle(users)
            questions = directory / "questions.jsonl"
            questions.write_text("".join(f"{json.dumps({'user_id': user})}\n" for user in users), encoding="utf-8")
            settings = replace(bench.server.settings, mlflow_port=int(tracking.rpartition(":")[2]))
            yield World(url, settings, directory, versions, users, questions)


def prepare(watch: Watch, url: str, tracking: str, landing: Path, dates: list[date]) -> dict[str, int]:
    """Fill the database, train one family on each date, and return the versions."""
    mlflow.set_tracking_uri(tracking)
    mlflow.set_registry_uri(tracking)
    ours.prepare(watch, url)
    for as_of in dates:
        for step in (ours.load_and_validate, ours.snapshot, ours.materialize_online):
            step(watch, url, landing, as_of)
    with connect(url) as connection:
        connection.execute(LIMIT_TABLE.read_bytes())
    trained = {
        family: train(as_of, url, Parameters(families=(family,), feature_services=(FEATURE_SERVICE,)))
        for family, as_of in zip(FAMILIES, dates, strict=True)
    }
    return {family: int(outcome.figures["version"]) for family, outcome in trained.items()}
