"""Retention of the prediction log: drops monthly partitions without blocking writers."""

import logging

from psycopg import sql
from psycopg.errors import LockNotAvailable

from churn.outcome import DONE, UNCHANGED, Outcome
from churn.postgres.database import Connection, connect, execute, one

log = logging.getLogger(__name__)


def expire_predictions(days: int, database_url: str, dry_run: bool = False) -> Outcome:
    """Drop the monthly partitions whose predictions are all older than `days`, and create the next partitions.

    A prediction is kept for at most a month longer than `days`. Rows in the default partition are deleted one by one.

    Args:
        days: 1 or more, of 24 hours, counted back from now.
        dry_run: delete nothing; report what would be deleted.

    Raises:
        ValueError: `days` is less than 1.
    """
    if days < 1:
        raise ValueError(f"predictions can be kept for 1 day or more, not for {days}")
    with connect(database_url, autocommit=True) as connection:
        limit = one(connection, "retention/limit", {"days": days})[0]
        old = {"limit": limit}
        expired: dict[str, int] = dict(execute(connection, "retention/expired_months", old).fetchall())
        if dry_run:
            others, busy = one(connection, "retention/count_other_answers", old)[0], []
        else:
            others = execute(connection, "retention/delete_other_answers", old).rowcount
            busy = [month for month in expired if not _drop(connection, month)]
            if not _at_once(connection, "retention/make_months"):
                log.warning("a long read locks the prediction log; the next run creates the next partitions")
    gone = [month for month in expired if month not in busy]
    figures = {
        "kept_since": limit.isoformat(timespec="seconds"),
        "months": gone,
        "bytes": sum(expired[month] for month in gone),
        "others": others,
        "busy": busy,
    }
    what = f"{len(gone)} months of answers and {others} others from before {limit:%Y-%m-%d}"
    if dry_run:
        return Outcome(UNCHANGED, f"would drop {what}", figures)
    left = f"; {len(busy)} more are read for long: the next run drops them" if busy else ""
    return Outcome(DONE if gone or others else UNCHANGED, f"dropped {what}{left}", figures)


def _drop(connection: Connection, month: str) -> bool:
    return _at_once(connection, "retention/drop_month", month=sql.Identifier("predictions", month))


def _at_once(connection: Connection, name: str, **identifiers: sql.Composable) -> bool:
    """Run a statement that needs an exclusive lock; return False on a lock timeout, so that writers do not queue behind
    it."""
    try:
        with connection.transaction():
            execute(connection, "online/limit_waiting")
            execute(connection, name, None, **identifiers)
    except LockNotAvailable:
        return False
    return True
