"""What the benchmarks of serving ask about: the customers of one drop, served online, and versions of the model."""

import asyncio
import csv
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import mlflow
from mlflow import MlflowClient

from bench.context import SEED, Bench
from bench.measure import Watch, measure
from bench.mlflow_server import mlflow_server
from bench.online import fill_ours
from bench.ours import read_training_set
from churn.code import step_digest
from churn.drops.contract import USERS
from churn.features.store import FEATURE_SERVICE, open_store, read_online
from churn.postgres.database import connect
from churn.registry.model_version import MODEL_NAME, PRODUCTION
from churn.training.candidate import fit_candidate
from churn.training.lineage import read_revisions
from churn.training.recipe import Parameters
from churn.training.registration import register
from churn.training.training_set import drops_of
from embedded.settings import Settings

FOREST, LINEAR = "random forest", "logistic regression"
DATABASE = "churn"
LIMIT_TABLE = Path(__file__).parent / "sql" / "limit" / "customers.sql"


@dataclass(frozen=True)
class World:
    """What a service can be started on.

    Attributes:
        settings: those of a stack whose Postgres and MLflow are the benchmark's.
        directory: where logs go.
        versions: of the model, by family.
        questions: a file of bodies, a line each: {"user_id": …} of every customer, in a random order.
        frames: the same customers' features, as `mlflow models serve` takes them.
    """

    settings: Settings
    directory: Path
    versions: Mapping[str, int]
    questions: Path
    frames: Path

    def to_production(self, family: str) -> None:
        """Move the family's version to stage Production, as a person does it in MLflow."""
        MlflowClient(self.settings.mlflow_url).transition_model_version_stage(
            MODEL_NAME, str(self.versions[family]), PRODUCTION, archive_existing_versions=True
        )


@contextmanager
def world(bench: Bench) -> Iterator[World]:
    """Load a drop of the smallest size, serve it, and train a version of each family; all of it is gone at the end."""
    customers = bench.customers[0]
    drops = bench.drops(customers, 1)
    landing, as_of = drops[0].path.parent, drops[0].as_of
    directory = landing.parent
    url = bench.server.create(DATABASE)
    with mlflow_server(directory / "mlflow") as tracking:
        bench.say(f"serving {customers:,} customers and training a version of each family")
        measure(bench.server, DATABASE, None, fill_ours, url, landing, as_of)
        trained = measure(bench.server, DATABASE, None, train_versions, url, tracking, as_of)
        questions, frames = directory / "questions.jsonl", directory / "frames.jsonl"
        measure(bench.server, DATABASE, None, write_bodies, url, landing / as_of.isoformat(), questions, frames)
        settings = replace(bench.server.settings, mlflow_port=int(tracking.rpartition(":")[2]))
        yield World(settings, directory, trained.result, questions, frames)
    bench.server.drop(DATABASE)
    bench.forget_drops(drops)


def train_versions(_: Watch, url: str, tracking: str, as_of: date) -> dict[str, int]:
    """Train and register a version of each family, as the task train does where there is no other family."""
    mlflow.set_tracking_uri(tracking)
    mlflow.set_registry_uri(tracking)
    training_set = read_training_set(url, as_of)
    with connect(url) as connection:
        drops = drops_of(connection, [as_of])[as_of]
    revisions = read_revisions(drops, url)
    versions = {}
    for family in (FOREST, LINEAR):
        parameters = Parameters(families=(family,))
        identity = {
            "as_of": as_of.isoformat(),
            "data_digest": training_set.digest,
            "code_digest": step_digest("churn.training"),
            "parameters": json.dumps(parameters.to_json(), sort_keys=True),
        }
        candidate = fit_candidate(training_set, parameters)
        versions[family], _run = register(candidate, training_set, parameters, identity, revisions, database_url=url)
    return versions


def write_bodies(_: Watch, url: str, drop: Path, questions: Path, frames: Path) -> None:
    """Write what is sent, and make the table that the limit reads."""
    with (drop / USERS.name).open(encoding="utf-8") as file:
        users = [row["user_id"] for row in csv.DictReader(file)]
    random.Random(SEED).shuffle(users)
    store = open_store(url)
    found = read_online(store, store.get_feature_service(FEATURE_SERVICE), users)
    asyncio.run(store.close())
    _write(questions, [{"user_id": user} for user in users])
    _write(frames, [{"dataframe_split": {"columns": [*of.values], "data": [[*of.values.values()]]}} for of in found])
    with connect(url) as connection:
        connection.execute(LIMIT_TABLE.read_bytes())


def _write(file: Path, bodies: Sequence[Mapping[str, object]]) -> None:
    file.write_text("".join(f"{json.dumps(body)}\n" for body in bodies), encoding="utf-8")
