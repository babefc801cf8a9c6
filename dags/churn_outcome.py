"""scores + labels → was the list right? An alert when a version no longer keeps its promise."""

from airflow.sdk import PartitionedAssetTimetable, dag, get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException

from alerts import alert, tell
from assets import churn_outcomes, churn_scores
from run import AS_OF_PARAM, DEFAULT_ARGS, OUTCOME_FIRST, current_as_of, database_url


@dag(
    schedule=PartitionedAssetTimetable(assets=churn_scores),
    params={"as_of": AS_OF_PARAM},
    default_args=DEFAULT_ARGS | {"priority_weight": OUTCOME_FIRST},
    on_failure_callback=alert,
    tags=["churn"],
)
def churn_outcome():
    """
    Holds scores against the labels that came: rows of `outcomes.performance` (view `outcomes.current`). The page
    Health, `make status` and `make doctor` show them. Its asset is `churn_outcomes`.

    It runs when `churn_score` of an AS_OF has written a list. It judges every date whose labels the drop of this AS_OF
    brought or changed: the list of that date, the version that was answering when the labels came, and the prediction
    log. Only rows count that the version had not learned from (docs/outcomes.md).

    **Outcomes**: DONE is a new revision of each judged date; earlier ones are kept. UNCHANGED: the same labels, list,
    versions and code.

    **`judge` skipped**: the drop brought no new label, or nothing was scored for the dates of its labels.

    **An alert says that a version is worse than promised, or no better than chance**: it is sent once for each change
    of the verdict. `make status` shows the verdict on the version in Production until a better version is there.

    **`expect`** estimates AUC, Brier score and churn rate of the list before its labels come: rows of
    `outcomes.expected`. It is skipped where the version was graded on this date, so that labels are there.

    **`judge`, `expect` or `alert_changes` is red**: Postgres or MLflow was unavailable. Clear the task.
    """

    @task(multiple_outputs=False, pool="churn_scoring", queue="training", outlets=[churn_outcomes])
    def judge() -> dict:
        """Judges the dates whose labels came or changed."""
        from churn.outcomes.judgement_step import NothingToJudge, judge_outcomes

        as_of = current_as_of()
        try:
            outcome = judge_outcomes(as_of, database_url())
        except NothingToJudge as error:
            raise AirflowSkipException(f"nothing to judge: {error}") from error
        get_current_context()["outlet_events"][churn_outcomes].add_partitions(as_of.isoformat())
        return outcome.to_json()

    @task(multiple_outputs=False, pool="churn_scoring")
    def alert_changes() -> list[str]:
        """Sends an alert for each version whose verdict changed."""
        from mlflow import MlflowClient

        from churn.outcomes.alarms import find_changes, record_alert
        from churn.registry import client as registry

        changes = find_changes(database_url(), registry.production(MlflowClient()))
        for change in changes:
            tell(change.title, change.text)
            record_alert(database_url(), change)
        return [change.title for change in changes]

    @task(multiple_outputs=False, pool="churn_scoring", queue="training")
    def expect() -> dict:
        """Estimates what the list will achieve, before its labels come."""
        from churn.outcomes.expectation_step import NothingToExpect, expect_performance

        try:
            return expect_performance(current_as_of(), database_url()).to_json()
        except NothingToExpect as error:
            raise AirflowSkipException(f"nothing to expect: {error}") from error

    judge() >> alert_changes()
    expect()


churn_outcome()
