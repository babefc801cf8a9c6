"""scores + labels → was the list right? An alert when a version no longer keeps its promise."""

from airflow.sdk import PartitionedAssetTimetable, dag, get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException

from alerts import alert, alert_verdicts, tell
from assets import churn_outcomes, churn_scores
from churn.outcome import DONE
from run import AS_OF_PARAM, DEFAULT_ARGS, HEAVY_JOINS, OUTCOME_FIRST, current_as_of, database_url, is_retry, no_retry


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

    **`drift`** compares each column with what the version was trained on and with an earlier AS_OF: rows of
    `drift.columns` (docs/drift.md). It never holds a drop.

    **`judge`, `expect`, `drift` or `alert_changes` is red**: Postgres or MLflow was unavailable, or a snapshot changed
    while `drift` read it. Clear the task.
    """

    @task(multiple_outputs=False, pool="churn_scoring", outlets=[churn_outcomes], **HEAVY_JOINS)
    def judge() -> dict:
        """Judges the dates whose labels came or changed."""
        from churn.outcomes.judgement_step import NothingToJudge, judge_outcomes

        as_of = current_as_of()
        try:
            with no_retry():
                outcome = judge_outcomes(as_of, database_url())
        except NothingToJudge as error:
            raise AirflowSkipException(f"nothing to judge: {error}") from error
        get_current_context()["outlet_events"][churn_outcomes].add_partitions(as_of.isoformat())
        return outcome.to_json()

    # Also where there was nothing to judge: an alert that could not be sent before, or after a withdrawal, goes out.
    @task(multiple_outputs=False, pool="churn_scoring", trigger_rule="none_failed")
    def alert_changes() -> list[str]:
        """Sends an alert for each version whose verdict changed."""
        return alert_verdicts(database_url())

    @task(multiple_outputs=False, pool="churn_scoring", queue="training")
    def expect() -> dict:
        """Estimates what the list will achieve, before its labels come."""
        from churn.outcomes.expectation_step import NothingToExpect, expect_performance

        try:
            return expect_performance(current_as_of(), database_url()).to_json()
        except NothingToExpect as error:
            raise AirflowSkipException(f"nothing to expect: {error}") from error

    @task(multiple_outputs=False, pool="churn_scoring", queue="training")
    def drift() -> dict:
        """Compares the features and scores of the AS_OF with its references. Sends an alert where a column begins to
        drift."""
        from churn.drift.step import NothingToCompare, compare_columns

        try:
            outcome = compare_columns(current_as_of(), database_url())
        except NothingToCompare as error:
            raise AirflowSkipException(f"nothing to compare: {error}") from error
        if outcome.outcome == DONE or is_retry():
            _alert_of_drift()
        return outcome.to_json()

    judge() >> alert_changes()
    expect()
    drift()


def _alert_of_drift() -> None:
    from churn.drift.findings import alert_of
    from churn.postgres.database import connect

    with connect(database_url()) as connection:
        begun = alert_of(connection, current_as_of())
    if begun:
        tell(begun.title, begun.body)


churn_outcome()
