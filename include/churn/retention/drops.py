"""Retention of drops: deletes the rows of raw.* and snapshots.* of expired dates.

Each date is deleted in one transaction and recorded (`expired_at`). churn_landing does not reload an expired drop,
versions are not superseded by it, and a training that needs it is refused. Running the date again restores it while its
drop is in the landing directory. A date that a chain used in the last two days is kept.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from psycopg import sql

from churn.as_of import event_timestamp
from churn.drops.contract import FILES
from churn.drops.snapshots import DELIVERED_TABLES, FEATURE_TABLES
from churn.features.builds import builds_of
from churn.outcome import DONE, UNCHANGED, Outcome
from churn.postgres.database import Connection, connect, execute, lock, one
from churn.training.sources import LABELLED_DATES, sources_of

Column = tuple[str, Callable[[date], Any]]
"""The column that a table is partitioned by, and its value for an AS_OF."""

AS_OF: Column = ("as_of", lambda as_of: as_of)
DROP_AS_OF: Column = ("drop_as_of", lambda as_of: as_of)
EVENT_TIMESTAMP: Column = ("event_timestamp", event_timestamp)


@dataclass(frozen=True)
class _Kind:
    """A kind of data: the tables of a schema, the statement that finds expired dates, and the one that marks a date."""

    name: str
    schema: str
    tables: Mapping[str, Column]
    find: str
    mark: str


RAW = _Kind(
    "drops", "raw", {file.table: AS_OF for file in FILES}, "retention/expired_drops", "retention/mark_drop"
)  # fmt: skip
SNAPSHOTS = _Kind(
    "snapshots",
    "snapshots",
    {**dict.fromkeys(FEATURE_TABLES, EVENT_TIMESTAMP), **dict.fromkeys(DELIVERED_TABLES, DROP_AS_OF)},
    "retention/expired_snapshots",
    "retention/mark_snapshot",
)


def expire_raw(days: int | None, database_url: str, dry_run: bool = False) -> Outcome:
    """Delete from raw.* the dates more than `days` before today (UTC); see expire_snapshots()."""
    return _expire(RAW, days, database_url, dry_run)


def expire_snapshots(days: int | None, database_url: str, dry_run: bool = False) -> Outcome:
    """Delete from snapshots.* the dates more than `days` before today (UTC).

    The dates that a training at the newest AS_OF reads, newer dates and the served AS_OF are kept. Nothing is deleted
    while there are fewer labelled dates than a training set has, because labels may still arrive for any date.

    Args:
        days: 1 or more; None keeps everything.
        dry_run: delete nothing; report what would be deleted.

    Raises:
        ValueError: `days` is less than 1.
    """
    return _expire(SNAPSHOTS, days, database_url, dry_run)


def _expire(kind: _Kind, days: int | None, database_url: str, dry_run: bool) -> Outcome:
    if days is None:
        return Outcome(UNCHANGED, f"{kind.name} are kept for ever: no number of days is set")
    if days < 1:
        raise ValueError(f"{kind.name} can be kept for 1 day or more, not for {days}")
    with connect(database_url, autocommit=True) as connection:
        before = _before(connection, days)
        dates = [as_of for (as_of,) in execute(connection, kind.find, {"before": before})] if before else []
        gone = {as_of: found for as_of in dates if (found := _remove(connection, kind, as_of, dry_run))}
    rows, size = (sum(figures) for figures in zip(*gone.values(), strict=True)) if gone else (0, 0)
    figures = {
        "before": before.isoformat() if before else None,
        "dates": [as_of.isoformat() for as_of in gone],
        "rows": rows,
        "bytes": size,
    }
    what = f"the {kind.name} of {len(gone)} dates" + (f" before {before}" if before else "") + f", {rows} rows"
    if dry_run:
        return Outcome(UNCHANGED, f"would remove {what}", figures)
    return Outcome(DONE if gone else UNCHANGED, f"removed {what}", figures)


def _before(connection: Connection, days: int) -> date | None:
    """Return the oldest date to keep, None to keep everything."""
    today, newest = one(connection, "retention/today"), one(connection, "retention/newest")
    if newest[1] is None:
        return None
    trained_on = sources_of(connection, [newest[1]])[newest[1]]
    if len(trained_on.dates) < LABELLED_DATES:
        return None
    if served := builds_of(connection).served():
        newest = (*newest, served.as_of)
    return min(today[0] - timedelta(days=days), *trained_on.drops, *filter(None, newest))


def _remove(connection: Connection, kind: _Kind, as_of: date, dry_run: bool) -> tuple[int, int] | None:
    """Delete a date and return its rows and bytes; None if another process has just deleted it."""
    with connection.transaction():
        lock(connection, "as_of", as_of.isoformat())
        if (as_of,) not in execute(connection, kind.find, {"before": as_of + timedelta(days=1)}).fetchall():
            return None
        rows = size = 0
        for table, (column, value_of) in kind.tables.items():
            where = {"value": value_of(as_of)}
            names = {"table": sql.Identifier(kind.schema, table), "column": sql.Identifier(column)}
            found = one(connection, "retention/measure", where, **names)
            rows, size = rows + found[0], size + found[1]
            if not dry_run:
                execute(connection, "retention/delete", where, **names)
        if not dry_run:
            execute(connection, kind.mark, {"as_of": as_of})
    return rows, size
