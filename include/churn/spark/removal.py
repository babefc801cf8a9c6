"""Removal of Parquet snapshots whose snapshot in Postgres was withdrawn or deleted by retention."""

from collections.abc import Collection

from churn.drops.storage import Location, storage_at
from churn.outcome import DONE, UNCHANGED, Outcome
from churn.postgres.database import connect, execute, lock_session
from churn.spark.manifests import SCORED, as_ofs, folder_of, remove
from churn.spark.parquet_snapshots import PARQUET_LOCK


def remove_gone(
    database_url: str, location: Location | None, dry_run: bool = False, *, expiring: Collection[str] = ()
) -> Outcome:
    """Delete the Parquet snapshot of every AS_OF without a snapshot in Postgres, and what a killed scoring left of it.

    Args:
        location: SNAPSHOTS_URL; None: there are none.
        dry_run: delete nothing; report what would be deleted.
        expiring: the dates whose snapshot the same run deletes from Postgres; a dry run of that has not deleted them.
    """
    if location is None:
        return Outcome(UNCHANGED, "SNAPSHOTS_URL is not set: there are no Parquet snapshots")
    storage, gone = storage_at(location), []
    for as_of in sorted({*as_ofs(storage), *as_ofs(storage, SCORED)}):
        with connect(database_url, autocommit=True) as connection:
            # A task that is writing it checks Postgres before it publishes.
            lock_session(connection, PARQUET_LOCK, as_of.isoformat())
            is_gone = execute(connection, "snapshots/current_build", {"as_of": as_of}).fetchone() is None
            if is_gone or (dry_run and as_of.isoformat() in expiring):
                gone.append(as_of.isoformat())
                if not dry_run:
                    remove(storage, as_of)
                    storage.delete_folder(f"{SCORED}/{folder_of(as_of)}")
    what = f"the Parquet snapshots of {len(gone)} dates"
    if dry_run:
        return Outcome(UNCHANGED, f"would remove {what}", {"dates": gone})
    return Outcome(DONE if gone else UNCHANGED, f"removed {what}", {"dates": gone})
