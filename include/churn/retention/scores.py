"""Retention of lists: drops the partitions of expired dates, and deletes their files.

The rows of scores.runs are kept, marked as expired. Each revision is deleted in one transaction, the files after the
commits: files that a killed run left behind are deleted by the next one. Running the date again scores it again.
"""

from dataclasses import dataclass, field
from datetime import date, timedelta

from psycopg.errors import LockNotAvailable
from psycopg.rows import class_row

from churn.drops.storage import Location, storage_at
from churn.outcome import DONE, UNCHANGED, Outcome
from churn.postgres.database import Connection, compose, connect, execute, lock_session, one, try_lock_session
from churn.retention import RETENTION_LOCK
from churn.scores.files import MANIFEST, folder_of
from churn.scores.run import Run, runs_of


@dataclass
class _Gone:
    """What was deleted: the revisions, the bytes of their tables, and the dates that are left to the next run."""

    runs: list[Run] = field(default_factory=list)
    bytes: int = 0
    busy: list[date] = field(default_factory=list)


def expire_scores(days: int | None, database_url: str, location: Location, dry_run: bool = False) -> Outcome:
    """Delete rows and files of the lists of dates more than `days` before today (UTC).

    The newest list, and dates that were scored in the last two days, are kept. A date that is being scored, or whose
    list is read for long, is left to the next run.

    Args:
        days: 1 or more; None keeps everything.
        location: where the files are (SCORES_URL).
        dry_run: delete nothing; report what would be deleted.

    Raises:
        ValueError: `days` is less than 1.
    """
    if days is None:
        return Outcome(UNCHANGED, "lists are kept for ever: no number of days is set")
    if days < 1:
        raise ValueError(f"lists can be kept for 1 day or more, not for {days}")
    gone = _Gone()
    with connect(database_url, autocommit=True) as connection:
        # Not during a backup, which copies the files of the rows that it dumped.
        lock_session(connection, RETENTION_LOCK)
        before = one(connection, "retention/today")[0] - timedelta(days=days)
        for as_of in _expired_dates(connection, before):
            _expire_date(database_url, as_of, before, dry_run, gone)
        files, of_files = _delete_files(connection, location, gone.runs, dry_run)
    figures = {
        "before": before.isoformat(),
        "dates": sorted({run.as_of.isoformat() for run in gone.runs}),
        "revisions": len(gone.runs),
        "rows": sum(run.rows for run in gone.runs),
        "files": files,
        "bytes": gone.bytes + of_files,
        "busy": [as_of.isoformat() for as_of in gone.busy],
    }
    what = f"the lists of {len(figures['dates'])} dates before {before}, {figures['rows']} rows and {files} files"
    left = f"; {len(gone.busy)} more are in use: the next run removes them" if gone.busy else ""
    if dry_run:
        return Outcome(UNCHANGED, f"would remove {what}{left}", figures)
    return Outcome(DONE if gone.runs or files else UNCHANGED, f"removed {what}{left}", figures)


def _expired_dates(connection: Connection, before: date) -> list[date]:
    return [as_of for (as_of,) in execute(connection, "retention/expired_scores", {"before": before})]


def _expire_date(database_url: str, as_of: date, before: date, dry_run: bool, gone: _Gone) -> None:
    # A connection of its own, since closing it releases the lock.
    with connect(database_url, autocommit=True) as connection:
        if not try_lock_session(connection, "scores", as_of.isoformat()):
            gone.busy.append(as_of)
            return
        if as_of not in _expired_dates(connection, before):
            return  # it was scored meanwhile
        # The newest revision goes last: without it, an earlier one would be the current list.
        for run in runs_of(connection, as_of):
            if run.expired_at:
                continue
            table = {"table": run.partition.as_string(connection)}
            size = one(connection, "retention/size_of_scores", table)[0]
            if not dry_run and not _drop(connection, run):
                gone.busy.append(as_of)
                return
            gone.runs.append(run)
            gone.bytes += size or 0


def _drop(connection: Connection, run: Run) -> bool:
    """Drop the partition of a revision; return False if that would make readers of other lists wait."""
    try:
        with connection.transaction():
            execute(connection, "online/limit_waiting")
            execute(connection, "retention/drop_scores", table=run.partition)
            execute(connection, "retention/mark_scores", {"as_of": run.as_of, "revision": run.revision})
    except LockNotAvailable:
        return False
    return True


def _delete_files(connection: Connection, location: Location, gone: list[Run], dry_run: bool) -> tuple[int, int]:
    """Delete the files of every expired revision that are still there; return their number and bytes."""
    storage = storage_at(location)
    with connection.cursor(row_factory=class_row(Run)) as cursor:
        expired = cursor.execute(compose("retention/expired_runs")).fetchall()
    folders = {folder_of(run) for run in [*expired, *gone]}
    sizes = {name: size for name, size in storage.sizes().items() if name.rpartition("/")[0] in folders}
    if not dry_run:
        # The manifest first: a reader who waits for it finds whole files.
        storage.delete(sorted(sizes, key=lambda name: (not name.endswith(MANIFEST), name)))
    return len(sizes), sum(sizes.values())
