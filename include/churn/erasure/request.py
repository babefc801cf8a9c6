"""A request to erase customers: the file of their ids, its record, and the tombstones.

Ids are passed on by a file in CHURN_ERASURE_DIR that only its owner can read; it is deleted at the end. A parameter, a
log or an XCom would keep them.
"""

import re
import secrets
from collections.abc import Iterable
from pathlib import Path

from churn.drops.tombstones import hash_of, read_key
from churn.erasure.ledger import ErasureRefused, append, file_of, new_key, private
from churn.outcome import DONE, UNCHANGED, Outcome
from churn.postgres.database import Connection, connect, execute
from churn.reason import stated
from churn.settings import SettingMissing, erasure_directory

NAME = re.compile(r"[0-9a-f]{32}")
HEADER = "user_id"
ERASED, REFUSED = "erased", "refused"


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

    Args:
        ids: each may end with a newline; empty ones are left out.

    Raises:
        ErasureRefused: there is no id, or one that no customer can have.
    """
    users = sorted({each for number, line in enumerate(ids, 1) if (each := _checked(line, number))})
    if not users:
        raise ErasureRefused("no user_id was given")
    request = secrets.token_hex(16)
    with open(private(file_of(request, directory)), "w", encoding="utf-8") as file:
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
        content = file_of(request, directory).read_bytes()
    except FileNotFoundError:
        raise ErasureRefused(
            f"request {request} has no file of ids in CHURN_ERASURE_DIR: it has ended, or the file is on another "
            "machine; make erase starts a new one"
        ) from None
    # Not splitlines(): ids of early drops may contain what Unicode takes for a line's end.
    return frozenset(content.decode("utf-8").split("\n")) - {""}


def delete_ids(request: str, directory: Path) -> None:
    """Delete the file of ids, if it exists."""
    file_of(request, directory).unlink(missing_ok=True)


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
    key = read_key(directory) or new_key(directory, database_url)
    hashes = sorted(hash_of(each, key) for each in users)
    with connect(database_url) as connection:
        found = execute(connection, "erasure/approve", {"request": request, "approved_by": approved_by}).fetchone()
        if found is None:
            raise ErasureRefused(f"request {request} is not on record: run the task that opens it")
        asked_at, who, why = found
        append(directory, {"request": request, "asked_at": asked_at.isoformat(), "who": who, "why": why}, hashes)
        new = execute(connection, "erasure/bury", {"hashes": hashes, "request": request}).rowcount
    what = f"{new} tombstones of {len(hashes)} customers"
    return Outcome(DONE if new else UNCHANGED, what, {"tombstones": new, "customers": len(hashes)})


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


def _checked(line: str, number: int) -> str:
    """Return the id of a line, "" if it is empty. An id that cannot be a customer's would silently erase nobody; the
    message names the line and not the id, because it may be logged."""
    user = line.rstrip("\r\n")
    if user.strip('"').casefold() == HEADER:
        raise ErasureRefused(f"line {number} is the header {HEADER}: the file has ids alone, without a header")
    if user != user.strip().strip("\ufeff"):
        raise ErasureRefused(f"line {number} begins or ends with a blank or a byte order mark: write the id alone")
    if "\r" in user or "\n" in user:
        raise ErasureRefused(f"line {number} has a carriage return or a newline within an id: write one id a line")
    return user
