"""The nearest earlier loaded drop, and how a drop differs from it.

Figures come from the record and the archive, not from raw.*: retention may have deleted its rows.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from churn.drops.archive import ArchiveError, open_archived
from churn.drops.contract import REQUIRED_FILES, USERS, File
from churn.drops.customers import read_users
from churn.drops.holds.profile import Profile, Profiler
from churn.drops.holds.rules import Look, compare
from churn.drops.keys import Keys, count_shared
from churn.drops.storage import Location, storage_at
from churn.drops.tables import Rows, read_rows
from churn.drops.violations import Violations
from churn.postgres.database import Connection, execute


@dataclass(frozen=True)
class Earlier:
    """A loaded drop; `profile` is None if older code loaded it."""

    as_of: date
    digest: str
    rules: int
    files: Mapping[str, Mapping[str, Any]]
    profile: Profile | None


def find_nearest_earlier(connection: Connection, as_of: date) -> Earlier | None:
    """Return the newest loaded drop before `as_of`, None without one."""
    found = execute(connection, "holds/nearest_earlier", {"as_of": as_of}).fetchone()
    return Earlier(*found) if found else None


def compare_with_earlier(earlier: Earlier, now: Look, users: Keys, archive: Location) -> list[str]:
    """Return how a drop of the customers `users` differs from the earlier one in ways that a person must accept, a
    sentence each."""
    try:
        profile = earlier.profile or _read_profile(earlier, archive)
        sha256 = {name: file["sha256"] for name, file in earlier.files.items()}
        with open_archived(archive, sha256[USERS.name]) as stream, storage_at(archive).incoming() as directory:
            shared = count_shared(read_users(stream, earlier.rules, directory), users)
    except ArchiveError as error:
        # A hold and not an error: a damaged archive must not block all later drops.
        return [f"it cannot be compared with the drop of {earlier.as_of}: {error}"]
    return compare(now, Look(sha256, profile), shared)


def _read_profile(earlier: Earlier, archive: Location) -> Profile:
    profiler = Profiler()
    for file in REQUIRED_FILES:
        for _ in profiler.read(file, _read(earlier, file, archive)):
            pass
    return profiler.profile()


def _read(earlier: Earlier, file: File, archive: Location) -> Iterator[Rows]:
    with open_archived(archive, earlier.files[file.name]["sha256"]) as stream:
        yield from read_rows(file, stream, Violations(), earlier.rules)
