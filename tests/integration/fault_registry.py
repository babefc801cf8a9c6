"""The steps from training to Production as functions for fault tests, and their state in MLflow and gate.decisions."""

import contextlib
import json
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import psycopg
import pytest
from mlflow import MlflowClient
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore as RegistryStore
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore as TrackingStore
from psycopg import sql

from churn.gate import promotion
from churn.gate.grading import grade
from churn.outcome import Outcome
from churn.postgres.database import connect
from churn.registry.model_version import MODEL_NAME
from churn.training import recipe
from churn.training import train as training
from churn.training.candidate import Candidate
from churn.training.train import USED_AT, train
from churn.training.training_set import TrainingSet
from tests.conftest import close_connections, database_copy, mlflow_at
from tests.integration.fault_injection import READ

QUICK = recipe.Parameters(families=("logistic regression",))
CHANGES = ("create_", "log_", "set_", "update_", "delete_", "transition_", "finalize_", "record_")


@dataclass(frozen=True)
class Registry:
    """The database, MLflow and drops that training and gate work on."""

    database_url: str
    mlflow_uri: str
    artifacts: Path
    as_of: date
    version: int = 0
    decided: Outcome | None = None


def run_train(world: Registry) -> Outcome:
    with talking_to(world):
        return train(world.as_of, world.database_url)


def run_grade(world: Registry) -> Outcome:
    with talking_to(world):
        return grade(world.version, world.database_url)


def run_promote(world: Registry) -> Outcome:
    assert world.decided is not None
    figures = world.decided.figures
    with talking_to(world):
        return promotion.promote(
            figures["version"],
            figures["production_version"],
            world.decided.reason,
            world.database_url,
            superior=figures["superior"],
        )


def run_gate(world: Registry) -> Outcome:
    """Grade the candidate, and promote it if that is the decision."""
    decided = run_grade(world)
    return run_promote(replace(world, decided=decided)) if decided.figures["decision"] == "PROMOTE" else decided


@contextmanager
def talking_to(world: Registry) -> Iterator[None]:
    """Set the world's MLflow for this process, with a small model that is fitted once per training set."""
    fit = training.fit_candidate

    def fitted(training_set: TrainingSet, parameters: recipe.Parameters) -> Candidate:
        # What a fit gives is a function of its arguments, to the bit; fitting again would only take time.
        kept = world.artifacts / f"candidate-{training_set.digest}.pickle"
        if not kept.is_file():
            kept.write_bytes(pickle.dumps(fit(training_set, parameters)))
        return pickle.loads(kept.read_bytes())

    with contextlib.chdir(world.artifacts), mlflow_at(world.mlflow_uri), pytest.MonkeyPatch.context() as patched:
        patched.setattr(training, "fit_candidate", fitted)
        patched.setattr(training.recipe, "Parameters", lambda: QUICK)
        yield


@contextmanager
def registry_copy(world: Registry, postgres_url: Callable[[str], str]) -> Iterator[Registry]:
    """A temporary copy of the world, with shared artifacts. Connections to the original are closed."""
    names = [url.split("?")[0].rsplit("/", 1)[1] for url in (world.database_url, world.mlflow_uri)]
    close_connections(postgres_url("postgres"), *names)
    with database_copy(postgres_url, names[0]) as database_url, database_copy(postgres_url, names[1]) as mlflow_url:
        mlflow_uri = mlflow_url.replace("postgresql://", "postgresql+psycopg2://")
        yield replace(world, database_url=database_url, mlflow_uri=mlflow_uri)


def count_changes(act: Callable[[str], None]) -> None:
    """Count a child's acts: requests that change MLflow, the steps' own changing statements, and their commits."""
    for store in (TrackingStore, RegistryStore):
        for name in dir(store):
            if name.startswith(CHANGES) and callable(getattr(store, name)):
                setattr(store, name, _counted(getattr(store, name), name, act))
    wrote: set[int] = set()
    execute, copy = psycopg.Cursor.execute, psycopg.Cursor.copy
    commit, leave = psycopg.Connection.commit, psycopg.Transaction.__exit__

    def executed(self: Any, query: Any, *arguments: Any, **named: Any) -> Any:
        text = query.as_string(self.connection) if isinstance(query, sql.Composable) else query
        # psycopg's own, such as BEGIN, are bytes.
        text = text.decode() if isinstance(text, bytes) else text
        if not READ.match(text):
            wrote.add(id(self.connection))
            act(text)
        return execute(self, query, *arguments, **named)

    def copied(self: Any, *arguments: Any, **named: Any) -> Any:
        wrote.add(id(self.connection))
        act("copy")
        return copy(self, *arguments, **named)

    def committed(self: Any) -> None:
        if id(self) in wrote:
            act("commit")
        commit(self)

    def left(self: Any, *arguments: Any) -> Any:
        if id(self.connection) in wrote:
            act("commit")
        return leave(self, *arguments)

    psycopg.Cursor.execute = executed  # type: ignore[method-assign]
    psycopg.Cursor.copy = copied  # type: ignore[method-assign]
    psycopg.Connection.commit = committed  # type: ignore[method-assign]
    psycopg.Transaction.__exit__ = left  # type: ignore[method-assign]


_depth = 0


def _counted(method: Callable[..., Any], name: str, act: Callable[[str], None]) -> Callable[..., Any]:
    def call(*arguments: Any, **named: Any) -> Any:
        global _depth  # noqa: PLW0603 — a child runs one step, in one thread
        if not _depth:
            act(name)
        _depth += 1
        try:
            return method(*arguments, **named)
        finally:
            _depth -= 1

    return call


def registered(world: Registry) -> list[Any]:
    """Return the registry by version, every decision and every move, without times and run ids."""
    client = MlflowClient(world.mlflow_uri, world.mlflow_uri)
    found = client.search_model_versions(f"name = '{MODEL_NAME}'")
    tags = [{name: text for name, text in each.tags.items() if name != USED_AT} for each in found]
    versions = sorted(
        (int(each.version), each.current_stage, sorted(said.items())) for each, said in zip(found, tags, strict=True)
    )
    model = client.get_registered_model(MODEL_NAME)
    pinned = {name: {**json.loads(value), "at": None} for name, value in model.tags.items()}
    with connect(world.database_url) as connection:
        decisions = connection.execute(
            "SELECT as_of, candidate_version, production_version, outcome, reason FROM gate.decisions ORDER BY id"
        ).fetchall()
        moves = connection.execute(
            "SELECT kind, version, previous_version, who, why, superior FROM gate.moves ORDER BY id"
        ).fetchall()
    return [versions, model.aliases, decisions, moves, pinned]
