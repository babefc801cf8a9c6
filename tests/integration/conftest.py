"""A pipeline on real services, called function by function, as the tasks do."""

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from churn.drops.landing import find_drop
from churn.drops.loading import load
from churn.drops.snapshots import build_snapshots
from churn.drops.validation import validate
from churn.features.materialization import materialize
from churn.features.store import apply_definitions
from churn.outcome import Outcome
from tests.integration.fault_injection import Wire, children, wire_to
from tests.integration.online_stores import InPostgres, InRedis, OnlineStore

__all__ = ["children"]


@dataclass(frozen=True)
class Pipeline:
    """The steps of the chain up to the online store, one call each."""

    database_url: str
    landing: Path
    archive: Path

    def snapshot(self, as_of: date) -> Outcome:
        """Validate and load the drop of `as_of` and build its snapshots."""
        drop = find_drop(self.landing, as_of)
        assert drop is not None
        load(validate(drop, self.database_url, self.archive), self.database_url, self.archive)
        return build_snapshots(as_of, self.database_url)

    def serve(self, as_of: date) -> Outcome:
        """Snapshot `as_of` and serve it online."""
        self.snapshot(as_of)
        apply_definitions(self.database_url)
        return materialize(as_of, self.database_url)


@pytest.fixture
def archive(tmp_path):
    return tmp_path / "archive"


@pytest.fixture
def landing(tmp_path):
    return tmp_path / "landing"


@pytest.fixture(scope="module", params=[InPostgres, InRedis], ids=["in Postgres", "in Redis"])
def online_store(request: pytest.FixtureRequest) -> Iterator[OnlineStore]:
    """An empty online store, set for this process and its children; parametrized over its kinds."""
    with pytest.MonkeyPatch.context() as environment:
        if request.param is InPostgres:
            yield InPostgres()
            return
        store = InRedis(request.getfixturevalue("redis_server").url)
        store.empty()
        environment.setenv("CHURN_REDIS_URL", store.url)
        yield store


@pytest.fixture
def own_online_store(online_store: OnlineStore, monkeypatch: pytest.MonkeyPatch) -> OnlineStore:
    """An empty store of the same kind for one test, instead of the module's."""
    if isinstance(online_store, InPostgres):
        return online_store
    store = InRedis(f"{online_store.url}?db=1")
    store.empty()
    monkeypatch.setenv("CHURN_REDIS_URL", store.url)
    return store


@pytest.fixture
def pipeline(database_url: str, tmp_path: Path) -> Pipeline:
    """A pipeline over an empty landing directory."""
    landing = tmp_path / "landing"
    landing.mkdir()
    return Pipeline(database_url, landing, tmp_path / "archive")


@pytest.fixture
def pipeline_on(database_url: str, tmp_path: Path) -> Callable[[Path], Pipeline]:
    """A pipeline over the drops of a given directory."""
    return lambda landing: Pipeline(database_url, landing, tmp_path / "archive")


@pytest.fixture
def reachable(postgres_url: Callable[[str], str]) -> Iterator[None]:
    """Make the socket of Postgres, in its data directory, reachable for processes without root's rights."""
    directory = Path(conninfo_to_dict(postgres_url("postgres"))["host"])
    mode = directory.stat().st_mode
    directory.chmod(0o711)
    yield
    directory.chmod(mode)


@pytest.fixture(scope="session")
def wire(postgres_url: Callable[[str], str]) -> Iterator[Wire]:
    """A wire to the embedded Postgres."""
    # A socket's path must stay below 100 characters: pytest's own directories can be longer.
    directory = Path("/tmp") / f"churn-wire-{os.getpid()}"
    directory.mkdir()
    with wire_to(postgres_url("postgres"), directory) as wire:
        yield wire
    shutil.rmtree(directory)
