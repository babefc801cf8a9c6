"""What was kept for long enough is taken away, every day."""

import os
from datetime import datetime

from airflow.sdk import Param, dag, get_current_context, task

from alerts import alert
from run import DEFAULT_ARGS, database_url, no_retry

LIMITS = {"minimum": 1, "maximum": 36500}


def _days(variable: str, title: str, what: str) -> Param:
    """Return a parameter whose default is that variable of Airflow's environment; without it nothing goes."""
    set_to = os.environ.get(variable)
    return Param(
        int(set_to) if set_to else None,
        type=["null", "integer"],
        title=title,
        description=f"{what} Left empty, nothing goes. Daily runs take the default, which is {variable} of Airflow's "
        "environment.",
        **LIMITS,
    )


@dag(
    schedule="30 2 * * *",
    start_date=datetime(2024, 1, 1),  # noqa: DTZ001 — Airflow reads it as UTC
    catchup=False,
    max_active_runs=1,
    params={
        "predictions_days": Param(
            int(os.environ.get("CHURN_PREDICTIONS_DAYS") or 365),
            type="integer",
            title="Predictions: days",
            description=(
                "How long an answer stays in the prediction log, at least; it goes with its month, up to a month "
                "later. Daily runs take the default, which is CHURN_PREDICTIONS_DAYS of Airflow's environment, or 365."
            ),
            **LIMITS,
        ),
        "raw_days": _days(
            "CHURN_RAW_DAYS", "Drops: days", "Dates that lie further back lose their rows of raw.*; the archive stays."
        ),
        "snapshots_days": _days(
            "CHURN_SNAPSHOTS_DAYS",
            "Snapshots: days",
            "Dates that lie further back lose their snapshots. A training at a date that needs them is refused then.",
        ),
        "versions_days": _days(
            "CHURN_VERSIONS_DAYS", "Model versions: days", "Versions that were registered earlier are removed."
        ),
        "dry_run": Param(
            False,
            type="boolean",
            title="Dry run",
            description="Only say, in the result of each task, what would be taken away.",
        ),
    },
    default_args=DEFAULT_ARGS,
    on_failure_callback=alert,
    tags=["churn"],
)
def churn_retention():
    """
    Takes away what was kept for long enough: a task for each kind of thing, one beside the other. Of drops, snapshots
    and model versions nothing goes unless a number of days is set.

    **To see what would go**: Trigger with Dry run. The result of each task (its XCom `return_value`) says what: the
    dates or versions, rows and bytes, and of a version that is old and stays, why.

    **To take away more, once**: Trigger with fewer days. For every run: the variables in Airflow's environment that
    the parameters name.

    **What stays whatever the days**: drops and snapshots that a training at the newest AS_OF is made of, and newer
    ones; those that a chain worked on in the last two days; what is served; the version in Production or Staging, the
    gate's anchor, what has an alias, what the newest AS_OF trained, the last three that were in Production before, and
    versions that a training returned as UNCHANGED in the last two days, or that a running one may return.
    Decisions, moves, reports and the archive are never removed.

    **To have a date back**: run it again while its drop is in the landing directory; after two days this DAG takes it
    away again. Predictions and model versions cannot be brought back, but for a version that is trained again.

    **While this DAG is paused** nothing is lost, and nothing goes: predictions of months that it did not make, from
    the third month on, are all written to `predictions.answered_any_month`, from which they are deleted row by row.

    **A task is red**: Postgres, MLflow or Redis was away. Clear it, or leave it to the next day: what is half done is
    gone on with.
    """

    @task(multiple_outputs=False)
    def expire_predictions() -> dict:
        """Drops the months of `predictions.answered` that are old enough, and makes the months that come. A month that
        somebody reads for long is left to the next run, so that nobody who writes has to wait."""
        from churn.retention.predictions import expire_predictions

        return _expired(expire_predictions, "predictions_days")

    @task(multiple_outputs=False)
    def expire_raw() -> dict:
        """Removes the rows of old dates from `raw.*`, a date a transaction. The drop counts as loaded all the same."""
        from churn.retention.drops import expire_raw

        return _expired(expire_raw, "raw_days")

    @task(multiple_outputs=False)
    def expire_snapshots() -> dict:
        """Removes the rows of old dates from `snapshots.*`, a date a transaction."""
        from churn.retention.drops import expire_snapshots

        return _expired(expire_snapshots, "snapshots_days")

    @task(multiple_outputs=False)
    def expire_versions() -> dict:
        """Removes old model versions: the entry in the registry, the model, and the large files of the run. Waits while
        a backup is taken, and while Production is moved."""
        from churn.gate.moves import PinUnreadable
        from churn.retention.versions import expire_versions

        with no_retry(PinUnreadable):
            return _expired(expire_versions, "versions_days")

    expire_predictions()
    expire_raw()
    expire_snapshots()
    expire_versions()


def _expired(expire, days: str) -> dict:
    params = get_current_context()["params"]
    return expire(params[days], database_url(), params["dry_run"]).to_json()


churn_retention()
