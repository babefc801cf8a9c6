"""Feast's point-in-time join → candidate → MLflow → gate → stage Production."""

import os

from airflow.sdk import Param, PartitionedAssetTimetable, dag, get_current_context, task, teardown
from airflow.sdk.exceptions import AirflowSkipException

from alerts import alert, tell
from approval import NOTE_PARAM, ApprovalTask
from assets import churn_online_features, churn_production_model, churn_trainings
from churn.outcome import DONE
from run import (
    AS_OF_PARAM,
    DEFAULT_ARGS,
    HEAVY_JOINS,
    JOINS,
    TRAIN_FIRST,
    current_as_of,
    database_url,
    is_retry,
    no_retry,
    triggered_by,
)

APPROVAL_PARAM = Param(
    os.environ.get("CHURN_APPROVAL", "").lower() == "true",
    type="boolean",
    title="Ask a person",
    description=(
        "A decision PROMOTE on the newest drop waits for approval under Required Actions. "
        "Runs of the chain use the default, which CHURN_APPROVAL=true in Airflow's environment turns on."
    ),
)

THRESHOLDS_PARAM = Param(
    {},
    type="object",
    title="Thresholds",
    description=(
        "Overrides thresholds of the gate for this run, for example "
        '{"max_auc_loss": 0.01, "require_superior": true}. The report records them and the user.'
    ),
)

VALUE_PARAM = Param(
    {},
    type="object",
    title="Value",
    description=(
        "Chooses the threshold of this run's candidate by expected profit, for example "
        '{"contact_cost": 10, "success_rate": 0.3, "margin": 200}. '
        "Left empty, CHURN_VALUE counts; without that, the threshold is the one of the highest F1."
    ),
)

REGIME_CHANGE = """Version {version}: {regime_change}. It learned from that date alone.
What to do: nothing, if the market or the product changed then. Else look at how labels.csv of that date was made: a
correction of the drop is trained anew. The gate decides as usual; where labels look swapped it asks a person."""


@dag(
    schedule=PartitionedAssetTimetable(assets=churn_online_features),
    params={"as_of": AS_OF_PARAM, "approval": APPROVAL_PARAM, "thresholds": THRESHOLDS_PARAM, "value": VALUE_PARAM},
    default_args=DEFAULT_ARGS | {"priority_weight": TRAIN_FIRST},
    on_failure_callback=alert,
    tags=["churn"],
)
def churn_train():
    """
    Trains a candidate as of a date; the gate decides whether it replaces the version in stage Production.

    **Regime change**: where the dates before say nothing about the newest labelled one, the candidate learns from that
    date alone, and an alert says so (docs/gate.md).

    **Outcomes**: PROMOTE moves Production. KEEP is a success: the candidate is worse or older, or the evidence is too
    thin; `promote` is skipped. Each decision is a row of `gate.decisions`, an artifact `report.json` below `decisions/`
    of the MLflow run, and the tags gate.decision and gate.reason of the version.

    **`train` skipped**: no date up to this AS_OF has a snapshot and enough labels yet.

    **`train` is red, and names dates that retention removed**: the training set is incomplete without them. Run the
    dates that the log names again, then this one.

    **`train` is red, and names contact_cost, success_rate or margin**: the parameter `value`, or CHURN_VALUE in the
    environment of the tasks, cannot be used. Trigger the run again with the right figures, or correct the setting and
    clear the task.

    **`train` is red, and says that the MLflow experiment was deleted**: nothing was fitted. With MLFLOW_TRACKING_URI
    set, run `mlflow experiments restore --experiment-id N`, N from the error; that restores its runs too. Then clear
    the task.

    **`gate` is red with INVALID**: the comparison cannot be trusted; the log and the report name the check. Investigate
    before you promote by hand. An unknown threshold or a wrong value also fails the task.

    **`train`, `approve` or `promote` is red**: Postgres or MLflow was unavailable, or a drop changed while `train` read
    it. Clear the task; it resumes.

    **`approve` waits**: the run asks for approval. Its tab Required Actions shows the report, with Approve and Reject;
    meanwhile the candidate is in stage Staging. Reject, or no answer within a day, is KEEP. A candidate older than the
    newest drop needs no approval.

    **`report` is red**: the model card could not be rendered. The decision stands, and `promote` does not wait for it.
    Clear the task.

    **The list** of this AS_OF is written by `churn_score`, which starts when this run has ended, also after KEEP,
    INVALID or a failure. While an approval waits it starts before the answer, with the present Production.

    **`score_meanwhile` or `score_now` is red**: Airflow was unavailable, and `churn_score` did not start. Clear the
    task, or trigger `churn_score` with this AS_OF.

    **A version that you move to Production by hand stays** until a candidate that is as new and not worse replaces it.

    **To roll back**: DAG `churn_rollback`, or `make rollback`. Production is then pinned until it is released, and
    `promote` is skipped. The gate never promotes the replaced version again.
    """

    @task(multiple_outputs=False, pool="churn_training", **HEAVY_JOINS)
    def train() -> dict:
        """Joins the training set, fits the recipe without the gate cohort, logs it to MLflow and registers the
        candidate. UNCHANGED if the same data, code and parameters were trained before."""
        from churn.training.train import ExperimentDeleted, Expired, NotEnoughToLearn, train
        from churn.training.training_set import NothingToLearn

        try:
            with no_retry(ExperimentDeleted, Expired):
                outcome = train(current_as_of(), database_url(), _parameters())
        except (NothingToLearn, NotEnoughToLearn) as error:
            raise AirflowSkipException(f"nothing to do: {error}") from error
        if "regime_change" in outcome.figures and (outcome.outcome == DONE or is_retry()):
            tell(f"regime change at AS_OF {current_as_of()}", REGIME_CHANGE.format(**outcome.figures))
        return outcome.to_json()

    @task(multiple_outputs=False, pool="churn_gate", **JOINS)
    def gate(candidate: dict) -> dict:
        """Compares the candidate with Production on the gate cohort, which neither trained on; records the decision."""
        from churn.gate.grading import GateInvalid, StaleCandidate, ThresholdError, grade

        overrides = get_current_context()["params"].get("thresholds") or {}
        asked_by = triggered_by() if overrides else None
        with no_retry(GateInvalid, StaleCandidate, ThresholdError):
            decided = grade(candidate["version"], database_url(), overrides, asked_by, candidate["run_id"])
        return decided.to_json()

    @task(multiple_outputs=False, pool="churn_gate", outlets=[churn_production_model])
    def promote(decision: dict, answer: dict | None) -> dict:
        """Moves stage Production on PROMOTE, unless Production moved since, is pinned, or approval was denied. Skips on
        KEEP."""
        from churn.gate.approval import Approval
        from churn.gate.promotion import KEPT, promote
        from churn.report.model_card import write_report

        if decision["decision"] != "PROMOTE":
            raise AirflowSkipException(f"{decision['decision']}: {decision['reason']}")
        outcome = promote(
            decision["version"],
            decision["production_version"],
            decision["reason"],
            database_url(),
            superior=bool(decision.get("superior")),
            approval=Approval(**answer) if answer else None,
            decision_id=decision.get("decision_id"),
        )
        if outcome.figures.get("graded_again"):
            # `report` draws the earlier decision.
            write_report(decision["version"], database_url())
        if outcome.outcome == KEPT:
            raise AirflowSkipException(outcome.reason)
        get_current_context()["outlet_events"][churn_production_model].add_partitions(current_as_of().isoformat())
        return outcome.to_json()

    @task(multiple_outputs=False, pool="churn_training", trigger_rule="all_done_min_one_success", **HEAVY_JOINS)
    def report(candidate: dict) -> dict:
        """Renders the candidate's model card, report.html, and logs it to its MLflow run, also on INVALID. Trainings
        that are ready run first."""
        from churn.report.model_card import NotDecided, write_report

        with no_retry(NotDecided):
            return write_report(candidate["version"], database_url()).to_json()

    @task(multiple_outputs=False, outlets=[churn_trainings])
    def score_meanwhile(decision: dict) -> None:
        """Lets `churn_score` start while an approval waits. The present Production scores."""
        if not get_current_context()["params"].get("approval") or decision["decision"] != "PROMOTE":
            raise AirflowSkipException("no approval is asked for: churn_score starts at the end of this run")
        _start_scoring()

    # A teardown: it runs whatever happened before, and the state of the run does not depend on it.
    @teardown
    @task(multiple_outputs=False, outlets=[churn_trainings])
    def score_now() -> None:
        """Starts `churn_score`, whatever came of the training."""
        _start_scoring()

    candidate = train()
    decided = gate(candidate)
    asked = ApprovalTask(
        task_id="approve",
        decision=decided,
        params={"note": NOTE_PARAM},
        doc_md="Asks for approval of PROMOTE on the newest drop if the run's parameter says so; else passes at once.",
    )
    score_meanwhile(decided)
    promote(decided, asked.output) >> score_now()
    decided >> report(candidate)


def _parameters():
    """Return the parameters of the training, with the value of the run's parameter, else that of CHURN_VALUE."""
    from churn.settings import stated_value, training_rows
    from churn.training.recipe import Parameters
    from churn.value import Value, ValueRefused

    given = get_current_context()["params"].get("value")
    with no_retry(ValueRefused):
        return Parameters(value=Value.of(given) if given else stated_value(), training_rows=training_rows())


def _start_scoring() -> None:
    get_current_context()["outlet_events"][churn_trainings].add_partitions(current_as_of().isoformat())


churn_train()
