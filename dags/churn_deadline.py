"""Tells, once a day, which AS_OFs have no decision in time."""

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
                "Also tell when the newest drop is of a date longer ago than so many days: 1 where drops come daily, "
                "31 where they come monthly. Left empty, nobody promised any. Scheduled runs take the default, which "
                "is CHURN_DROP_EVERY_DAYS of Airflow's environment."
            ),
        ),
    },
    default_args=DEFAULT_ARGS,
    on_failure_callback=alert,
    tags=["churn"],
)
def churn_deadline():
    """
    Looks, at 06:00 UTC or when CHURN_DEADLINE of Airflow's environment says (a cron expression), whether every drop
    received between a week and two hours before has a decision of the gate, and is red where one has none.

    Airflow's own deadline alerts are about runs. A drop that is missing, or for which nothing was started, has no run;
    and the runs of the chain have no logical date, without which an alert is left out silently (Airflow 3.3, #71750).

    **A task is red**: its log names each AS_OF, how far it has come, and where to look; so does the alert, as far as
    its length goes, some forty dates. A drop that may not be read (*unreadable*) needs its rights mended, as by
    `chmod -R a+rX`, and is picked up then. A run that is under way will get there; otherwise trigger `churn_snapshot`
    with the AS_OF: what is done is not done again. Where the error is another one, Postgres was away: clear the task.

    **Nothing is promised of missing drops** unless the parameter says how often they come: a date without a drop has
    no snapshot, and no decision.
    """

    @task(multiple_outputs=False)
    def check_deadline() -> dict:
        """Compares the drops of the last week with the decisions. Fails at once, without a retry, where one is missing:
        that is the alert."""
        from churn.operations.deadline import DeadlineMissed, check_deadline
        from churn.settings import SettingMissing, read_settings

        every = get_current_context()["params"]["drop_every_days"]
        with no_retry(DeadlineMissed, SettingMissing):
            return check_deadline(read_settings().landing, database_url(), every_days=every).to_json()

    check_deadline()


churn_deadline()
