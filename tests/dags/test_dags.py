"""The DAGs import, follow the policy, and are wired as in the design."""

import ast
import pydoc
import runpy
import subprocess
import sys
from copy import copy
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest

from embedded.commands.chain import CHAIN
from tests.dags.task_context import in_context

REPOSITORY = Path(__file__).parents[2]
FILES = sorted((REPOSITORY / "dags").glob("*.py"))
HEAVY = {"pandas", "numpy", "pyarrow", "sklearn", "scipy", "feast", "mlflow", "skops"}
ACCEPTED = {"as_of": "2024-01-31", "validated_at": "2024-02-01T00:00:00+00:00", "digest": "", "files": {}}
SCHEDULED_ON = {
    "churn_materialize": "churn_snapshots",
    "churn_train": "churn_online_features",
    "churn_score": "churn_trainings",
    "churn_outcome": "churn_scores",
}
PRODUCES = {
    "churn_snapshot": {"snapshot": ["churn_snapshots"]},
    "churn_materialize": {"materialize": ["churn_online_features"]},
    "churn_train": {
        "promote": ["churn_production_model"],
        "score_meanwhile": ["churn_trainings"],
        "score_now": ["churn_trainings"],
    },
    "churn_score": {"score": ["churn_scores"]},
    "churn_outcome": {"judge": ["churn_outcomes"]},
}
ORDER = {
    "churn_snapshot": ["validate", "load", "snapshot", "supersede"],
    "churn_materialize": ["apply", "materialize"],
    "churn_train": ["train", "gate", "approve", "promote", "score_now"],
    "churn_score": ["score"],
    "churn_outcome": ["judge", "alert_changes"],
    "churn_landing": ["find_drops", "start_chain"],
    "churn_rollback": ["move"],
    "churn_withdraw": ["withdraw", "serve", "supersede"],
    "churn_erase": [
        *("open", "approve", "bury", "archive", "rows", "lists", "sweep", "supersede", "end"),
        *("find_training", "start_training"),
    ],
    "churn_retention": ["expire_predictions"],
    "churn_deadline": ["check_deadline"],
}
BESIDE = {
    "churn_train": {"train": {"report"}, "gate": {"promote", "report", "score_meanwhile"}},
    "churn_outcome": {None: {"expect", "drift"}},
    "churn_withdraw": {"withdraw": {"scores", "parquet"}, "scores": {"outcomes"}},
    "churn_erase": {
        "archive": {"landing"},
        "rows": {"models", "logs", "parquet"},
        "landing": {"sweep"},
        "models": {"sweep"},
        "logs": {"sweep"},
        "parquet": {"sweep"},
    },
    "churn_retention": {
        None: {"expire_raw", "expire_snapshots", "expire_versions", "expire_scores"},
        "expire_snapshots": {"expire_parquet"},
    },
}
"""What a task starts beside the next one; None is the begin of the run."""


def test_every_dag_file_imports(dag_bag):
    assert dag_bag.import_errors == {}
    assert set(dag_bag.dags) == set(ORDER)


@pytest.mark.parametrize("dag_id", ORDER)
def test_the_tasks_run_in_the_order_of_the_design(dag_bag, dag_id):
    dag, beside = dag_bag.dags[dag_id], BESIDE.get(dag_id, {})
    order = [task.task_id for task in dag.topological_sort()]
    assert [task for task in order if task in ORDER[dag_id]] == ORDER[dag_id]
    assert set(order) == set(ORDER[dag_id]).union(*beside.values())
    for before, after in zip(ORDER[dag_id], ORDER[dag_id][1:], strict=False):
        assert dag.task_dict[before].downstream_task_ids == {after} | beside.get(before, set())
    for before in beside.keys() - {None, *ORDER[dag_id]}:
        assert dag.task_dict[before].downstream_task_ids == beside[before]


def test_the_model_card_does_not_delay_a_promotion(dag_bag):
    tasks = dag_bag.dags["churn_train"].task_dict
    assert tasks["report"].downstream_task_ids == set()


def test_a_ready_training_runs_before_a_model_card(dag_bag):
    tasks = dag_bag.dags["churn_train"].task_dict
    assert tasks["train"].pool == tasks["report"].pool
    assert _weight(tasks["train"]) > _weight(tasks["report"])


def test_a_started_as_of_finishes_before_another_starts(dag_bag):
    weights = [[_weight(task) for task in dag_bag.dags[dag_id].tasks] for dag_id in CHAIN]
    for earlier, later in pairwise(weights):
        assert max(earlier) < min(later)


def _weight(task):
    """Airflow's weight rule "downstream": the weights of a task and of all its successors."""
    assert task.weight_rule == "downstream"
    return task.priority_weight + sum(each.priority_weight for each in task.get_flat_relatives(upstream=False))


@pytest.mark.parametrize("dag_id", CHAIN)
def test_a_dag_of_the_chain_produces_the_asset_of_the_next_one(dag_bag, dag_id):
    outlets = {
        task.task_id: [outlet.name for outlet in task.outlets] for task in dag_bag.dags[dag_id].tasks if task.outlets
    }
    assert outlets == PRODUCES[dag_id]


def test_scoring_starts_whatever_came_of_a_training_and_does_not_hide_its_failure(dag_bag):
    task = dag_bag.dags["churn_train"].task_dict["score_now"]
    assert task.is_teardown
    assert not task.on_failure_fail_dagrun


@pytest.mark.parametrize("dag_id", CHAIN)
def test_an_outcome_is_stored_once_and_not_key_by_key(dag_bag, dag_id):
    """For a task that returns a dict, Airflow by default makes a request for each key."""
    assert not [task.task_id for task in dag_bag.dags[dag_id].tasks if getattr(task, "multiple_outputs", False)]


@pytest.mark.parametrize(("dag_id", "asset"), SCHEDULED_ON.items())
def test_a_later_dag_is_scheduled_on_the_partitions_of_one_asset(dag_bag, dag_id, asset):
    timetable = dag_bag.dags[dag_id].timetable
    assert type(timetable).__name__ == "PartitionedAssetTimetable"
    assert timetable.asset_condition.name == asset


def test_the_daily_run_works_on_the_day_before(dag_bag):
    timetable = dag_bag.dags["churn_snapshot"].timetable
    assert (timetable.expression, timetable.run_offset, timetable.key_format) == ("0 0 * * *", -1, "%Y-%m-%d")
    assert str(timetable.timezone) in ("UTC", "Timezone('UTC')")
    assert dag_bag.dags["churn_snapshot"].catchup is False


@pytest.mark.parametrize("dag_id", CHAIN)
def test_the_trigger_form_asks_for_as_of_with_a_date_picker_that_explains_itself(dag_bag, dag_id):
    param = dag_bag.dags[dag_id].params.get_param("as_of")
    assert param.value is None
    assert param.schema["format"] == "date"
    assert param.schema["title"] == "AS_OF"
    assert len(param.description) > 40


@pytest.mark.parametrize(
    ("dag_id", "name", "default"),
    [
        ("churn_train", "approval", False),
        ("churn_train", "thresholds", {}),
        ("churn_train", "value", {}),
        ("churn_rollback", "action", "rollback"),
        ("churn_rollback", "version", None),
        ("churn_erase", "approval", False),
        ("churn_retention", "predictions_days", 365),
        ("churn_retention", "raw_days", None),
        ("churn_retention", "snapshots_days", None),
        ("churn_retention", "versions_days", None),
        ("churn_retention", "scores_days", None),
        ("churn_retention", "dry_run", False),
        ("churn_deadline", "drop_every_days", None),
    ],
)
def test_a_parameter_has_a_title_a_description_and_a_default_that_changes_nothing(dag_bag, dag_id, name, default):
    param = dag_bag.dags[dag_id].params.get_param(name)
    assert param.value == default
    assert param.schema["title"]
    assert len(param.description) > 40


RETENTION = {
    "predictions": "churn.retention.predictions.expire_predictions",
    "raw": "churn.retention.drops.expire_raw",
    "snapshots": "churn.retention.drops.expire_snapshots",
    "versions": "churn.retention.versions.expire_versions",
    "scores": "churn.retention.scores.expire_scores",
}


@pytest.mark.parametrize("kind", RETENTION)
def test_retention_periods_come_from_the_environment(kind, monkeypatch):
    monkeypatch.setenv(f"CHURN_{kind.upper()}_DAYS", "30")
    dag = runpy.run_path(str(REPOSITORY / "dags" / "churn_retention.py"))["churn_retention"]()
    assert dag.params.get_param(f"{kind}_days").value == 30


@pytest.mark.parametrize("kind", RETENTION)
def test_retention_deletes_by_the_parameters_of_its_run(kind, dag_bag, monkeypatch):
    from churn.outcome import UNCHANGED, Outcome

    asked = []
    monkeypatch.setattr(RETENTION[kind], lambda *of, **more: asked.append((*of, more)) or Outcome(UNCHANGED, "-"))
    monkeypatch.setenv("AIRFLOW_CONN_CHURN_POSTGRES", "postgresql://localhost/churn")
    monkeypatch.setenv("SCORES_URL", "s3://bucket/scores")
    with in_context({"params": {f"{kind}_days": 30, "dry_run": True}}):
        dag_bag.dags["churn_retention"].task_dict[f"expire_{kind}"].python_callable()
    where = {"location": "s3://bucket/scores"} if kind == "scores" else {}
    assert asked == [(30, "postgresql://localhost/churn", {"dry_run": True, **where})]


@pytest.mark.parametrize("expired", [{"dates": ["2024-01-31"]}, {}], ids=["some", "kept for ever"])
def test_retention_of_parquet_counts_what_its_run_expired(dag_bag, monkeypatch, expired):
    from churn.outcome import UNCHANGED, Outcome

    asked = []
    monkeypatch.setattr(
        "churn.spark.removal.remove_gone", lambda *of, **more: asked.append((*of, more)) or Outcome(UNCHANGED, "-")
    )
    monkeypatch.setenv("AIRFLOW_CONN_CHURN_POSTGRES", "postgresql://localhost/churn")
    monkeypatch.setenv("SNAPSHOTS_URL", "/snapshots")
    with in_context({"params": {"dry_run": True}}):
        dag_bag.dags["churn_retention"].task_dict["expire_parquet"].python_callable(expired)
    where = ("postgresql://localhost/churn", "/snapshots")
    assert asked == [(*where, {"dry_run": True, "expiring": expired.get("dates", [])})]


def test_retention_runs_every_day_and_one_run_at_a_time(dag_bag):
    dag = dag_bag.dags["churn_retention"]
    assert (dag.timetable.expression, dag.catchup, dag.max_active_runs) == ("30 2 * * *", False, 1)


def test_deadline_and_drop_interval_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("CHURN_DEADLINE", "30 9 * * 1-5")
    monkeypatch.setenv("CHURN_DROP_EVERY_DAYS", "31")
    dag = runpy.run_path(str(REPOSITORY / "dags" / "churn_deadline.py"))["churn_deadline"]()
    assert dag.timetable.expression == "30 9 * * 1-5"
    assert dag.params.get_param("drop_every_days").value == 31


def test_decisions_are_due_every_morning(dag_bag):
    dag = dag_bag.dags["churn_deadline"]
    assert (dag.timetable.expression, dag.catchup, dag.max_active_runs) == ("0 6 * * *", False, 1)


def test_a_rollback_needs_a_reason(dag_bag):
    from airflow.sdk.exceptions import ParamValidationError

    why = dag_bag.dags["churn_rollback"].params.get_param("why")
    for missing in ({}, {"value": ""}):
        with pytest.raises(ParamValidationError):
            why.resolve(**missing)
    assert why.resolve("the month's prices are wrong") == "the month's prices are wrong"


@pytest.mark.parametrize("name", ["as_of", "why"])
def test_a_withdrawal_needs_a_date_and_a_reason(dag_bag, name):
    from airflow.sdk.exceptions import ParamValidationError

    param = dag_bag.dags["churn_withdraw"].params.get_param(name)
    assert param.schema["title"]
    assert len(param.description) > 40
    for missing in ({}, {"value": ""}):
        with pytest.raises(ParamValidationError):
            param.resolve(**missing)


def test_a_withdrawal_takes_a_date_after_today(dag_bag):
    assert dag_bag.dags["churn_withdraw"].params.get_param("as_of").resolve("9999-12-31") == "9999-12-31"


def test_a_withdrawal_republishes_in_the_materialization_pool(dag_bag):
    assert dag_bag.dags["churn_withdraw"].task_dict["serve"].pool == "churn_materialize"


def test_one_landing_check_starts_at_most_200_drops_oldest_unstarted_first(dag_bag, monkeypatch, tmp_path, caplog):
    from churn.drops.watch import PendingDrop

    first = date(2021, 1, 1)
    pending = [PendingDrop(first + timedelta(days=day), 1, "0" * 64) for day in range(1100)]
    started = {drop.run_id for drop in pending[:50]}
    monkeypatch.setattr("churn.drops.watch.find_pending", lambda *_: pending)
    monkeypatch.setenv("AIRFLOW_CONN_CHURN_POSTGRES", "postgresql://localhost/churn")
    monkeypatch.setenv("LANDING_DIR", str(tmp_path))
    monkeypatch.setenv("ARCHIVE_DIR", str(tmp_path))
    caplog.set_level("INFO")
    with in_context({"ti": SimpleNamespace(get_dr_count=lambda dag_id, run_ids: len(started & set(run_ids)))}):
        found = dag_bag.dags["churn_landing"].task_dict["find_drops"].python_callable()
    assert [each["conf"]["as_of"] for each in found] == [str(drop.as_of) for drop in pending[50:250]]
    assert "1100 drops pending: 200 started now, 850 wait for the next run" in caplog.text


def test_waiting_for_approval_holds_no_gate_slot_and_times_out_to_keep(dag_bag):
    approve = dag_bag.dags["churn_train"].task_dict["approve"]
    assert approve.pool == "default_pool"
    assert (approve.options, approve.defaults) == (["Approve", "Reject"], ["Reject"])
    assert approve.response_timeout == timedelta(hours=24)


@pytest.mark.parametrize(
    ("approval", "decision"), [(False, "PROMOTE"), (True, "KEEP")], ids=["nobody was to be asked", "nothing to ask"]
)
def test_the_approval_passes_at_once_when_none_is_needed(dag_bag, approval, decision):
    task = copy(dag_bag.dags["churn_train"].task_dict["approve"])
    task.decision = {"decision": decision, "version": 1}
    assert task.execute({"params": {"approval": approval}}) is None


@pytest.mark.parametrize(
    ("chosen", "user", "answer"),
    [
        ("Approve", {"id": "7", "name": "ada"}, {"approved": True, "who": "ada", "note": "looks right"}),
        ("Reject", {"id": "7", "name": ""}, {"approved": False, "who": "7", "note": "looks right"}),
        ("Reject", None, {"approved": False, "who": None, "note": "looks right"}),
    ],
    ids=["approved", "rejected", "nobody answered"],
)
def test_an_answer_says_who_gave_it_and_when(dag_bag, chosen, user, answer):
    task = copy(dag_bag.dags["churn_train"].task_dict["approve"])
    event = {
        "chosen_options": [chosen],
        "params_input": {"note": "looks right"},
        "responded_at": datetime(2024, 2, 1, 9, tzinfo=UTC),
        "responded_by_user": user,
    }
    assert task.execute_complete({}, event) == answer | {"at": "2024-02-01T09:00:00+00:00"}


def test_every_dag_and_task_documents_itself_for_the_person_on_call(dag_bag):
    for dag in dag_bag.dags.values():
        assert len(dag.doc_md or "") > 200, dag.dag_id
        for task in dag.tasks:
            assert len(task.doc_md or "") > 40, task.task_id


def test_every_task_has_an_owner_retries_with_backoff_and_a_time_limit(dag_bag):
    for dag in dag_bag.dags.values():
        for task in dag.tasks:
            assert task.owner == "data team", task.task_id
            assert task.retries == 3, task.task_id
            assert task.retry_exponential_backoff, task.task_id
            assert task.execution_timeout is not None, task.task_id


@pytest.mark.parametrize("dag_id", ORDER)
def test_every_task_rejects_an_unknown_parameter(dag_bag, dag_id):
    from airflow.sdk.exceptions import AirflowFailException

    dag = dag_bag.dags[dag_id]
    for task in dag.tasks:
        with pytest.raises(AirflowFailException, match=f"unknown parameter 'nobody_knows'.*trigger {dag_id} again"):
            _before(task)({"dag": dag, "dag_run": SimpleNamespace(conf={"nobody_knows": 1})})


@pytest.mark.parametrize("conf", [None, {}, "all"], ids=["a scheduled run", "a run without parameters", "all of them"])
@pytest.mark.parametrize("dag_id", ORDER)
def test_every_task_accepts_the_parameters_of_its_dag(dag_bag, dag_id, conf):
    dag = dag_bag.dags[dag_id]
    given = dict.fromkeys(dag.params) if conf == "all" else conf
    for task in dag.tasks:
        _before(task)({"dag": dag, "dag_run": SimpleNamespace(conf=given)})


def _before(task):
    """The hook that Airflow calls just before the task."""
    return task.partial_kwargs["pre_execute"] if task.is_mapped else task._pre_execute_hook


def test_the_error_names_unknown_and_known_parameters():
    import run

    reason = run.why_unknown({"threshold": {}, "as_of": "2024-01-31"}, ["as_of", "thresholds", "approval"])
    assert reason == (
        "unknown parameter 'threshold' (did you mean 'thresholds'?); there is approval, as_of, thresholds"
    )


def test_tasks_that_would_wait_for_the_same_lock_share_a_pool(dag_bag):
    pools = {task.task_id: task.pool for dag_id in CHAIN for task in dag_bag.dags[dag_id].tasks}
    assert pools["materialize"] == "churn_materialize"
    assert {pools[task] for task in ("train", "report")} == {"churn_training"}
    assert {pools[task] for task in ("gate", "promote")} == {"churn_gate"}


def test_only_heavy_tasks_use_the_training_queue(dag_bag):
    queues = {task.task_id: task.queue for dag in dag_bag.dags.values() for task in dag.tasks}
    assert {task for task, queue in queues.items() if queue == "training"} == {
        "train",
        "report",
        "score",
        "judge",
        "expect",
        "drift",
    }
    assert set(queues.values()) == {"default", "training"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_dag_file_imports_nothing_heavy_at_module_level(file):
    names = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").split(".")[0])
    assert not names & HEAVY


def test_reading_the_dags_loads_no_heavy_library():
    code = (
        "import sys; sys.path[:0] = ['include', 'dags']\n"
        f"import {', '.join(ORDER)}\n"
        f"print(sorted(set(sys.modules) & {HEAVY!r}))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    # Airflow itself may load numpy for its serializers; what we would add is what costs seconds.
    assert set(ast.literal_eval(done.stdout.splitlines()[-1])) <= {"numpy"}


def _context(parameter=None, partition_key=None, logical_date=None):
    run = SimpleNamespace(
        partition_key=partition_key,
        logical_date=logical_date,
        triggering_user_name="ada",
        run_after=datetime(2024, 2, 1, tzinfo=UTC),
    )
    params = {"as_of": parameter, "action": "rollback", "version": 1, "why": "a test", "drop_every_days": None}
    return {"params": params, "dag_run": run, "ti": SimpleNamespace(try_number=1)}


@pytest.mark.parametrize(
    ("context", "expected"),
    [
        (_context(parameter="2024-01-31"), "2024-01-31"),
        (_context(partition_key="2024-01-31"), "2024-01-31"),
        (_context(logical_date=datetime(2024, 1, 31, tzinfo=UTC)), "2024-01-31"),
        (_context(parameter="2024-01-31", partition_key="2024-01-31"), "2024-01-31"),
        (_context(parameter="2024-01-31", logical_date=datetime(2026, 5, 1, tzinfo=UTC)), "2024-01-31"),
    ],
    ids=["parameter", "partition key", "logical date", "both the same", "parameter over logical date"],
)
def test_a_task_resolves_its_as_of_for_every_kind_of_run(context, expected):
    import run

    with in_context(context):
        assert run.current_as_of().isoformat() == expected


@pytest.mark.parametrize(
    "context",
    [
        _context(),
        _context(parameter="2024-01-31", partition_key="2024-02-29"),
        _context(parameter="31.01.2024"),
        _context(parameter="2124-02-29"),
        _context(logical_date=datetime(2024, 2, 28, 15, tzinfo=UTC)),
    ],
    ids=["nothing", "disagreement", "not a date", "after today", "not midnight"],
)
def test_a_task_without_a_clear_as_of_fails_without_retry_and_says_why(context):
    from airflow.sdk.exceptions import AirflowFailException

    import run

    with in_context(context), pytest.raises(AirflowFailException, match=r"AS_OF|as_of"):
        run.current_as_of()


@pytest.mark.parametrize(
    "uri",
    [
        "postgresql://postgres@%2Ftmp%2Fchurn-1%2Fpostgres/churn",
        "postgresql://me:s%40cret%2F@db.internal:6432/churn?sslmode=require",
    ],
    ids=["socket", "server with a password and options"],
)
def test_tasks_use_the_database_of_the_airflow_connection(monkeypatch, uri):
    from psycopg.conninfo import conninfo_to_dict

    import run

    monkeypatch.setenv("AIRFLOW_CONN_CHURN_POSTGRES", uri)
    assert conninfo_to_dict(run.database_url()) == conninfo_to_dict(uri)


@pytest.mark.parametrize("uri", ["postgresql://me:secret@db.internal", "postgresql://me:secret@db.internal/"])
def test_a_connection_without_a_database_means_churn_for_tasks_and_board(monkeypatch, uri):
    import run

    monkeypatch.syspath_prepend(REPOSITORY / "plugins")
    from gate_board import sources

    monkeypatch.setenv("AIRFLOW_CONN_CHURN_POSTGRES", uri)
    assert run.database_url() == sources.database_url() == "postgresql://me:secret@db.internal/churn"


def test_the_plugin_links_to_the_configured_addresses(monkeypatch):
    monkeypatch.setenv("MLFLOW_URL", "http://127.0.0.1:5001")
    monkeypatch.delenv("SERVING_URL", raising=False)
    views = runpy.run_path(str(REPOSITORY / "plugins" / "churn_links.py"))["ChurnLinks"].external_views
    assert [(view["name"], view["href"]) for view in views] == [("MLflow", "http://127.0.0.1:5001")]


@pytest.mark.parametrize(
    ("task", "calls", "error", "arguments"),
    [
        ("churn_snapshot.load", "drops.loading.load", "drops.archive.ArchiveError", [ACCEPTED]),
        ("churn_snapshot.load", "drops.loading.load", "drops.loading.StaleDrop", [ACCEPTED]),
        ("churn_snapshot.load", "drops.loading.load", "drops.violations.DropRejected", [ACCEPTED]),
        ("churn_snapshot.snapshot", "drops.snapshots.build_snapshots", "drops.snapshots.NotLoaded", []),
        ("churn_materialize.apply", "features.store.apply_definitions", "features.column_types.UnsupportedView", []),
        (
            "churn_materialize.materialize",
            "features.materialization.materialize",
            "features.materialization.NoSnapshot",
            [],
        ),
        ("churn_train.gate", "gate.grading.grade", "gate.grading.GateInvalid", [{"version": 1, "run_id": "run"}]),
        ("churn_train.gate", "gate.grading.grade", "gate.grading.StaleCandidate", [{"version": 1, "run_id": "run"}]),
        ("churn_train.gate", "gate.grading.grade", "gate.grading.ThresholdError", [{"version": 1, "run_id": "run"}]),
        ("churn_rollback.move", "gate.rollback.rollback", "gate.rollback.RollbackRefused", []),
        ("churn_rollback.move", "gate.rollback.rollback", "gate.moves.PinUnreadable", []),
        ("churn_withdraw.withdraw", "drops.withdrawal.withdraw", "drops.withdrawal.WithdrawalRefused", []),
        (
            "churn_deadline.check_deadline",
            "operations.deadline.check_deadline",
            "operations.deadline.DeadlineMissed",
            [],
        ),
    ],
)
def test_permanent_errors_fail_without_retry(dag_bag, monkeypatch, tmp_path, task, calls, error, arguments):
    from airflow.sdk.exceptions import AirflowFailException

    def fail(*_, **__):
        raise pydoc.locate(f"churn.{error}")("what is wrong and what to do")

    dag_id, task_id = task.split(".")
    monkeypatch.setattr(f"churn.{calls}", fail)
    monkeypatch.setenv("AIRFLOW_CONN_CHURN_POSTGRES", "postgresql://localhost/churn")
    monkeypatch.setenv("LANDING_DIR", str(tmp_path))
    monkeypatch.setenv("ARCHIVE_DIR", str(tmp_path))
    with (
        in_context(_context(parameter="2024-01-31")),
        pytest.raises(AirflowFailException, match="what is wrong and what to do"),
    ):
        dag_bag.dags[dag_id].task_dict[task_id].python_callable(*arguments)


@pytest.mark.parametrize(
    ("outcome", "figures", "try_number", "messages"),
    [
        ("DONE", {"regime_change": "AUC 0.480"}, 1, 1),
        ("DONE", {}, 1, 0),
        ("UNCHANGED", {"regime_change": "AUC 0.480"}, 1, 0),
        # The first try may have been killed between the registration and the message.
        ("UNCHANGED", {"regime_change": "AUC 0.480"}, 2, 1),
    ],
)
def test_a_regime_change_is_told_once(dag_bag, monkeypatch, outcome, figures, try_number, messages):
    import alerts
    from churn.outcome import Outcome

    told = []
    monkeypatch.setattr("churn.training.train.train", lambda *_: Outcome(outcome, "why", {"version": 2, **figures}))
    monkeypatch.setattr(alerts, "send", lambda *message: told.append(message))
    monkeypatch.setenv("AIRFLOW_CONN_CHURN_POSTGRES", "postgresql://localhost/churn")
    with in_context(_context(parameter="2024-01-31") | {"ti": SimpleNamespace(try_number=try_number)}):
        dag_bag.dags["churn_train"].task_dict["train"].python_callable()
    assert len(told) == messages
    assert all("regime change at AS_OF 2024-01-31" in title and "AUC 0.480" in body for title, body in told)


def _train(dag_bag, monkeypatch, given):
    """Run the task `train` with the parameter `value`; return the parameters that it trains with."""
    from churn.outcome import UNCHANGED, Outcome

    asked = []
    monkeypatch.setattr(
        "churn.training.train.train",
        lambda _as_of, _url, parameters: asked.append(parameters) or Outcome(UNCHANGED, "why", {"version": 2}),
    )
    monkeypatch.setenv("AIRFLOW_CONN_CHURN_POSTGRES", "postgresql://localhost/churn")
    context = _context(parameter="2024-01-31")
    with in_context(context | {"params": context["params"] | {"value": given}}):
        dag_bag.dags["churn_train"].task_dict["train"].python_callable()
    return asked[0]


@pytest.mark.parametrize("setting", ["", "contact_cost=5,success_rate=0.2,margin=100"], ids=["no setting", "a setting"])
@pytest.mark.parametrize("given", [{}, None, {"contact_cost": 10, "success_rate": 0.3, "margin": 200}], ids=str)
def test_a_candidate_is_trained_by_the_value_of_its_run_else_by_that_of_the_setting(
    dag_bag, monkeypatch, given, setting
):
    from churn.settings import stated_value
    from churn.training.recipe import Parameters
    from churn.value import Value

    monkeypatch.setenv("CHURN_VALUE", setting)
    expected = Value(10, 0.3, 200) if given else stated_value({"CHURN_VALUE": setting})
    monkeypatch.setenv("CHURN_TRAINING_ROWS", "200000")
    assert _train(dag_bag, monkeypatch, given) == Parameters(value=expected, training_rows=200_000)


@pytest.mark.parametrize(
    ("given", "setting", "says"),
    [
        (
            {"contact_cost": 10, "success_rate": 30, "margin": 200},
            "",
            "success_rate must be a number above 0 and below 1",
        ),
        ({"contact_cost": 10, "success_rate": 0.3}, "", "margin is missing"),
        ({}, "contact_cost=10,success_rate=0.3,margin=-1", "CHURN_VALUE must be like .*: margin must be a number"),
    ],
    ids=["out of range", "missing", "setting"],
)
def test_a_value_that_cannot_be_used_fails_the_training_without_a_retry_and_names_the_key(
    dag_bag, monkeypatch, given, setting, says
):
    from airflow.sdk.exceptions import AirflowFailException

    monkeypatch.setenv("CHURN_VALUE", setting)
    with pytest.raises(AirflowFailException, match=says):
        _train(dag_bag, monkeypatch, given)


@pytest.mark.parametrize(
    ("told_before", "try_number", "ends"),
    [
        (False, 1, "AirflowFailException"),
        (True, 1, "AirflowSkipException"),
        # The first try may have been killed between the record and the alert.
        (True, 2, "AirflowFailException"),
    ],
)
def test_a_held_drop_fails_its_run_once_and_skips_it_from_then_on(
    dag_bag, monkeypatch, tmp_path, told_before, try_number, ends
):
    from airflow.sdk import exceptions

    from churn.drops.holds.record import DropHeld

    def hold(*_):
        raise DropHeld("the fee is in cents", told_before=told_before)

    monkeypatch.setattr("churn.drops.validation.validate", hold)
    monkeypatch.setenv("AIRFLOW_CONN_CHURN_POSTGRES", "postgresql://localhost/churn")
    monkeypatch.setenv("LANDING_DIR", str(tmp_path))
    monkeypatch.setenv("ARCHIVE_DIR", str(tmp_path))
    (tmp_path / "2024-01-31").mkdir()
    with (
        in_context(_context(parameter="2024-01-31") | {"ti": SimpleNamespace(try_number=try_number)}),
        pytest.raises(getattr(exceptions, ends), match="the fee is in cents"),
    ):
        dag_bag.dags["churn_snapshot"].task_dict["validate"].python_callable()
