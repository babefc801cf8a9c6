"""The judgement of each doctor check, and doctor without a stack."""

import os
import socket
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
import requests

from churn.drops.holds.record import Hold
from churn.operations.deadline import GRACE
from churn.operations.late import Late
from churn.operations.unended import Unended
from churn.outcomes.standing import Standing
from churn.registry.model_version import ModelVersion
from churn.registry.state import Oddity
from churn.scores.run import Run
from embedded.operator.as_of_state import AsOfState
from embedded.operator.doctor import diagnosis, online_store, workers
from embedded.operator.doctor.airflow import judge_alerts, judge_connection, judge_dags, judge_pools
from embedded.operator.doctor.databases import judge_databases, judge_migrations, judge_revision, judge_server
from embedded.operator.doctor.diagnosis import asking, judge_stack
from embedded.operator.doctor.finding import BAD, OK, WARN, Finding, ok
from embedded.operator.doctor.machine import (
    FULL,
    LOCK,
    NEARLY_FULL,
    compare_with_lock,
    judge_disk,
    judge_libraries,
    judge_ports,
    judge_python,
)
from embedded.operator.doctor.outcomes import judge_drift, judge_unjudged, judge_verdict
from embedded.operator.doctor.pipeline import (
    judge_erasures,
    judge_freshness,
    judge_held,
    judge_production,
    judge_registry,
    judge_serving,
)
from embedded.operator.doctor.scores import judge_list, judge_unscored
from embedded.settings import load_settings
from embedded.stack.process_manager import Process

NOW = datetime(2024, 4, 1, 12, tzinfo=UTC)
JANUARY, FEBRUARY = date(2024, 1, 31), date(2024, 2, 29)


def is_told(finding: Finding, outcome: str, *words: str) -> bool:
    """Whether the finding has that outcome, contains those words, and has advice if it is not ok."""
    said = f"{finding.found} {finding.advice}"
    return (
        finding.outcome == outcome and all(word in said for word in words) and bool(finding.advice) == (outcome != OK)
    )


# --- the machine -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("version", "outcome"), [((3, 10), BAD), ((3, 11), OK), ((3, 13), OK), ((3, 14), BAD)])
def test_an_unsupported_python_is_bad(version: tuple[int, int], outcome: str) -> None:
    assert is_told(judge_python(version), outcome)


def test_the_libraries_of_this_environment_are_those_of_the_lock() -> None:
    asked, others = compare_with_lock(LOCK.read_text(encoding="utf-8"))
    assert asked > 200
    assert is_told(judge_libraries(asked, others), OK, str(asked))


def test_a_missing_or_differing_library_is_bad_but_not_one_for_other_platforms() -> None:
    lock = (
        "psycopg==0.1 \\\n    --hash=sha256:00\n    # via -r requirements.in\nno-such-library==2.0\n"
        "tomli==1.0 ; python_full_version < '3.2' \\\n    --hash=sha256:00\n"
    )
    asked, others = compare_with_lock(lock)
    assert asked == 2
    assert is_told(
        judge_libraries(asked, others), BAD, "psycopg 3.", "not 0.1", "no no-such-library", "requirements.txt"
    )


def test_a_port_taken_by_another_process_is_bad() -> None:
    assert is_told(judge_ports({}), OK)
    assert is_told(judge_ports({"MLFLOW_PORT": "MLFLOW_PORT: port 5001 is taken"}), BAD, "5001", "MLFLOW_PORT=…")


@pytest.mark.parametrize(
    ("free", "outcome"),
    [(FULL - 1, BAD), (FULL, WARN), (NEARLY_FULL - 1, WARN), (NEARLY_FULL, OK)],
)
def test_a_nearly_full_disk_is_a_warning_and_a_full_one_is_bad(free: int, outcome: str) -> None:
    assert is_told(judge_disk(Path("/state"), free, 10 * NEARLY_FULL), outcome, f"{free / 10**9:.1f} GB free", "/state")


def test_the_advice_on_disk_space_does_not_touch_the_archive() -> None:
    advice = judge_disk(Path("/state"), 0, 10 * NEARLY_FULL).advice
    assert "drops that are loaded" in advice
    assert "archive" not in advice


# --- the databases -----------------------------------------------------------------------------------------------


def test_a_postgres_that_is_too_old_is_bad() -> None:
    assert is_told(judge_server(180004), OK, "18.4")
    assert is_told(judge_server(140011), BAD, "14.11", "15 or newer")


def test_a_database_that_is_missing_is_bad() -> None:
    assert is_told(judge_databases({"churn", "airflow", "mlflow", "postgres"}), OK)
    assert is_told(judge_databases({"churn", "postgres"}), BAD, "airflow, mlflow", "make up")


def test_a_migration_that_was_not_applied_is_bad() -> None:
    assert is_told(judge_migrations([]), OK)
    assert is_told(judge_migrations(["0008_more"]), BAD, "0008_more", "make up")


def test_a_schema_that_is_not_that_of_the_installed_package_is_bad() -> None:
    assert is_told(judge_revision("mlflow", "b", "b"), OK, "b")
    assert is_told(judge_revision("mlflow", "a", "b"), BAD, "at a", "wants b")
    assert is_told(judge_revision("airflow", None, "b"), BAD, "at nothing")


# --- services and Airflow ----------------------------------------------------------------------------------------


def test_a_stopped_stack_is_a_warning_and_an_unready_one_is_bad() -> None:
    processes = {"mlflow": Process("mlflow", "app", "RUNNING", 1, 1, 0, "", Path("mlflow.log"))}
    assert is_told(judge_stack({}, [], "", "these ports"), WARN, "down", "make up")
    assert is_told(judge_stack(processes, [], "these ports", "these ports"), OK, "1, all ready")
    assert is_told(judge_stack(processes, ["mlflow"], "these ports", "these ports"), BAD, "mlflow", "make status")
    assert is_told(judge_stack(processes, [], "those ports", "these ports"), BAD, "those ports")


def test_an_unimportable_or_unknown_dag_is_bad_and_a_paused_one_is_a_warning() -> None:
    files = {"churn_train", "churn_landing"}
    both = dict.fromkeys(files, False)
    assert is_told(judge_dags(files, both, {}), OK, "2")
    broken = {"/dags/churn_train.py": "Traceback\n  line\nNameError: name 'x'\n"}
    assert is_told(judge_dags(files, both, broken), BAD, "churn_train.py: NameError: name 'x'")
    assert is_told(judge_dags(files, {"churn_train": False}, {}), BAD, "churn_landing")
    assert is_told(judge_dags(files, both | {"churn_train": True}, {}), WARN, "paused: churn_train")


def test_a_missing_or_resized_pool_is_bad() -> None:
    wanted = {"churn_gate": {"slots": 1}, "churn_training": {"slots": 1}}
    assert is_told(judge_pools(wanted, {"churn_gate": 1, "churn_training": 1, "default_pool": 128}), OK)
    assert is_told(judge_pools(wanted, {"churn_gate": 2}), BAD, "churn_gate has 2 slots, not 1", "no churn_training")


def test_a_connection_to_another_database_is_bad_without_passwords() -> None:
    assert is_told(judge_connection("postgresql://a:b@c/churn", "postgresql://a:b@c/churn"), OK)
    for given in ("postgresql://a:secret@there/churn", None):
        finding = judge_connection(given, "postgresql://a:secret@here/churn")
        assert is_told(finding, BAD, "make down")
        assert "secret" not in str(finding)


def test_a_missing_alert_connection_is_a_warning() -> None:
    assert is_told(judge_alerts(True), OK, "docs/operations.md says how to try it")
    assert is_told(judge_alerts(False), WARN, "churn_alerts", "docs/operations.md")


def test_a_redis_that_is_too_old_or_may_evict_features_is_bad() -> None:
    for policy in ("noeviction", "volatile-lru"):
        assert online_store.judge_server({"redis_version": "7.0.15", "maxmemory_policy": policy}) is None
    for version, policy, words in (("6.2.14", "noeviction", "7 or newer"), ("7.0.15", "allkeys-lru", "noeviction")):
        finding = online_store.judge_server({"redis_version": version, "maxmemory_policy": policy})
        assert finding is not None
        assert is_told(finding, BAD, version, words)


def test_a_queue_without_a_worker_is_bad() -> None:
    assert is_told(workers.judge_workers({"default": 2, "training": 1}), OK, "2 for default, 1 for training")
    assert is_told(workers.judge_workers({"default": 1}), BAD, "no worker consumes training", "docs/cluster.md")


# --- the pipeline ------------------------------------------------------------------------------------------------


def states(*some: dict[str, object]) -> list[AsOfState]:
    unknown: dict[str, object] = dict.fromkeys(AsOfState.__dataclass_fields__)
    return [AsOfState(**{**unknown, **each}) for each in some]  # type: ignore[arg-type]


def test_freshness_shows_the_newest_date_of_each_step() -> None:
    january = {"as_of": JANUARY, "revision": 1, "has_snapshot": True, "decision": 3}
    finding = judge_freshness(states({"as_of": FEBRUARY, "revision": 1}, january), "2024-01-31", None, [], NOW)
    assert is_told(finding, OK, "drop 2024-02-29, snapshot 2024-01-31, served 2024-01-31, decided on 2024-01-31")
    assert "the newest drop is 32 days old" in finding.found
    assert is_told(judge_freshness([], "-", None, [], NOW), OK, "no drop is loaded yet")


def test_a_drop_without_a_decision_is_under_way_at_first_and_bad_after_the_deadline() -> None:
    early = Late(JANUARY, "snapshotted", NOW - GRACE + timedelta(minutes=1))
    overdue = Late(FEBRUARY, "landed", NOW - GRACE - timedelta(days=30))
    assert is_told(judge_freshness([], "-", None, [early], NOW), WARN, "1 drops are under way")
    finding = judge_freshness([], "-", None, [early, overdue], NOW)
    assert is_told(finding, BAD, "landed since 2024-03-02", "2024-02-29", "churn_landing")
    assert "2024-01-31" not in finding.advice


def test_a_missing_promised_drop_is_bad() -> None:
    finding = judge_freshness([], "-", "the newest drop is of 2024-01-31, and one is expected", [], NOW)
    assert is_told(finding, BAD, "one is expected")


def test_a_held_drop_is_bad_with_its_findings() -> None:
    held = Hold(FEBRUARY, NOW, "content", "verdict", (JANUARY, "digest"), ["the fee is in cents"])
    assert is_told(judge_held([], Path("landing")), OK, "none")
    words = ("2024-02-29 is held", "compared with 2024-01-31", "the fee is in cents", "landing/<AS_OF>/_ACCEPT")
    assert is_told(judge_held([held], Path("landing")), BAD, *words)


def a_run() -> Run:
    known = dict.fromkeys(Run.__dataclass_fields__) | {"as_of": JANUARY, "revision": 2, "rows": 7043}
    return Run(**(known | {"model_version": 3}))  # type: ignore[arg-type]


def test_a_list_whose_files_are_missing_is_bad_and_an_outdated_one_a_warning() -> None:
    assert is_told(judge_list(a_run(), True, None), OK, "2024-01-31, revision 2: 7043 customers, scored by version 3")
    assert is_told(judge_list(a_run(), False, None), WARN, "built again since", "make trigger AS_OF=2024-01-31")
    trouble = "/scores/as_of=2024-01-31/revision=2: top.csv: missing or truncated"
    assert is_told(judge_list(a_run(), True, trouble), BAD, trouble, "make trigger AS_OF=2024-01-31", "SCORES_URL")


def test_an_unscored_date_is_a_warning_with_its_reason() -> None:
    assert is_told(judge_unscored(JANUARY, None), WARN, "2024-01-31 is not scored", "make trigger AS_OF=2024-01-31")
    assert is_told(judge_unscored(JANUARY, "Production is empty"), WARN, "is not scored: Production is empty")


def production(version: int, **tags: str) -> ModelVersion:
    return ModelVersion(version, "", "Production", tags)


def a_verdict(verdict: str) -> Standing:
    known = dict.fromkeys(Standing.__dataclass_fields__) | {"model_version": 2, "as_of": FEBRUARY, "arm": "all"}
    said = {"verdict": verdict, "reason": "AUC 0.514 (0.481 to 0.547)", "rows": 1406, "basis": "gate and audit cohort"}
    return Standing(**(known | said))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("verdict", "outcome", "words"),
    [
        ("as promised", OK, []),
        ("worse than promised", WARN, ["make rollback", "page Health"]),
        ("no better than chance", BAD, ["do not use its list", "make rollback"]),
    ],
)
def test_an_alarm_about_production_has_advice_and_is_bad_where_it_is_no_better_than_chance(
    verdict: str, outcome: str, words: list[str]
) -> None:
    said = f"version 2 on 2024-02-29: {verdict}: AUC 0.514 (0.481 to 0.547) (1406 customers of the gate and audit"
    assert is_told(judge_verdict(production(2), a_verdict(verdict)), outcome, said, *words)


def test_a_version_that_is_not_judged_yet_is_no_fault() -> None:
    assert is_told(judge_verdict(production(3), None), OK, "version 3 is not judged yet")
    assert is_told(judge_verdict(None, None), OK, "no version is in Production")


def test_a_column_that_drifts_is_a_warning() -> None:
    assert is_told(judge_drift(None, []), OK, "no AS_OF was compared yet")
    assert is_told(judge_drift(JANUARY, []), OK, "no column of 2024-01-31 drifted")
    row = SimpleNamespace(column_name="skips_7d")
    assert is_told(judge_drift(JANUARY, [row, row]), WARN, "skips_7d of 2024-01-31 drifted", "docs/drift.md")


def test_labels_that_nothing_judged_are_a_warning_with_the_command_that_judges_them() -> None:
    assert is_told(judge_unjudged([]), OK, "every list with labels is judged")
    assert is_told(judge_unjudged([JANUARY, FEBRUARY]), WARN, "2024-01-31, 2024-02-29", "make trigger AS_OF=2024-01-31")


def test_a_request_to_erase_customers_that_does_not_end_is_a_warning_with_its_name_and_what_to_do() -> None:
    assert is_told(judge_erasures([]), OK, "no request is overdue")
    found = judge_erasures([Unended("0123abcd", NOW)])
    assert is_told(found, WARN, f"0123abcd of {NOW:%Y-%m-%d}", "clear the red task", "make erase again")


def test_no_version_in_production_and_a_superseded_one_are_warnings() -> None:
    assert is_told(judge_production(production(2, as_of="2024-01-31")), OK, "version 2, trained as of 2024-01-31")
    assert is_told(judge_production(None), WARN, "no version")
    old = production(1, superseded="January changed")
    assert is_told(judge_production(old), WARN, "an unknown date", "superseded", "January changed")


def test_a_version_in_production_that_learned_from_erased_customers_is_a_warning_with_a_date() -> None:
    found = judge_production(production(2, as_of="2024-01-31", trained_on_erased="2024-03-01"))
    assert is_told(found, WARN, "erased on 2024-03-01: replace by 2024-03-31", "run the newest AS_OF again")
    both = judge_production(production(2, superseded="January changed", trained_on_erased="2024-03-01"))
    assert is_told(both, WARN, "is superseded; learned from customers", "January changed")


def test_an_odd_registry_is_a_warning_and_bad_where_serving_cannot_load_production() -> None:
    assert is_told(judge_registry([]), OK)
    alias = Oddity("alias champion names version 3", "set the alias to version 4")
    assert is_told(judge_registry([alias]), WARN, "champion names version 3", "set the alias")
    refused = Oddity("version 4 cannot be served", "threshold '0,5'", is_refused=True)
    assert is_told(judge_registry([alias, refused]), BAD, "champion", "version 4 cannot be served", "'0,5'")


def test_serving_that_cannot_load_a_newer_version_is_a_warning() -> None:
    ready = {"model": {"version": 2}, "trouble": "its threshold is '0,5'"}
    assert is_told(judge_serving(200, ready, production(2)), WARN, "version 2", "'0,5'")


def test_serving_is_ready_with_the_version_in_production() -> None:
    ready = {"model": {"version": 2}, "trouble": None}
    assert is_told(judge_serving(200, ready, production(2)), OK, "version 2")
    assert is_told(judge_serving(200, {**ready, "trouble": "no golden rows"}, production(3)), WARN, "no golden rows")
    assert is_told(judge_serving(200, ready, production(3)), WARN, "not 3", "look again")
    assert is_told(judge_serving(503, {"detail": "no features"}, production(2)), BAD, "no features")
    assert is_told(judge_serving(503, {"detail": "no model"}, None), WARN, "no model")
    assert is_told(judge_serving(None, {"detail": "refused"}, None), BAD, "refused")


# --- without a stack ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [PermissionError(13, "denied", "/landing"), requests.ConnectionError("/landing")])
def test_findings_before_an_error_are_kept(error: Exception) -> None:
    def checks() -> Iterator[Finding]:
        yield ok("first", "well")
        raise error

    first, last = asking("pipeline", checks())
    assert first == ok("first", "well")
    assert is_told(last, BAD, "check failed", "/landing")


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_with_the_stack_down_a_taken_port_is_reported_with_its_process(tmp_path: Path, taken: int) -> None:
    settings = load_settings({"CHURN_HOME": str(tmp_path / "state"), "MLFLOW_PORT": str(taken)})
    text, healthy = diagnosis.report(settings)
    assert not healthy
    assert f"port {taken} of 127.0.0.1 is taken by pid {os.getpid()}" in text
    assert "the stack is down; checks that need it were skipped" in text
    assert not settings.home.exists()
