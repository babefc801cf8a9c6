"""The report of a request: who asked, what was found and removed in each place, and the versions that it affects."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from churn.erasure.request import ERASED
from churn.postgres.database import Connection, connect, execute

HEADER = ("place", "looked at", "rewritten", "rows removed")
NOTHING = "nothing found"
NOWHERE = "nothing was found anywhere: check the ids"


@dataclass(frozen=True)
class Record:
    """The row of erasure.requests.

    Attributes:
        result: ERASED or REFUSED; None: it waits for approval, is under way or was interrupted.
    """

    asked_at: datetime
    who: str
    why: str
    approved_by: str | None
    customers: int
    ended_at: datetime | None
    result: str | None


def find_record(request: str, database_url: str) -> Record | None:
    """Return the record of a request, None if there is none."""
    with connect(database_url) as connection:
        return _read(connection, request)


def report_of(request: str, database_url: str) -> str:
    """Return the report of a request as text: its record, a row for each place, the versions it affects, and whether
    nothing was found anywhere, as of ids that are mistyped."""
    with connect(database_url) as connection:
        record = _read(connection, request)
        places = execute(connection, "erasure_report/places", {"request": request}).fetchall()
        versions = [version for (version,) in execute(connection, "erasure_report/versions", {"request": request})]
    if record is None:
        return f"request {request} is not on record: nothing was removed"
    nowhere = NOWHERE if record.result == ERASED and not any(rows for *_, rows in places) else ""
    parts = (_head(request, record), _table(places), _said(versions, record), nowhere)
    return "\n\n".join(part for part in parts if part)


def _read(connection: Connection, request: str) -> Record | None:
    row = execute(connection, "erasure_report/request", {"request": request}).fetchone()
    return Record(*row) if row else None


def _head(request: str, record: Record) -> str:
    approved = f", approved by {record.approved_by}" if record.approved_by else ""
    ended = f"{record.result} at {_time(record.ended_at)}" if record.ended_at else "not ended"
    return (
        f"request {request}: {record.customers} customers\n"
        f"asked by {record.who} at {_time(record.asked_at)}{approved}\n"
        f"why: {record.why}\n"
        f"result: {ended}"
    )


def _time(when: datetime) -> str:
    return f"{when:%Y-%m-%d %H:%M} UTC"


def _table(places: Sequence[tuple[str, int, int, int]]) -> str:
    """Return a Markdown table, aligned for a terminal."""
    if not places:
        return ""
    names = [name for name, *_ in places]
    rows = [HEADER, *(_cells(*each) for each in places if not _has_partitions(each[0], names))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADER))]
    lines = ["| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in rows]
    return "\n".join([lines[0], "| " + " | ".join("-" * width for width in widths) + " |", *lines[1:]])


def _has_partitions(place: str, places: Sequence[str]) -> bool:
    """Tell whether rows of a table were removed from its partitions, which are places of their own."""
    return any(re.fullmatch(rf"{re.escape(place)}_\d\w*", each) for each in places)


def _cells(place: str, looked_at: int, rewritten: int, rows: int) -> tuple[str, ...]:
    return (place, str(looked_at), str(rewritten), str(rows) if rows or rewritten else NOTHING)


def _said(versions: Sequence[int], record: Record) -> str:
    if versions:
        return f"versions trained on them: {', '.join(map(str, versions))}; each has the tag trained_on_erased"
    return "no version was trained on them" if record.result == ERASED else ""
