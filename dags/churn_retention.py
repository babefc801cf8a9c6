"""What was kept for long enough is taken away, every day."""

import os
from datetime import datetime

from airflow.sdk import Param, dag, get_current_context, task

from alerts import alert
from run import DEFAULT_ARGS, database_url


@dag(
    schedule="30 2 * * *",
    start_date=datetime(2024, 1, 1),  # noqa: DTZ001 — Airflow reads it as UTC
    catchup=False,
    max_active_runs=1,
    params={
        "predictions_days": Param(
            int(os.environ.get("CHURN_PREDICTIONS_DAYS") or 365),
            type="integer",
            minimum=1,
            maximum=36500,
            title="Predictions: days",
            description=(
                "How long an answer stays in the prediction log, at least; it goes with its month, up to a month "
                "later. Daily runs take the default, which is CHURN_PREDICTIONS_DAYS of Airflow's environment, or 365."
            ),
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
    Takes away what was kept for long enough: a task for each kind of thing, one beside the other.

    **To see what would go**: Trigger with Dry run. The result of each task (its XCom `return_value`) says what.

    **To take away more, once**: Trigger with fewer days. What is gone cannot be brought back. For every run:
    CHURN_PREDICTIONS_DAYS in Airflow's environment.

    **While this DAG is paused** nothing is lost, and nothing goes: predictions of months that it did not make, from
    the third month on, are all written to `predictions.answered_any_month`, from which they are deleted row by row.

    **A task is red**: Postgres was away. Clear it, or leave it to the next day.
    """

    @task(multiple_outputs=False)
    def expire_predictions() -> dict:
        """Drops the months of `predictions.answered` that are old enough, and makes the months that come. A month that
        somebody reads for long is left to the next run, so that nobody who writes has to wait."""
        from churn import retention

        params = get_current_context()["params"]
        return retention.expire_predictions(params["predictions_days"], database_url(), params["dry_run"]).to_json()

    expire_predictions()


churn_retention()
