"""landing/<AS_OF>/*.csv → raw → snapshots."""

from datetime import datetime

from airflow.sdk import CronPartitionTimetable, dag, get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException

from alerts import alert
from assets import churn_snapshots
from run import AS_OF_PARAM, DEFAULT_ARGS, current_as_of, database_url, no_retry


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
    Turns the drop of an AS_OF into its snapshots, daily for the day before. Its asset `churn_snapshots` starts
    `churn_materialize`, which starts `churn_train`.

    **To run it**: Trigger, and pick the AS_OF. Running a date again is always safe: nothing is done twice, a
    corrected drop replaces the old one, and a chain that broke further down goes on.

    **All tasks skipped**: there is no drop for that date; the log of `validate` says where it was looked for. A drop
    that comes late is picked up by `churn_landing`, no person needed.

    **`validate` is red**: the drop breaks its contract, and nothing of it was loaded. Its log names file, line, column,
    value and rule. Have the drop corrected and put into the landing directory again: `churn_landing` sees the change.
    Where the error is DropHeld, the drop obeys the contract and is unlike the nearest earlier one: other ids, another
    unit, other texts, a constant column, or the same files again. Have it corrected, or write why it is right into a
    file `_ACCEPT` in its directory: `churn_landing` sees either. A hold alerts once; later runs of the same drop skip.

    **`load` or `snapshot` is red**: the database was away, or is full. Each is one transaction: what was there before
    is still there. Clear the task to run it again. Where the log says that the archive lacks a file or that the drop
    changed since, clear `validate` instead. Where it says that none of a date's labels matches, their ids are written
    otherwise than in the drop of that date: have `labels.csv` corrected. `churn_landing` does not start a failed run
    again.

    **`supersede` is red**: MLflow or the database was away. The chain went on without it; clear the task, or leave it
    to the next run: each looks at every version.
    """

    @task(multiple_outputs=False)
    def validate() -> dict:
        """Checks the whole drop against its contract, compares it with the nearest earlier one, and archives it. Skips
        when there is no drop, and when the drop is held and was alerted before. A drop that is rejected or held is not
        retried: the result would be the same."""
        from churn.drops.landing import find_drop
        from churn.drops.validation import DropHeld, DropRejected, validate
        from churn.settings import SettingMissing, read_settings

        as_of = current_as_of()
        with no_retry(DropHeld, DropRejected, SettingMissing):
            settings = read_settings()
            drop = find_drop(settings.landing, as_of)
            if drop is None:
                raise AirflowSkipException(f"nothing to do: there is no drop {settings.landing / as_of.isoformat()}")
            try:
                return validate(drop, database_url(), settings.archive).to_json()
            except DropHeld as held:
                # A try that was killed may have recorded the hold and alerted nobody.
                if held.told_before and get_current_context()["ti"].try_number == 1:
                    raise AirflowSkipException(str(held)) from held
                raise

    @task(multiple_outputs=False)
    def load(accepted: dict) -> dict:
        """Loads the drop from the archive into raw.*, as one revision of its AS_OF, in one transaction. Returns per
        labelled date how many labels came, matched a customer and changed, or wait for a snapshot. The drop that is
        loaded already: UNCHANGED."""
        from churn.drops.archive import ArchiveError
        from churn.drops.loading import StaleDrop, load
        from churn.drops.validation import AcceptedDrop, DropRejected
        from churn.settings import read_settings

        with no_retry(ArchiveError, DropRejected, StaleDrop):
            return load(AcceptedDrop.from_json(accepted), database_url(), read_settings().archive).to_json()

    @task(multiple_outputs=False, outlets=[churn_snapshots])
    def snapshot() -> dict:
        """Builds the rows by (user_id, as_of) that Feast reads, in one transaction, and tells `churn_materialize`,
        also when nothing changed: that heals a chain that broke further down."""
        from churn.drops.snapshots import NotLoaded, build_snapshots

        as_of = current_as_of()
        with no_retry(NotLoaded):
            outcome = build_snapshots(as_of, database_url())
        get_current_context()["outlet_events"][churn_snapshots].add_partitions(as_of.isoformat())
        return outcome.to_json()

    @task(multiple_outputs=False)
    def supersede() -> dict:
        """Tags model versions `superseded` whose drops were corrected, or joined by late ones, since they were trained;
        the tag says what changed and which date to run again. Moves no stage, rewrites no decision."""
        from churn.training.superseded import mark_superseded

        return mark_superseded(database_url()).to_json()

    load(validate()) >> snapshot() >> supersede()


churn_snapshot()
