"""landing/<AS_OF>/*.csv → raw → snapshots."""

from datetime import datetime

from airflow.sdk import CronPartitionTimetable, dag, get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException

from alerts import alert
from assets import churn_snapshots
from run import AS_OF_PARAM, DEFAULT_ARGS, JOINS_BY_SPARK, current_as_of, database_url, is_retry, no_retry


@dag(
    schedule=CronPartitionTimetable("0 0 * * *", timezone="UTC", key_format="%Y-%m-%d", run_offset=-1),
    start_date=datetime(2024, 1, 1),  # noqa: DTZ001 — Airflow reads it in the timetable's zone, UTC
    catchup=False,
    max_active_runs=1,
    params={"as_of": AS_OF_PARAM},
    default_args=DEFAULT_ARGS,
    on_failure_callback=alert,
    tags=["churn"],
)
def churn_snapshot():
    """
    Builds the snapshots of an AS_OF from its drop, daily for the day before. Its asset `churn_snapshots` starts
    `churn_materialize`, which starts `churn_train`.

    **To run it**: Trigger, and pick the AS_OF. Runs are idempotent: a corrected drop replaces the old one, and a chain
    that failed downstream resumes.

    **All tasks skipped**: there is no drop for that date; the log of `validate` names the path. `churn_landing` picks
    up a late drop.

    **`validate` is red**: the drop violates its contract, and nothing was loaded. The log names file, line, column,
    value and rule. Put a corrected drop into the landing directory; `churn_landing` picks it up.
    With DropHeld, the drop obeys the contract but differs from the nearest earlier one: other ids, another unit, other
    texts, a constant column, or the same files again. Have it corrected, or write a file `_ACCEPT` with the reason into
    its directory; `churn_landing` picks up both. A hold alerts once; later runs of the same drop skip.
    With KeyMissing, customers were erased, and the file `key` is not in CHURN_ERASURE_DIR. Put it back and clear the
    task (`docs/erasure.md`).

    **`load` or `snapshot` is red**: Postgres was unavailable or is full. Each is one transaction, so the previous data
    is intact. Clear the task. If the log says that the archive lacks a file or that the drop changed, clear `validate`
    instead. If none of a date's labels or actions matches, their ids differ from that date's drop: have the file
    corrected. `churn_landing` does not restart a failed run.

    **`parquet` is red** (CHURN_OFFLINE=spark): Spark, Postgres or the storage of ARCHIVE_DIR or SNAPSHOTS_URL was
    unavailable; the previous Parquet snapshot is intact. Clear the task. With SparkMissing, pyspark or Java is not
    installed on the worker. With SnapshotDiffers, clear `snapshot`.

    **`supersede` is red**: MLflow or Postgres was unavailable. The chain does not wait for it. Clear the task, or wait
    for the next run, which checks every version.
    """

    @task(multiple_outputs=False)
    def validate() -> dict:
        """Checks the drop against its contract, compares it with the nearest earlier one, and archives it. Skips if
        there is no drop, or if it is held and was alerted before. A rejected or held drop is not retried."""
        from churn.drops.landing import find_drop
        from churn.drops.validation import DropHeld, DropRejected, validate
        from churn.settings import read_settings

        as_of = current_as_of()
        with no_retry(DropHeld, DropRejected):
            settings = read_settings()
            drop = find_drop(settings.landing, as_of)
            if drop is None:
                raise AirflowSkipException(f"nothing to do: there is no drop {settings.landing / as_of.isoformat()}")
            try:
                return validate(drop, database_url(), settings.archive).to_json()
            except DropHeld as held:
                # A killed try may have recorded the hold without an alert.
                if held.told_before and not is_retry():
                    raise AirflowSkipException(str(held)) from held
                raise

    @task(multiple_outputs=False)
    def load(accepted: dict) -> dict:
        """Loads the drop from the archive into raw.* as one revision of its AS_OF, in one transaction. Returns for each
        date how many labels and actions came, matched a customer, changed or wait for a snapshot. UNCHANGED if loaded.
        """
        from churn.drops.accepted import AcceptedDrop
        from churn.drops.archive import ArchiveError
        from churn.drops.loading import StaleDrop, load
        from churn.drops.validation import DropRejected
        from churn.settings import read_settings

        with no_retry(ArchiveError, DropRejected, StaleDrop):
            return load(AcceptedDrop.from_json(accepted), database_url(), read_settings().archive).to_json()

    # The last of the tasks that the chain waits for emits the asset event.
    emitted_by_snapshot = [] if JOINS_BY_SPARK else [churn_snapshots]

    @task(multiple_outputs=False, outlets=emitted_by_snapshot)
    def snapshot() -> dict:
        """Builds the rows by (user_id, as_of) that Feast reads, in one transaction. Always emits the asset event, also
        when UNCHANGED, so that a chain that failed downstream resumes. With CHURN_OFFLINE=spark, `parquet` emits it."""
        from churn.drops.snapshots import NotLoaded, build_snapshots

        as_of = current_as_of()
        with no_retry(NotLoaded):
            outcome = build_snapshots(as_of, database_url())
        if not JOINS_BY_SPARK:
            _emit(as_of)
        return outcome.to_json()

    @task(multiple_outputs=False, queue="spark", outlets=[churn_snapshots])
    def parquet() -> dict:
        """Writes the same rows as Parquet by Spark, from the archive. Emits the asset event, also when UNCHANGED."""
        from churn.drops.archive import ArchiveError
        from churn.settings import read_settings, required_snapshots_url
        from churn.spark.parquet_snapshots import SnapshotMissing, write_parquet

        as_of = current_as_of()
        with no_retry(ArchiveError, SnapshotMissing):
            outcome = write_parquet(as_of, database_url(), read_settings().archive, required_snapshots_url())
        _emit(as_of)
        return outcome.to_json()

    @task(multiple_outputs=False)
    def supersede() -> dict:
        """Tags model versions `superseded` if their drops were corrected, or late ones arrived, after training. The tag
        says what changed and which date to run again. Stages and decisions do not change."""
        from churn.training.superseded import mark_superseded

        return mark_superseded(database_url()).to_json()

    built = load(validate()) >> snapshot()
    (built >> parquet() if JOINS_BY_SPARK else built) >> supersede()


def _emit(as_of):
    get_current_context()["outlet_events"][churn_snapshots].add_partitions(as_of.isoformat())


churn_snapshot()
