"""Erasure from log files: an error about a drop quotes values, and so customers. Ids are covered in place.

A covered id keeps its length, and nothing else is written, because services write on at the end of their files. Ids are
found by the rules of churn.erasure.texts: as whole tokens, and no short ones, numbers or words. Of a value longer than
violations.VALUE_LENGTH a message has only the beginning, which is no id and stays.
"""

import logging
import os
from collections.abc import Sequence
from pathlib import Path

from churn.erasure.request import record_place
from churn.erasure.texts import Mentions
from churn.outcome import DONE, UNCHANGED, Outcome
from churn.postgres.database import connect

log = logging.getLogger(__name__)

PLACE = "log files"
COVER = b"*"
COMPRESSED = ".gz"

BLOCK = 4 * 2**20
"""Bytes of whole lines that are searched at once: a log file may be larger than memory."""


def erase_logs(request: str, users: frozenset[str], database_url: str, directories: Sequence[Path]) -> Outcome:
    """Cover the ids of `users` in every file below the directories, except compressed ones. The outcome says how many
    ids are not looked for.

    Raises:
        OSError: a file cannot be read and written.
    """
    mentions = Mentions(users)
    files = sorted({path for each in directories for path in each.rglob("*") if _is_searched(path)})
    covered = {path: found for path in files if (found := _cover(path, mentions))}
    times = sum(covered.values())
    with connect(database_url) as connection:
        record_place(connection, request, PLACE, looked_at=len(files), rewritten=len(covered), rows=times)
    figures = {
        "looked_at": len(files),
        "rewritten": len(covered),
        "rows": times,
        "not_looked_for": mentions.not_looked_for,
    }
    but = _about(mentions.not_looked_for)
    if not covered:
        return Outcome(UNCHANGED, f"none of {len(files)} log files names them{but}", figures)
    return Outcome(DONE, f"{times} ids are covered in {len(covered)} of {len(files)} log files{but}", figures)


def _is_searched(path: Path) -> bool:
    if not path.is_file():
        return False
    if path.suffix == COMPRESSED:
        log.warning("%s is compressed: it is not searched for ids", path)
        return False
    return True


def _cover(path: Path, mentions: Mentions) -> int:
    """Return how many ids were covered in a file."""
    count = offset = 0
    with path.open("r+b") as file:
        while block := b"".join(file.readlines(BLOCK)):
            for start, end in mentions.spans_in(block):
                # Not through the file object, whose position is that of the next block.
                os.pwrite(file.fileno(), COVER * (end - start), offset + start)
                count += 1
            offset += len(block)
    return count


def _about(not_looked_for: int) -> str:
    if not not_looked_for:
        return ""
    return f"; {not_looked_for} ids are not looked for: they are too short, numbers or words, as any log has"
