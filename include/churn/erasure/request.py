"""A request to erase customers: the file of their ids, its record, and the tombstones.

Ids are passed on by a file in CHURN_ERASURE_DIR that only its owner can read; it is deleted at the end. A parameter, a
log or an XCom would keep them.
"""

import json
import os
import re
import secrets
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from churn.drops.tombstones import KEY, hash_of, read_key
from churn.outcome import DONE, UNCHANGED, Outcome
from churn.postgres.database import Connection, connect, execute
from churn.reason import Refused, stated
from churn.settings import SettingMissing, erasure_directory

LEDGER = "tombstones.jsonl"
"""The file in CHURN_ERASURE_DIR with a line of JSON for each request. A restored backup lacks newer requests."""

NAME = re.compile(r"[0-9a-f]{32}")
ERASED, REFUSED = "erased", "refused"


class ErasureRefused(Refused):
    """The request cannot be carried out, and the message says why; nothing was removed by this call."""


def required_directory() -> Path:
    """Return CHURN_ERASURE_DIR, made if it does not exist.

    Raises:
        SettingMissing: it is not set.
    """
    directory = erasure_directory()
    if directory is None:
        raise SettingMissing("CHURN_ERASURE_DIR is not set: name a directory outside CHURN_HOME and its backups")
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return directory


def write_ids(ids: Iterable[str], directory: Path) -> str:
    """Write the file of ids of a new request and return the request's name.

    Raises:
        ErasureRefused: there is no id.
    """
    users = sorted({each for line in ids if (each := line.strip("\r\n"))})
    if not users:
        raise ErasureRefused("no user_id was given")
    request = secrets.token_hex(16)
    with open(_private(_file_of(request, directory)), "w", encoding="utf-8") as file:
        file.writelines(f"{each}\n" for each in users)
    return request


def read_ids(request: str, directory: Path) -> frozenset[str]:
    """Return the customers of a request.

    Raises:
        ErasureRefused: it has no file of ids.
    """
    if not NAME.fullmatch(request):
        raise ErasureRefused(f"{request!r} is not the name of a request: make erase starts one")
    try:
        text = _file_of(request, directory).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ErasureRefused(
            f"request {request} has no file of ids in CHURN_ERASURE_DIR: it has ended, or the file is on another "
            "machine; make erase starts a new one"
        ) from None
    return frozenset(text.splitlines())


def delete_ids(request: str, directory: Path) -> None:
    """Delete the file of ids, if it exists."""
    _file_of(request, directory).unlink(missing_ok=True)


def open_request(request: str, who: str, why: str, database_url: str) -> Outcome:
    """Record who asked to erase how many customers, and why. Nothing is removed yet. UNCHANGED if it is on record.

    Raises:
        ErasureRefused: `who` or `why` is empty, `why` is too long, or there is no file of ids.
        SettingMissing: CHURN_ERASURE_DIR is not set.
    """
    who, why = stated(who, why, ErasureRefused)
    customers = len(read_ids(request, required_directory()))
    with connect(database_url) as connection:
        new = execute(
            connection, "erasure/open", {"request": request, "who": who, "why": why, "customers": customers}
        ).rowcount
    return Outcome(DONE if new else UNCHANGED, f"request {request}: {customers} customers", {"customers": customers})


def bury(request: str, database_url: str, approved_by: str | None = None) -> Outcome:
    """Write the tombstones of a request's customers, in the ledger and then in the database: from now on drops are
    loaded without them.

    Raises:
        ErasureRefused: there is no file of ids, or no such request.
    """
    directory = required_directory()
    users = read_ids(request, directory)
    key = read_key(directory) or _new_key(directory, database_url)
    hashes = sorted(hash_of(each, key) for each in users)
    with connect(database_url) as connection:
        found = execute(connection, "erasure/approve", {"request": request, "approved_by": approved_by}).fetchone()
        if found is None:
            raise ErasureRefused(f"request {request} is not on record: run the task that opens it")
        asked_at, who, why = found
        _append_to_ledger(
            directory, {"request": request, "asked_at": asked_at.isoformat(), "who": who, "why": why}, hashes
        )
        new = execute(connection, "erasure/bury", {"hashes": hashes, "request": request}).rowcount
    what = f"{new} tombstones of {len(hashes)} customers"
    return Outcome(DONE if new else UNCHANGED, what, {"tombstones": new, "customers": len(hashes)})


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


def has_ledger(directory: Path) -> bool:
    """Tell whether anybody was ever erased, as far as CHURN_ERASURE_DIR knows."""
    return (directory / LEDGER).exists()


def missing_requests(database_url: str, directory: Path | None) -> list[str]:
    """Return the requests of the ledger that did not end in this database, oldest first."""
    path = directory / LEDGER if directory else None
    if path is None or not path.exists():
        return []
    known = [json.loads(line)["request"] for line in path.read_text(encoding="utf-8").splitlines()]
    with connect(database_url) as connection:
        ended = {request for (request,) in execute(connection, "erasure/ended")}
    return [request for request in known if request not in ended]


def end(request: str, result: str, database_url: str) -> Outcome:
    """Record the end of a request and delete its file of ids.

    Args:
        result: ERASED or REFUSED.
    """
    with connect(database_url) as connection:
        ended = execute(connection, "erasure/end", {"request": request, "result": result}).rowcount
    delete_ids(request, required_directory())
    return Outcome(DONE if ended else UNCHANGED, f"request {request}: {result}")


def record_place(
    connection: Connection, request: str, place: str, *, looked_at: int, rewritten: int, rows: int
) -> None:
    """Add to the report of a request what was done in a place, in the caller's transaction. A later call for the same
    place adds to it."""
    figures = {"looked_at": looked_at, "rewritten": rewritten, "rows": rows}
    execute(connection, "erasure/record_place", {"request": request, "place": place, **figures})


def _file_of(request: str, directory: Path) -> Path:
    return directory / f"{request}.ids"


def _private(path: Path) -> int:
    """Create a file that only its owner can read; return its descriptor."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)


def _new_key(directory: Path, database_url: str) -> bytes:
    """Write the key and return it. One is never made beside tombstones of another key."""
    with connect(database_url) as connection:
        if execute(connection, "erasure/any_tombstone").fetchone():
            raise ErasureRefused(
                f"the key of the tombstones is missing: put the file {KEY} back into CHURN_ERASURE_DIR"
            )
    key = secrets.token_bytes(32)
    with open(_private(directory / KEY), "wb") as file:
        file.write(key)
        os.fsync(file.fileno())
    return key


def _append_to_ledger(directory: Path, entry: dict[str, str], hashes: list[bytes]) -> None:
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
