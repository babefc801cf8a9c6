"""churn_erase: what its parameters take, who may approve, and what a refusal and the end of an erasure do."""

import runpy
from copy import copy
from datetime import UTC, date, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.dags.task_context import in_context

REPOSITORY = Path(__file__).parents[2]
REQUEST = "0123456789abcdef" * 2
YES = {"approved": True, "who": "bob", "at": "2024-02-01T09:00:00+00:00", "note": ""}
NO = YES | {"approved": False}
PLACES = {"archive", "rows", "lists", "parquet", "landing", "models", "logs", "sweep"}


@pytest.fixture
def dag(dag_bag, monkeypatch, tmp_path):
    monkeypatch.setenv("AIRFLOW_CONN_CHURN_POSTGRES", "postgresql://localhost/churn")
    monkeypatch.setenv("CHURN_ERASURE_DIR", str(tmp_path))
    return dag_bag.dags["churn_erase"]


def context_of(asked_by="ada", approval=True):
    params = {"request": REQUEST, "why": "asked by letter", "approval": approval}
    return {"params": params, "dag_run": SimpleNamespace(triggering_user_name=asked_by)}


def call(dag, task_id, *arguments):
    with in_context(context_of()):
        return dag.task_dict[task_id].python_callable(*arguments)


@pytest.mark.parametrize("given", ["", "7892-POOKP", REQUEST.upper(), f"../{REQUEST[3:]}", REQUEST * 2])
def test_a_request_is_a_name_and_never_an_id_or_a_path(dag, given):
    from airflow.sdk.exceptions import ParamValidationError

    param = dag.params.get_param("request")
    assert param.resolve(REQUEST) == REQUEST
    with pytest.raises(ParamValidationError):
        param.resolve(given)


def test_an_erasure_needs_a_reason(dag):
    from airflow.sdk.exceptions import ParamValidationError

    with pytest.raises(ParamValidationError):
        dag.params.get_param("why").resolve("")


def test_approval_is_switched_on_by_the_environment(monkeypatch):
    monkeypatch.setenv("CHURN_ERASE_APPROVAL", "true")
    dag = runpy.run_path(str(REPOSITORY / "dags" / "churn_erase.py"))["churn_erase"]()
    assert dag.params.get_param("approval").value is True


def test_one_erasure_runs_at_a_time_and_one_place_of_it(dag):
    assert dag.max_active_runs == 1
    assert {task.task_id for task in dag.tasks if task.pool == "churn_erasure"} == PLACES


@pytest.mark.parametrize("copy_of_rows", ["lists", "parquet", "models", "logs"])
def test_what_a_step_copies_from_rows_is_removed_after_the_rows(dag, copy_of_rows):
    """Before that, a training or a scoring that begins would write the customers there again."""
    assert "rows" in dag.task_dict[copy_of_rows].get_flat_relative_ids(upstream=True)
    assert "bury" in dag.task_dict["rows"].get_flat_relative_ids(upstream=True)


# Approval.


def asked(dag):
    task = copy(dag.task_dict["approve"])
    task.opened = {"customers": 2}
    return task


def event(chosen, user):
    return {
        "chosen_options": [chosen],
        "params_input": {},
        "responded_at": datetime(2024, 2, 1, 9, tzinfo=UTC),
        "responded_by_user": {"id": "7", "name": user},
    }


@pytest.mark.parametrize("variable", ["", "false"])
def test_without_approval_the_question_passes_at_once(dag, monkeypatch, variable):
    monkeypatch.setenv("CHURN_ERASE_APPROVAL", variable)
    assert asked(dag).execute(context_of(approval=False)) is None


@pytest.mark.parametrize(("variable", "parameter"), [("true", False), ("True", True), ("false", True), (None, True)])
def test_the_environment_or_the_parameter_asks_and_neither_switches_off_the_other(
    dag, monkeypatch, variable, parameter
):
    from airflow.providers.standard.operators.hitl import HITLOperator

    monkeypatch.setattr(HITLOperator, "execute", lambda *_: "waits")
    monkeypatch.delenv("CHURN_ERASE_APPROVAL", raising=False)
    if variable:
        monkeypatch.setenv("CHURN_ERASE_APPROVAL", variable)
    assert asked(dag).execute(context_of(approval=parameter)) == "waits"


def test_the_question_waits_without_an_answer_by_default(dag):
    task = dag.task_dict["approve"]
    assert (task.options, task.defaults) == (["Approve", "Reject"], None)
    assert task.pool == "default_pool"


def test_another_user_approves(dag):
    assert asked(dag).execute_complete(context_of("ada"), event("Approve", "bob")) == YES


@pytest.mark.parametrize("asked_by", ["bob", None], ids=["the same user", "nobody known"])
def test_whoever_asked_cannot_approve(dag, asked_by):
    from airflow.sdk.exceptions import AirflowFailException

    with pytest.raises(AirflowFailException, match=r"bob asked for this erasure|not known who started this run"):
        asked(dag).execute_complete(context_of(asked_by), event("Approve", "bob"))


def test_whoever_asked_can_reject(dag):
    assert asked(dag).execute_complete(context_of("bob"), event("Reject", "bob")) == NO


def test_silence_fails_without_a_retry_and_removes_nothing(dag):
    from airflow.sdk.exceptions import AirflowFailException

    with pytest.raises(AirflowFailException):
        asked(dag).execute_complete(context_of(), {"error": "nobody answered", "error_type": "timeout"})


@pytest.mark.parametrize(("answer", "who"), [(YES, "bob"), (None, None)], ids=["approved", "nobody was to be asked"])
def test_tombstones_name_who_approved(dag, monkeypatch, answer, who):
    from churn.outcome import DONE, Outcome

    calls = []
    monkeypatch.setattr("churn.erasure.request.bury", lambda *of: calls.append(of) or Outcome(DONE, "-"))
    call(dag, "bury", answer)
    assert calls == [(REQUEST, "postgresql://localhost/churn", who)]


def test_a_refusal_ends_the_request_and_skips_the_rest(dag, monkeypatch):
    from airflow.sdk.exceptions import AirflowSkipException

    calls = []
    monkeypatch.setattr("churn.erasure.request.end", lambda *of: calls.append(of))
    with pytest.raises(AirflowSkipException, match="bob refused the request"):
        call(dag, "bury", NO)
    assert calls == [(REQUEST, "refused", "postgresql://localhost/churn")]


@pytest.mark.parametrize("task_id", ["open", *sorted(PLACES)])
def test_a_request_without_its_file_fails_without_a_retry(dag, task_id):
    from airflow.sdk.exceptions import AirflowFailException

    with pytest.raises(AirflowFailException, match="has no file of ids"):
        call(dag, task_id)


@pytest.mark.parametrize("task_id", sorted(PLACES))
def test_a_place_reads_the_ids_from_the_file_and_returns_none_of_them(dag, monkeypatch, tmp_path, task_id):
    from churn.erasure.request import write_ids
    from churn.outcome import DONE, Outcome

    monkeypatch.setattr("churn.erasure.request.secrets.token_hex", lambda _: REQUEST)
    write_ids(["7892-POOKP"], tmp_path)
    for name in ("LANDING_DIR", "ARCHIVE_DIR", "SCORES_URL", "SNAPSHOTS_URL"):
        monkeypatch.setenv(name, f"/{name}")
    calls = []
    function = "churn.erasure.sweep.sweep" if task_id == "sweep" else f"churn.erasure.{task_id}.erase_{task_id}"
    monkeypatch.setattr(function, lambda *of: calls.append(of) or Outcome(DONE, "1 row", {"rows": 1}))
    assert "7892-POOKP" not in str(call(dag, task_id))
    ((request, users, url, *where),) = calls
    assert (request, users, url) == (REQUEST, {"7892-POOKP"}, "postgresql://localhost/churn")
    expected = {
        "landing": [Path("/LANDING_DIR")],
        "archive": ["/ARCHIVE_DIR"],
        "lists": ["/SCORES_URL"],
        "parquet": ["/SNAPSHOTS_URL"],
    }
    assert where == expected.get(task_id, where if task_id == "logs" else [])


def test_logs_are_those_of_tasks_and_of_the_services_of_the_embedded_stack(monkeypatch, tmp_path):
    from churn.settings import log_directories

    monkeypatch.delenv("CHURN_HOME", raising=False)
    assert log_directories(tmp_path) == [tmp_path]
    monkeypatch.setenv("CHURN_HOME", "/srv/churn")
    assert log_directories(tmp_path) == [tmp_path, Path("/srv/churn/logs")]


# The end.


def test_the_end_names_production_that_must_be_replaced(dag, monkeypatch):
    from churn.erasure.replacement import Replacement
    from churn.outcome import DONE, Outcome

    monkeypatch.setattr("churn.erasure.replacement.find_replacement", lambda _: Replacement(3, date(2024, 3, 2)))
    monkeypatch.setattr("churn.erasure.request.end", lambda *_: Outcome(DONE, "erased"))
    assert call(dag, "end")["production"] == (
        "version 3 in Production learned from erased customers: it must be replaced by 2024-03-02"
    )


def test_a_training_of_the_newest_as_of_follows_once_per_request(dag, monkeypatch):
    monkeypatch.setattr("churn.erasure.replacement.next_training", lambda *_: (date(2024, 1, 31), [2, 3]))
    assert call(dag, "find_training") == [{"conf": {"as_of": "2024-01-31"}, "trigger_run_id": f"erase__{REQUEST}"}]
    started = dag.task_dict["start_training"]
    assert started.partial_kwargs["trigger_dag_id"] == "churn_train"
    assert started.partial_kwargs["skip_when_already_exists"]


@pytest.mark.parametrize("found", [(date(2024, 1, 31), []), (None, [3])], ids=["no version", "no drop"])
def test_no_training_follows_without_a_version_or_a_drop(dag, monkeypatch, found):
    from airflow.sdk.exceptions import AirflowSkipException

    monkeypatch.setattr("churn.erasure.replacement.next_training", lambda *_: found)
    with pytest.raises(AirflowSkipException):
        call(dag, "find_training")
