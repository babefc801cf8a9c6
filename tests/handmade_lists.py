"""Lists written without a model, for tests of their life after: every customer has the same score."""

from datetime import date

from churn.drops.storage import Location, storage_at
from churn.postgres.database import connect, execute
from churn.scores import scoring_step
from churn.scores.files import publish
from churn.scores.run import Run


def write_list(database_url: str, files: Location, as_of: date, version: int = 1, *, is_killed: bool = False) -> Run:
    """Write the next revision of the list of a snapshot, as score_customers() does.

    Args:
        is_killed: the run ends before it publishes its files.
    """
    storage = storage_at(files)
    with storage.incoming() as directory, connect(database_url, autocommit=True) as connection:
        execute(connection, "scores/create_staging")
        connection.execute(
            "INSERT INTO scored SELECT user_id, 0.25, monthly_fee, 'treat' FROM raw.subscriptions WHERE as_of = %s",
            [as_of],
        )
        snapshot = execute(connection, "scores/snapshot", {"as_of": as_of}).fetchone()
        assert snapshot is not None
        identity = {
            "model_version": version,
            "model_run_id": "run",
            "model_as_of": as_of,
            "feature_service": "churn_v1",
            "threshold": 0.5,
            "control_share": 0.1,
            "snapshot_digest": snapshot[0],
            "code_digest": "code",
            "rows": snapshot[1],
        }
        run = scoring_step._write(connection, as_of, identity, directory, database_url)
        if not is_killed:
            publish(storage, run, directory)
    return run


def days_pass(database_url: str, days: int = 3) -> None:
    """Make every list so many days older."""
    with connect(database_url) as connection:
        connection.execute("UPDATE scores.runs SET scored_at = scored_at - make_interval(days => %s)", [days])
