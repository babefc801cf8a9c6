"""A run of churn_score that is killed before any act: table and files agree, one revision, nothing left behind."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from churn.outcome import DONE
from churn.scores.scoring_step import score_customers
from tests.conftest import JANUARY, THOROUGH, mlflow_at
from tests.integration.fault_injection import Child
from tests.integration.fault_registry import Registry, count_changes, registry_copy
from tests.integration.moments import moments
from tests.integration.training_chain import QUICK


@dataclass(frozen=True)
class Scoring:
    """A registry and the place of the files."""

    registry: Registry
    files: Path


def run_score(world: Scoring) -> str:
    with mlflow_at(world.registry.mlflow_uri):
        return score_customers(JANUARY, world.registry.database_url, str(world.files), 0.1).outcome


def found(world: Scoring) -> tuple:
    """The rows, the files and the runs, without instants."""
    with psycopg.connect(world.registry.database_url) as connection:
        rows = connection.execute("SELECT * FROM scores.customers ORDER BY rank").fetchall()
        runs = connection.execute("SELECT as_of, revision, model_version, rows, sha256 FROM scores.runs").fetchall()
        tables = connection.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'scores'::regnamespace AND relkind = 'r' ORDER BY 1"
        ).fetchall()
    files = {str(path.relative_to(world.files)): path.read_bytes() for path in world.files.rglob("*") if path.is_file()}
    manifests = {name: json.loads(data) | {"scored_at": ""} for name, data in files.items() if name.endswith(".json")}
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in files.items() if name not in manifests}
    return rows, runs, tables, manifests, digests


@pytest.fixture
def world(small, tmp_path):
    import mlflow

    small.chain(JANUARY, QUICK)
    return Registry(small.database_url, mlflow.get_tracking_uri(), tmp_path, JANUARY)


def test_scoring_killed_before_any_act_is_completed_by_the_retry(world, children, postgres_url, tmp_path):
    with registry_copy(world, postgres_url) as copy:
        undisturbed = Scoring(copy, tmp_path / "undisturbed")
        assert run_score(undisturbed) == DONE
        new = found(undisturbed)
    assert len(new[1]) == 1
    for n in moments(2 if THOROUGH else 9):
        with registry_copy(world, postgres_url) as copy:
            mortal = Scoring(copy, tmp_path / f"killed-{n}")
            mortal.files.mkdir()
            lived, *_ = Child(
                children, run_score, mortal, watched=mortal.files, dies_before=n, prepare=count_changes
            ).result()
            run_score(mortal)
            assert found(mortal) == new
            assert not list(mortal.files.glob(".incoming-*"))
        if lived:
            break
    assert n > 15
