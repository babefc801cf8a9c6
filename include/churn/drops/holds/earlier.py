"""The nearest earlier drop that is loaded, and how a drop differs from it.

Its figures are on record and its files in the archive: rows of raw.* are never asked, retention may have removed them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np

from churn.drops.archive import ArchiveError, open_archived
from churn.drops.contract import REQUIRED_FILES, USERS, File
from churn.drops.customers import count_shared, read_users
from churn.drops.holds.profile import Profile, Profiler
from churn.drops.holds.rules import Look, compare
from churn.drops.storage import Location
from churn.drops.tables import Rows, read_rows
from churn.drops.violations import Violations
from churn.postgres.database import Connection, execute


@dataclass(frozen=True)
class Earlier:
    """A drop that is loaded; `profile` is None where older code loaded it."""

    as_of: date
    digest: str
    rules: int
    files: Mapping[str, Mapping[str, Any]]
    profile: Profile | None


def find_nearest_earlier(connection: Connection, as_of: date) -> Earlier | None:
    """Return the newest drop before `as_of` that is loaded and not withdrawn, None where there is none."""
    found = execute(connection, "holds/nearest_earlier", {"as_of": as_of}).fetchone()
    return Earlier(*found) if found else None


def compare_with_earlier(earlier: Earlier, now: Look, users: np.ndarray, archive: Location) -> list[str]:
    """Return what a person must accept of a drop beside the earlier one, a sentence each.

    Args:
        users: the hashes of the drop's customers, sorted; see churn.drops.customers.Agreement.
    """
    try:
        profile = earlier.profile or _read_profile(earlier, archive)
        with open_archived(archive, earlier.files[USERS.name]["sha256"]) as stream:
            before = read_users(stream, earlier.rules)
    except ArchiveError as error:
        # A person decides: until the archive is mended, no later drop could be loaded.
        return [f"it cannot be compared with the drop of {earlier.as_of}: {error}"]
    sha256 = {name: file["sha256"] for name, file in earlier.files.items()}
    return compare(now, Look(sha256, profile), count_shared(before, users))


def _read_profile(earlier: Earlier, archive: Location) -> Profile:
    profiler = Profiler()
    for file in REQUIRED_FILES:
        for _ in profiler.read(file, _read(earlier, file, archive)):
            pass
    return profiler.profile()


def _read(earlier: Earlier, file: File, archive: Location) -> Iterator[Rows]:
    with open_archived(archive, earlier.files[file.name]["sha256"]) as stream:
        yield from read_rows(file, stream, Violations(), earlier.rules)
