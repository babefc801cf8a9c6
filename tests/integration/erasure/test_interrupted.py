"""An erasure is killed at any act and called again, steps of the chain run beside it, and a backup is restored after
it: the end is the same."""

import contextlib
import json
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from churn.drops.archive import ArchiveError
from churn.drops.landing import find_drop
from churn.drops.loading import load
from churn.drops.validation import validate
from churn.erasure.again import erase_again
from churn.erasure.ledger import LEDGER, missing_requests
from churn.erasure.request import ERASED, end, read_ids
from churn.erasure.rows import erase_rows
from churn.outcome import DONE
from churn.postgres.personal_data import writing_personal_data
from tests.conftest import THOROUGH, close_connections, database_copy, mlflow_at, tracking
from tests.integration.erasure.erased_chain import (
    MARKED,
    Home,
    contents,
    correct,
    files_with,
    rows_of,
    run_chain,
    tables_with,
    write_home,
)
from tests.integration.fault_injection import Child, waits_for_a_lock
from tests.integration.fault_registry import count_changes
from tests.integration.moments import moments

STRIDE = 41 if THOROUGH else 197
"""Of the moments that an erasure can be killed at, one in so many is tried."""


@dataclass(frozen=True)
class World:
    """A chain before an erasure, to copy: its databases and its files, which keep their path."""

    home: Home
    pristine: Path
    database_url: str
    mlflow_url: str


@dataclass(frozen=True)
class Task:
    """A request, and the stack that it is of, as an argument for a child."""

    home: Home
    database_url: str
    mlflow_uri: str
    request: str


def erase(task: Task) -> None:
    """Run the tasks of churn_erase between tombstones and end."""
    with (
        contextlib.chdir(task.home.path.parent),
        mlflow_at(task.mlflow_uri),
        pytest.MonkeyPatch.context() as environment,
    ):
        # A child has the environment of the process that it was forked from.
        environment.setenv("CHURN_ERASURE_DIR", str(task.home.path / "erasure"))
        users = frozenset({MARKED})
        for step in task.home.stores(task.database_url).steps(task.request, users).values():
            step()
        end(task.request, ERASED, task.database_url)


@pytest.fixture(scope="module")
def world(postgres_url, churn_template, mlflow_template, tmp_path_factory) -> Iterator[World]:
    directory = tmp_path_factory.mktemp("interrupted")
    home = write_home(directory / "home", customers=1000, months=2, seed=7)
    with (
        pytest.MonkeyPatch.context() as environment,
        database_copy(postgres_url, churn_template) as url,
        tracking(postgres_url, mlflow_template, home.path / "mlflow") as mlflow_uri,
    ):
        environment.setenv("CHURN_ERASURE_DIR", str(home.path / "erasure"))
        run_chain(home, url)
        shutil.copytree(home.path, directory / "pristine")
        # MLflow asks for the working directory, and the files of the stack are removed and copied back.
        os.chdir(directory)
        yield World(home, directory / "pristine", url, mlflow_uri)


@contextmanager
def backup_of(world: World, postgres_url) -> Iterator[Task]:
    """The world as it was before the erasure."""
    shutil.rmtree(world.home.path)
    shutil.copytree(world.pristine, world.home.path)
    names = [url.split("?")[0].rsplit("/", 1)[1] for url in (world.database_url, world.mlflow_url)]
    close_connections(postgres_url("postgres"), *names)
    with database_copy(postgres_url, names[0]) as url, database_copy(postgres_url, names[1]) as mlflow_url:
        yield Task(world.home, url, mlflow_url.replace("postgresql://", "postgresql+psycopg2://"), "")


@contextmanager
def copy_of(world: World, postgres_url) -> Iterator[Task]:
    """The same, with a request."""
    with backup_of(world, postgres_url) as task:
        yield replace(task, request=world.home.stores(task.database_url).begin(MARKED))


def state(task: Task) -> list[object]:
    """Return what the stores hold, without times and names of requests; the report of a killed call may lack rows."""
    rows = {
        table: sorted(_without_times(row) for row in found.elements())
        for table, found in rows_of(task.database_url).items()
        if table != "erasure.places"
    }
    files = {
        name: text
        for name, text in contents(task.home.path)
        # MLflow leaves the copy that it was uploading.
        if not name.startswith("erasure/") and ".artifact.uploading." not in name
    }
    return [rows, files]


def _without_times(row: str) -> str:
    kept = {name: value for name, value in json.loads(row).items() if not name.endswith("_at") and name != "request"}
    # The key is another one in each copy of the world.
    return json.dumps({name: value for name, value in kept.items() if name != "hash"}, sort_keys=True)


def test_an_erasure_that_is_killed_ends_the_same_when_it_is_called_again(world, postgres_url, children):
    with copy_of(world, postgres_url) as task:
        _, _, acts = Child(children, erase, task, watched=world.home.path, prepare=count_changes).result()
        undisturbed = state(task)
    assert len(acts) > 100
    assert not any(MARKED in name for name in files_with(world.home.path) if not name.startswith("sent/"))
    for moment in moments(STRIDE):
        with copy_of(world, postgres_url) as task:
            finished, *_ = Child(
                children, erase, task, watched=world.home.path, dies_before=moment, prepare=count_changes
            ).result()
            if finished:
                assert moment > len(acts)
                break
            if MARKED in read_ids(task.request, world.home.path / "erasure"):
                erase(task)
            assert state(task) == undisturbed, f"killed before act {moment}, {acts[moment - 1]}"


def test_an_erasure_waits_for_a_step_that_is_under_way(world, postgres_url):
    with copy_of(world, postgres_url) as task:
        erasing = threading.Thread(target=erase_rows, args=(task.request, frozenset({MARKED}), task.database_url))
        with writing_personal_data(task.database_url):
            erasing.start()
            while not waits_for_a_lock(task.database_url):
                assert erasing.is_alive()
            assert "raw.users" in tables_with(task.database_url)
        erasing.join(60)
        assert tables_with(task.database_url) == []


def test_a_drop_that_was_validated_before_is_not_loaded_after(world, postgres_url):
    with backup_of(world, postgres_url) as task:
        stores, day = world.home.stores(task.database_url), world.home.dates[0]
        correct(stores.landing / str(day))
        drop = validate(find_drop(stores.landing, day), task.database_url, stores.archive)
        erase(replace(task, request=stores.begin(MARKED)))
        with pytest.raises(ArchiveError, match="validate the drop again"):
            load(drop, task.database_url, stores.archive)
        again = validate(find_drop(stores.landing, day), task.database_url, stores.archive)
        assert load(again, task.database_url, stores.archive).outcome == DONE
        assert tables_with(task.database_url) == []


def test_a_restored_backup_is_erased_again_before_it_serves(world, postgres_url, tmp_path, monkeypatch):
    with copy_of(world, postgres_url) as task:
        erase(task)
        shutil.copytree(world.home.path / "erasure", tmp_path / "erasure")
    monkeypatch.setenv("CHURN_ERASURE_DIR", str(tmp_path / "erasure"))
    with backup_of(world, postgres_url) as task:
        stores = world.home.stores(task.database_url)
        assert MARKED not in (tmp_path / "erasure" / LEDGER).read_text(encoding="utf-8")
        assert len(missing_requests(task.database_url, tmp_path / "erasure")) == 1
        with mlflow_at(task.mlflow_uri):
            erase_again(task.database_url, tmp_path / "erasure", stores.landing, stores.archive, str(stores.lists))
        assert missing_requests(task.database_url, tmp_path / "erasure") == []
        assert tables_with(task.database_url) == []
        assert [name for name in files_with(world.home.path) if not name.startswith("sent/")] == []
