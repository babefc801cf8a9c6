"""Retention: deletes expired predictions, raw rows, snapshots, model versions and lists, daily."""

import os
from datetime import datetime

from airflow.sdk import Param, dag, get_current_context, task

from alerts import alert
from run import DEFAULT_ARGS, database_url, no_retry

LIMITS = {"minimum": 1, "maximum": 36500}


def _days(variable: str, title: str, what: str) -> Param:
    """Return a parameter whose default is an environment variable of Airflow; without a value nothing is deleted."""
    set_to = os.environ.get(variable)
    return Param(
        int(set_to) if set_to else None,
        type=["null", "integer"],
        title=title,
        description=f"{what} Left empty, nothing is deleted. Daily runs use the default, {variable} in Airflow's "
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
                "Minimum age of a prediction before its monthly partition is dropped, up to a month later. Daily runs "
                "use the default, CHURN_PREDICTIONS_DAYS in Airflow's environment, or 365."
            ),
            **LIMITS,
        ),
        "raw_days": _days(
            "CHURN_RAW_DAYS", "Drops: days", "Deletes the rows of older dates from raw.*; the archive is kept."
        ),
        "snapshots_days": _days(
            "CHURN_SNAPSHOTS_DAYS",
            "Snapshots: days",
            "Deletes the snapshots of older dates. A training that needs one of them is refused.",
        ),
        "versions_days": _days(
            "CHURN_VERSIONS_DAYS", "Model versions: days", "Deletes versions that were registered earlier."
        ),
        "scores_days": _days(
            "CHURN_SCORES_DAYS",
            "Lists: days",
            "Deletes the rows and files of the lists of older dates; the newest list is kept.",
        ),
        "dry_run": Param(
            False,
            type="boolean",
            title="Dry run",
            description="Delete nothing; the result of each task lists what would be deleted.",
        ),
    },
    default_args=DEFAULT_ARGS,
    on_failure_callback=alert,
    tags=["churn"],
)
def churn_retention():
    """
    Deletes expired data, one task for each kind. Drops, snapshots, model versions and lists of scores are kept for ever
    unless a number of days is set.

    **To preview**: Trigger with Dry run. The result of each task (XCom `return_value`) lists the dates or versions,
    rows and bytes, and why an old version is kept.

    **To delete more**: for one run, trigger with fewer days. For every run, set the environment variables that the
    parameters name.

    **Always kept**: drops and snapshots that a training at the newest AS_OF reads, and newer ones; those that a chain
    used in the last two days; the served AS_OF; versions in Production or Staging, the gate's anchor, versions with an
    alias, the newest AS_OF's candidate, the three previous Production versions, and versions that a training returned
    as UNCHANGED in the last two days or may still return; the newest list, and lists of dates that were scored in the
    last two days. Decisions, moves, reports, the archive and the rows of `scores.runs` are never deleted.

    **To restore a date**: run it again while its drop is in the landing directory; after two days this DAG deletes it
    again. Deleted predictions cannot be restored. A deleted model version can only be trained again.

    **While this DAG is paused** nothing is deleted or lost. From the third month on, predictions go to the default
    partition `predictions.answered_any_month`, from which they are later deleted row by row.

    **A task is red**: Postgres, MLflow, Redis or the storage of SCORES_URL was unavailable. Clear the task, or wait for
    the next day: each run resumes.
    """

    @task(multiple_outputs=False)
    def expire_predictions() -> dict:
        """Drops expired monthly partitions of `predictions.answered` and creates the next ones. A partition locked by
        a long read is left to the next run, so that writers do not wait."""
        from churn.retention.predictions import expire_predictions

        return _expired(expire_predictions, "predictions_days")

    @task(multiple_outputs=False)
    def expire_raw() -> dict:
        """Deletes the rows of old dates from `raw.*`, one transaction per date. The drop still counts as loaded."""
        from churn.retention.drops import expire_raw

        return _expired(expire_raw, "raw_days")

    @task(multiple_outputs=False)
    def expire_snapshots() -> dict:
        """Deletes the rows of old dates from `snapshots.*`, one transaction per date."""
        from churn.retention.drops import expire_snapshots

        return _expired(expire_snapshots, "snapshots_days")

    @task(multiple_outputs=False)
    def expire_parquet(expired: dict) -> dict:
        """Deletes the Parquet snapshots of the same dates, where there are any (CHURN_OFFLINE=spark)."""
        from churn.settings import snapshots_url
        from churn.spark.removal import remove_gone

        dry_run = get_current_context()["params"]["dry_run"]
        # Without a number of days expire_snapshots names none.
        expiring = expired.get("dates", [])
        return remove_gone(database_url(), snapshots_url(), dry_run=dry_run, expiring=expiring).to_json()

    @task(multiple_outputs=False)
    def expire_versions() -> dict:
        """Deletes old model versions: registry entry, model and the run's large files. Waits for a running backup or
        move of Production."""
        from churn.gate.moves import PinUnreadable
        from churn.retention.versions import expire_versions

        with no_retry(PinUnreadable):
            return _expired(expire_versions, "versions_days")

    @task(multiple_outputs=False)
    def expire_scores() -> dict:
        """Drops the partitions of old lists and deletes their files. Waits for a running backup; a list that is being
        written or read for long is left to the next run."""
        from functools import partial

        from churn.retention.scores import expire_scores
        from churn.settings import read_score_settings

        with no_retry():
            return _expired(partial(expire_scores, location=read_score_settings().location), "scores_days")

    expire_predictions()
    expire_raw()
    expire_parquet(expire_snapshots())
    expire_versions()
    expire_scores()


def _expired(expire, days: str) -> dict:
    params = get_current_context()["params"]
    return expire(params[days], database_url(), dry_run=params["dry_run"]).to_json()


churn_retention()
