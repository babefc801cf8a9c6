"""CHURN_ERASURE_DIR: the key of the tombstones, the files of ids, and the ledger of requests.

It lies outside CHURN_HOME and its backups. A restored backup lacks newer requests; the ledger has them.
"""

import json
import os
import secrets
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from churn.drops.tombstones import KEY
from churn.postgres.database import connect, execute
from churn.reason import Refused

LEDGER = "tombstones.jsonl"
"""A line of JSON for each request."""

AGAIN = "again.ids"
"""The ids that are being erased from a restored backup."""


class ErasureRefused(Refused):
    """The request cannot be carried out, and the message says why; nothing was removed by this call."""


def has_ledger(directory: Path) -> bool:
    """Tell whether anybody was ever erased, as far as CHURN_ERASURE_DIR knows."""
    return (directory / LEDGER).exists()


def missing_requests(database_url: str, directory: Path | None) -> list[str]:
    """Return the requests of the ledger that a restored database lacks, oldest first: those that did not end in it.

    One whose file of ids is there is under way, and the DAG churn_erase ends it.
    """
    path = directory / LEDGER if directory else None
    if path is None or not path.exists():
        return []
    known = [json.loads(line)["request"] for line in path.read_text(encoding="utf-8").splitlines()]
    with connect(database_url) as connection:
        ended = {request for (request,) in execute(connection, "erasure/ended")}
    return [each for each in known if each not in ended and not file_of(each, path.parent).exists()]


def catch_up(database_url: str, directory: Path) -> int:
    """Add the tombstones of the ledger that the database lacks, as after a restore; return their number."""
    path = directory / LEDGER
    new = 0
    with connect(database_url) as connection:
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
            entry = json.loads(line)
            hashes = [bytes.fromhex(each) for each in entry.pop("hashes")]
            execute(connection, "erasure/restore_request", {**entry, "customers": len(hashes)})
            new += execute(connection, "erasure/bury", {"hashes": hashes, "request": entry["request"]}).rowcount
    return new


def keep_ids(users: Iterable[str], directory: Path) -> frozenset[str]:
    """Add these ids to those that are being erased from a restored backup, and return all of them."""
    path = directory / AGAIN
    kept = frozenset(path.read_text(encoding="utf-8").split("\n")) - {""} if path.exists() else frozenset()
    kept |= frozenset(users)
    draft = path.with_suffix(".draft")
    draft.unlink(missing_ok=True)
    with open(private(draft), "w", encoding="utf-8") as file:
        file.writelines(f"{each}\n" for each in sorted(kept))
    draft.replace(path)
    return kept


def forget_ids(directory: Path) -> None:
    """Delete the ids of keep_ids()."""
    (directory / AGAIN).unlink(missing_ok=True)


def append(directory: Path, entry: dict[str, str], hashes: list[bytes]) -> None:
    """Add a line, unless the ledger has the request."""
    path = directory / LEDGER
    there = path.read_text(encoding="utf-8") if path.exists() else ""
    if entry["request"] in there:
        return
    line = json.dumps({**entry, "buried_at": datetime.now(UTC).isoformat(), "hashes": [each.hex() for each in hashes]})
    with path.open("a", encoding="utf-8") as file:
        file.write(("" if there.endswith("\n") or not there else "\n") + line + "\n")
        file.flush()
        os.fsync(file.fileno())


def new_key(directory: Path, database_url: str) -> bytes:
    """Write the key and return it. One is never made beside tombstones of another key."""
    with connect(database_url) as connection:
        if execute(connection, "erasure/any_tombstone").fetchone():
            raise ErasureRefused(
                f"the key of the tombstones is missing: put the file {KEY} back into CHURN_ERASURE_DIR"
            )
    key = secrets.token_bytes(32)
    with open(private(directory / KEY), "wb") as file:
        file.write(key)
        os.fsync(file.fileno())
    return key


def file_of(request: str, directory: Path) -> Path:
    """Return the file of ids of a request."""
    return directory / f"{request}.ids"


def private(path: Path) -> int:
    """Create a file that only its owner can read; return its descriptor."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
