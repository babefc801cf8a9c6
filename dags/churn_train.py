"""Feast's point-in-time join → candidate → MLflow → gate → stage Production."""

from airflow.sdk import PartitionedAssetTimetable, dag, get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException

from assets import churn_online_features, churn_production_model
from run import AS_OF_PARAM, DEFAULT_ARGS, current_as_of, database_url, no_retry


@dag(
    schedule=PartitionedAssetTimetable(assets=churn_online_features),
    params={"as_of": AS_OF_PARAM},
    default_args=DEFAULT_ARGS,
    tags=["churn"],
)
def churn_train():
    """
    Trains a candidate as of a date, and lets the gate decide whether it replaces the version in stage Production.

    **Outcomes**: PROMOTE moves Production. KEEP is a success: the candidate is not better, older, or there is not
    enough evidence; `promote` is skipped. Each decision is a row of `gate.decisions`, an artifact `gate/report.json`
    of the MLflow run, and the tags gate.decision and gate.reason of the version.

    **`train` skipped**: no date up to this AS_OF has labels and a snapshot yet, or too few of them.

    **`gate` is red with INVALID**: the comparison cannot be trusted; its log and the report say which check. Look
    before anything is promoted by hand.

    **A version that you moved to Production by hand stays there**: a candidate of the gate replaces it only when it
    is as new and not worse.

    **To go back**: move an older version to stage Production in the MLflow UI; serving follows within seconds, and
    the gate never brings back by itself what you replaced.
    """

    @task(multiple_outputs=False, pool="churn_training")
    def train() -> dict:
        """Joins the training set, fits the recipe without the gate cohort, logs it to MLflow and registers the
        candidate. Trained before on the same data by the same code: UNCHANGED."""
        from churn.training import NotEnoughToLearn, train
        from churn.training_set import NothingToLearn

        try:
            return train(current_as_of(), database_url()).to_json()
        except (NothingToLearn, NotEnoughToLearn) as error:
            raise AirflowSkipException(f"nothing to do: {error}") from error

    @task(multiple_outputs=False, pool="churn_gate")
    def gate(candidate: dict) -> dict:
        """Compares the candidate with Production on the gate cohort, on which neither has trained, and records the
        decision."""
        from churn.grading import GateInvalid, StaleCandidate, grade

        with no_retry(GateInvalid, StaleCandidate):
            return grade(candidate["version"], database_url()).to_json()

    @task(multiple_outputs=False, pool="churn_gate", outlets=[churn_production_model])
    def promote(decision: dict) -> dict:
        """Moves stage Production on a decision PROMOTE, if it is still where the gate found it. Skips on KEEP."""
        from churn.promotion import KEPT, promote

        if decision["decision"] != "PROMOTE":
            raise AirflowSkipException(f"{decision['decision']}: {decision['reason']}")
        outcome = promote(decision["version"], decision["production_version"], decision["reason"], database_url())
        if outcome.outcome == KEPT:
            raise AirflowSkipException(outcome.reason)
        get_current_context()["outlet_events"][churn_production_model].add_partitions(current_as_of().isoformat())
        return outcome.to_json()

    promote(gate(train()))


churn_train()
