"""Erasure from log files: an error about a drop quotes values, and so customers. Ids are covered in place.

A covered id keeps its length, because services write on at the end of their files.
"""

import logging
import mmap
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from churn.erasure.request import record_place
from churn.outcome import DONE, UNCHANGED, Outcome
from churn.postgres.database import connect

log = logging.getLogger(__name__)

PLACE = "log files"
COVER = b"*"
OF_AN_ID = rb"[\w.@-]"
"""A byte before or after an id that makes it part of another one."""


def erase_logs(request: str, users: frozenset[str], database_url: str, directories: Sequence[Path]) -> Outcome:
    """Cover the ids of `users` in every file below the directories. A file that cannot be written is an OSError."""
    files = sorted({path for each in directories for path in each.rglob("*") if path.is_file()})
    covered = {path: found for path in files if (found := _cover(path, users))}
    times = sum(covered.values())
    with connect(database_url) as connection:
        record_place(connection, request, PLACE, looked_at=len(files), rewritten=len(covered), rows=times)
    figures = {"looked_at": len(files), "rewritten": len(covered), "rows": times}
    if not covered:
        return Outcome(UNCHANGED, f"none of {len(files)} log files names them", figures)
    return Outcome(DONE, f"{times} ids are covered in {len(covered)} of {len(files)} log files", figures)


def _cover(path: Path, users: Iterable[str]) -> int:
    """Return how many ids were covered in a file."""
    if path.stat().st_size == 0:
        return 0
    count = 0
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as content:
        for user in users:
            found = user.encode()
            if content.find(found) < 0:
                continue
            pattern = rb"(?<!" + OF_AN_ID + rb")" + re.escape(found) + rb"(?!" + OF_AN_ID + rb")"
            for match in list(re.finditer(pattern, content)):
                content[match.start() : match.end()] = COVER * len(found)
                count += 1
    return count
