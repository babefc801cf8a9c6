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

from churn.drops.accepted import AcceptedDrop
from churn.drops.archive import open_archived
from churn.drops.landing import Drop
from churn.drops.loading import load
from churn.drops.snapshots import build_snapshots
from churn.drops.validation import validate
from churn.drops.withdrawal import withdraw
from churn.features.materialization import materialize, serve_what_is_left
from churn.features.store import FEATURE_SERVICE, apply_definitions, read_online
from churn.outcome import Outcome
from churn.postgres.database import connect
from tests.conftest import close_connections, database_copy
from tests.database_dump import dump, dump_of_drops
from tests.handmade_drops import write_drop
from tests.opened_store import opened_store

D31, F29, M31 = date(2024, 1, 31), date(2024, 2, 29), date(2024, 3, 31)
USERS = tuple("abcdef")


@dataclass(frozen=True)
class World:
    """The database, directories and AS_OF of a chain."""

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
    """Run the steps before `stop`, or all; return the world with the accepted drop."""
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
    """A temporary world with the drops of January and February, and nothing loaded."""
    (directory / "archive").mkdir()
    write_january(directory / "landing")
    write_february(directory / "landing")
    with database_copy(postgres_url, template) as url:
        yield World(url, directory / "landing", directory / "archive", D31)


@contextmanager
def copy_of(world: World, postgres_url: Callable[[str], str], directory: Path) -> Iterator[World]:
    """A temporary copy of the world. Connections to the original are closed."""
    template = world.database_url.split("?")[0].rsplit("/", 1)[1]
    archive = directory / "archive"
    shutil.copytree(world.archive, archive)
    close_connections(postgres_url("postgres"), template)
    with database_copy(postgres_url, template) as database_url:
        yield replace(world, database_url=database_url, archive=archive)
    shutil.rmtree(archive)


@contextmanager
def about_to(
    step: Callable[[World], Any], start: World, postgres_url: Callable[[str], str], directory: Path
) -> Iterator[World]:
    """A copy of `start` after the steps before `step`."""
    with copy_of(start, postgres_url, directory) as world:
        yield run_up_to(world, step)


def tables(world: World) -> dict[Any, Any]:
    """The content of raw.* and snapshots.*, without times."""
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
    """The served features of every customer; {} before the definitions are applied."""
    with opened_store(world.database_url) as store:
        if not store.list_feature_services():
            return {}
        found = read_online(store, store.get_feature_service(FEATURE_SERVICE), list(USERS))
    return dict(zip(USERS, found, strict=True))


def leftovers(world: World) -> Counter[tuple[str, int]]:
    """The number of other tables and of their rows, by name without digits: remains of a dead run would add to it."""
    content = dump(world.database_url, "online", "feast", "gate", "public")
    # Feast writes a view and its history in two transactions, and nobody reads the history.
    content.pop(("feast", "feature_view_version_history"), None)
    return Counter(
        (re.sub(r"\d+", "#", f"{schema}.{name}"), rows.count(b"\n")) for (schema, name), rows in content.items()
    )


def archived(world: World) -> set[str]:
    """Return the names of archived and temporary files.

    Raises:
        ArchiveError: the content of a file differs from its name.
    """
    files = {path for path in world.archive.rglob("*") if path.is_file()}
    for path in files:
        if not path.parent.name.startswith(".incoming-"):
            with open_archived(world.archive, path.name.removesuffix(".csv.zst")):
                pass
    return {str(path.relative_to(world.archive)) for path in files}


def everything(world: World) -> dict[str, Any]:
    """Return the whole state, to compare."""
    return {"tables": tables(world), "rows": leftovers(world), "archive": archived(world)}
