"""A small world for fault tests: two dates of a few customers, the steps of the chain, and the state to compare."""

import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

from churn.drops.archive import open_archived
from churn.drops.landing import Drop
from churn.drops.loading import load
from churn.drops.snapshots import build_snapshots
from churn.drops.validation import AcceptedDrop, validate
from churn.drops.withdrawal import withdraw
from churn.features.materialization import materialize, serve_what_is_left
from churn.features.store import FEATURE_SERVICE, apply_definitions, read_online
from churn.outcome import Outcome
from churn.postgres.database import connect
from tests.conftest import database_copy
from tests.database_dump import dump, dump_of_drops
from tests.handmade_drops import write_drop
from tests.opened_store import opened_store

D31, F29, M31 = date(2024, 1, 31), date(2024, 2, 29), date(2024, 3, 31)
USERS = tuple("abcdef")


@dataclass(frozen=True)
class World:
    """Where a chain works, and the AS_OF it works on."""

    database_url: str
    landing: Path
    archive: Path
    as_of: date
    accepted: AcceptedDrop | None = None


def run_validate(world: World) -> AcceptedDrop:
    return validate(Drop(world.as_of, world.landing / world.as_of.isoformat()), world.database_url, world.archive)


def run_load(world: World) -> Outcome:
    assert world.accepted is not None
    return load(world.accepted, world.database_url, world.archive)


def run_snapshot(world: World) -> Outcome:
    return build_snapshots(world.as_of, world.database_url)


def run_apply(world: World) -> Outcome:
    return apply_definitions(world.database_url)


def run_materialize(world: World) -> Outcome:
    return materialize(world.as_of, world.database_url)


def run_withdrawal(world: World) -> Outcome:
    withdraw(world.as_of, "ada", "the fees are in cents", world.database_url)
    return serve_what_is_left(world.database_url)


CHAIN: tuple[Callable[[World], Any], ...] = (run_validate, run_load, run_snapshot, run_apply, run_materialize)


def run_up_to(world: World, stop: Callable[[World], Any] | None = None) -> World:
    """Run the steps before `stop`, all where it is None; return the world with the drop that was accepted."""
    for step in CHAIN:
        if step is stop:
            break
        result = step(world)
        if isinstance(result, AcceptedDrop):
            world = replace(world, accepted=result)
    return world


def write_january(landing: Path) -> None:
    write_drop(landing, D31, {user: {"months_active": "1"} for user in "abcd"}, [("a", True), ("b", False)])


def write_february(landing: Path) -> None:
    write_drop(landing, F29, {user: {"months_active": "2"} for user in "abcd"}, [("a", False), ("c", True)])


def write_corrected_february(landing: Path) -> None:
    """b and d are gone, e is new, and every value is another."""
    labels = [("a", True, F29), ("c", True, F29), ("d", True, D31)]
    write_drop(landing, F29, {user: {"months_active": "3", "skips_7d": "9"} for user in "ace"}, labels)


@contextmanager
def new_world(postgres_url: Callable[[str], str], template: str, directory: Path) -> Iterator[World]:
    """A world about to work on January, whose drop and February's have come and which is else empty; gone at the
    end."""
    (directory / "archive").mkdir()
    write_january(directory / "landing")
    write_february(directory / "landing")
    with database_copy(postgres_url, template) as url:
        yield World(url, directory / "landing", directory / "archive", D31)


@contextmanager
def copy_of(world: World, postgres_url: Callable[[str], str], directory: Path) -> Iterator[World]:
    """A world like this one, gone at the end. Connections to the one that is copied are closed."""
    template = world.database_url.split("?")[0].rsplit("/", 1)[1]
    archive = directory / "archive"
    shutil.copytree(world.archive, archive)
    with connect(postgres_url("postgres")) as connection:
        # Feast holds its connections to the registry for as long as the process lives.
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [template])
    with database_copy(postgres_url, template) as database_url:
        yield replace(world, database_url=database_url, archive=archive)
    shutil.rmtree(archive)


@contextmanager
def about_to(
    step: Callable[[World], Any], start: World, postgres_url: Callable[[str], str], directory: Path
) -> Iterator[World]:
    """A copy of `start` in which the steps before `step` were run."""
    with copy_of(start, postgres_url, directory) as world:
        yield run_up_to(world, step)


def tables(world: World) -> dict[Any, Any]:
    """What a reader of raw.* and snapshots.* finds, with what they say of themselves but for the time."""
    with connect(world.database_url) as connection:
        said = {
            query: connection.execute(query).fetchall()
            for query in (
                "SELECT as_of, revision, digest, code_digest, files FROM raw.revisions ORDER BY as_of, revision",
                "SELECT as_of, drop_digest, code_digest, rows FROM snapshots.builds ORDER BY as_of",
            )
        }
    return {**dump_of_drops(world.database_url), **said}


def served(world: World) -> dict[str, Any]:
    """What a reader of the online store gets for every customer; {} before the definitions are applied."""
    with opened_store(world.database_url) as store:
        if not store.list_feature_services():
            return {}
        found = read_online(store, store.get_feature_service(FEATURE_SERVICE), list(USERS))
    return dict(zip(USERS, found, strict=True))


def leftovers(world: World) -> Counter[tuple[str, int]]:
    """How many tables there are beside raw.* and snapshots.*, by their name without the numbers in it, and their rows:
    what a dead run left behind would be too many."""
    content = dump(world.database_url, "online", "feast", "gate", "public")
    # Feast writes a view and its history in two transactions, and nobody reads the history.
    content.pop(("feast", "feature_view_version_history"), None)
    return Counter(
        (re.sub(r"\d+", "#", f"{schema}.{name}"), rows.count(b"\n")) for (schema, name), rows in content.items()
    )


def archived(world: World) -> set[str]:
    """Return the names of the files in the archive, and of what was left on the way there.

    Raises:
        ArchiveError: a file has another content than its name says.
    """
    files = {path for path in world.archive.rglob("*") if path.is_file()}
    for path in files:
        if not path.parent.name.startswith(".incoming-"):
            with open_archived(world.archive, path.name.removesuffix(".csv.zst")):
                pass
    return {str(path.relative_to(world.archive)) for path in files}


def everything(world: World) -> dict[str, Any]:
    """Return all that there is, to compare."""
    return {"tables": tables(world), "rows": leftovers(world), "archive": archived(world)}
