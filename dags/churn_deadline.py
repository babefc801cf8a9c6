"""Alerts once a day about AS_OFs without a decision, a list or a judgement in time, about a version in Production
that should have been replaced, and about requests to erase customers that do not end."""

import os
from datetime import datetime

from airflow.sdk import Param, dag, get_current_context, task

from alerts import alert
from run import DEFAULT_ARGS, database_url, no_retry


@dag(
    schedule=os.environ.get("CHURN_DEADLINE") or "0 6 * * *",
    start_date=datetime(2024, 1, 1),  # noqa: DTZ001 — Airflow reads it as UTC
    catchup=False,
    max_active_runs=1,
    params={
        "drop_every_days": Param(
            int(os.environ.get("CHURN_DROP_EVERY_DAYS") or 0) or None,
            type=["null", "integer"],
            minimum=1,
            title="A drop every … days",
            description=(
                "Also fail when the newest drop is older than this: 1 for daily drops, 31 for monthly ones. Left "
                "empty, missing drops are not checked. Scheduled runs use the default, CHURN_DROP_EVERY_DAYS in "
                "Airflow's environment."
            ),
        ),
    },
    default_args=DEFAULT_ARGS,
    on_failure_callback=alert,
    tags=["churn"],
)
def churn_deadline():
    """
    Checks that every drop received between one week and two hours ago has a decision of the gate and a list of scores,
    and that the labels it brought of dates with a list are judged; fails otherwise. A date that no version may score
    needs no list, nor does one whose list retention deleted.
    It also fails if the version in Production learned from customers who were erased more than 30 days ago
    (CHURN_REPLACE_DAYS in Airflow's environment overrides this), or if a request to erase customers has not ended
    after seven days.
    Runs at 06:00 UTC; CHURN_DEADLINE in Airflow's environment (a cron expression) overrides this.

    Airflow's own deadline alerts watch runs. A missing drop has no run, and Airflow 3.3 skips deadline alerts for runs
    without a logical date, such as those of the chain (#71750).

    **A task is red**: its log names each AS_OF, its last finished step and where to look. The alert repeats about the
    first forty. For an *unreadable* drop, fix the permissions, for example with `chmod -R a+rX`. If a run is under way,
    wait for it. Otherwise trigger `churn_snapshot` with the AS_OF; finished steps are not repeated. Any other error
    means that Postgres was unavailable: clear the task.

    **A version should have been replaced**: run the newest AS_OF again. Its training reads no row of the erased
    customers, and the gate decides on the new version. If the gate keeps the version in Production, put the new one
    there with `make rollback VERSION=n`, then `make release`. The alert repeats until another version is in Production.

    **A request to erase customers has not ended**: the law gives a month, so do not wait. Clear the red task of its run
    of `churn_erase`; if that is `approve`, have another user answer. If the file of ids is gone, run `make erase` with
    the same customers, then end the old request as `docs/erasure.md` says. The alert repeats until it has ended.

    **Missing drops** are checked only if the parameter says how often drops come. A date without a drop has no snapshot
    and no decision.
    """

    @task(multiple_outputs=False)
    def check_deadline() -> dict:
        """Compares the drops of the last week with the decisions and the lists, and the version in Production with the
        erasures. Fails without a retry if one is missing, if that version should have been replaced, or if a request
        to erase customers should have ended."""
        from churn.operations.deadline import DeadlineMissed, check_deadline
        from churn.settings import read_settings

        every = get_current_context()["params"]["drop_every_days"]
        with no_retry(DeadlineMissed):
            return check_deadline(read_settings().landing, database_url(), every_days=every).to_json()

    check_deadline()


churn_deadline()
