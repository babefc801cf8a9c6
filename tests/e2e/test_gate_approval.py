"""A person approves or rejects a candidate through Airflow's API, like the form under Required Actions."""

import time
from datetime import date

import pytest

from tests.e2e.stack import Stack
from tests.patience import wait_for

MODEL = "streamflow_churn"

# What the gate makes of a few hundred rows is not the question here.
LENIENT = {"max_auc_loss": 0.4, "max_brier_loss": 0.4, "max_slice_auc_loss": 0.4}


# A corrected January makes other training rows of every later AS_OF, and so a candidate.
pytestmark = pytest.mark.usefixtures("corrected")


def newest(stack: Stack) -> date:
    return stack.query("SELECT max(as_of) FROM raw.drops")[0][0]


def ask_and_answer(stack: Stack, answer: str, note: str, **thresholds: float) -> tuple[int, dict]:
    """Train the newest AS_OF with approval and answer.

    Returns:
        the candidate in stage Staging, and the states of the tasks.
    """
    as_of = newest(stack)
    revisions = stack.forget_list(as_of)
    conf = {"as_of": str(as_of), "approval": True, "thresholds": {**LENIENT, **thresholds}}
    run = stack.airflow("POST", "/dags/churn_train/dagRuns", json={"logical_date": None, "conf": conf})["dag_run_id"]
    path = f"/dags/churn_train/dagRuns/{run}"

    def tasks() -> dict[str, str]:
        found = stack.airflow("GET", f"{path}/taskInstances")["task_instances"]
        return {task["task_id"]: task["state"] for task in found}

    def waits() -> bool:
        found = stack.airflow("GET", f"{path}/hitlDetails")["hitl_details"]
        return bool(found) and tasks()["approve"] not in ("running", "success")

    wait_for(waits, seconds=300, or_say=lambda: f"{tasks()}")
    (candidate,) = [int(each.version) for each in stack.client().get_latest_versions(MODEL, ["Staging"])]
    # The list does not wait for the answer: the present Production scores.
    before = f"SELECT revision, model_version FROM scores.current_runs WHERE as_of = '{as_of}'"
    wait_for(lambda: stack.query(before) == [(revisions + 1, stack.production())], seconds=120)
    # As long as a person takes at least: Airflow takes an answer that is there before the scheduler has seen the task
    # pause for the task's failure, and asks again.
    time.sleep(5)
    stack.airflow(
        "PATCH",
        f"{path}/taskInstances/approve/-1/hitlDetails",
        json={"chosen_options": [answer], "params_input": {"note": note}},
    )
    wait_for(
        lambda: stack.airflow("GET", path)["state"] in ("success", "failed"), seconds=300, or_say=lambda: f"{tasks()}"
    )
    return candidate, tasks()


def test_a_candidate_that_a_person_rejects_stays_out_and_the_decision_says_who_and_why(stack):
    before = stack.production()
    candidate, tasks = ask_and_answer(stack, "Reject", "not on a Friday")
    assert (tasks["approve"], tasks["promote"]) == ("success", "skipped")
    assert stack.production() == before != candidate
    version, outcome, reason = stack.query(
        "SELECT candidate_version, outcome, reason FROM gate.decisions ORDER BY id DESC LIMIT 1"
    )[0]
    assert (version, outcome) == (candidate, "KEEP")
    assert "rejected by" in reason
    assert "not on a Friday" in reason


def test_a_candidate_that_a_person_approves_is_promoted_under_their_name(stack):
    # Other thresholds, another decision: the rejected one stands.
    candidate, tasks = ask_and_answer(stack, "Approve", "looked at the slices", max_label_age_days=101)
    assert (tasks["approve"], tasks["promote"]) == ("success", "success")
    assert stack.production() == candidate
    kind, version, who, why = stack.query("SELECT kind, version, who, why FROM gate.moves ORDER BY id DESC LIMIT 1")[0]
    assert (kind, version) == ("promotion", candidate)
    assert who not in ("", "gate")
    assert f"approved by {who}" in why
    assert "looked at the slices" in why
