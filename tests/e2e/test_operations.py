"""Operations on the running stack: alerts, the deadline, doctor."""

import shutil
from datetime import date
from pathlib import Path
from urllib.parse import unquote, urlsplit

import psycopg
import pytest

from tests.e2e.stack import MARCH, Stack
from tests.patience import wait_for
from tests.webhook import WORD, Webhook

DAMAGED = date(2023, 12, 15)
"""Before all others, so that it is compared with none."""


def told_of(alerts: Webhook, title: str) -> list[dict]:
    return [each for each in alerts.received if each["title"] == title]


@pytest.fixture(scope="module")
def damaged(stack) -> str:
    """The output of `make trigger` for a drop with an invalid value."""
    drop = Path(stack.settings["LANDING_DIR"]) / str(DAMAGED)
    stack.land_with_another_value(stack.drops / MARCH, DAMAGED, skips=1)
    usage = drop / "usage_agg_30d.csv"
    header, first, *rest = usage.read_text().splitlines()
    usage.write_text("\n".join([header, first.rsplit(",", 1)[0] + ",many", *rest]) + "\n")
    done = stack.make("trigger", f"AS_OF={DAMAGED}")
    shutil.rmtree(drop)
    assert done.returncode != 0
    return done.stdout


def test_a_failed_run_alerts_with_error_advice_and_link(stack, alerts, damaged):
    title = f"churn_snapshot failed for AS_OF {DAMAGED}"
    wait_for(lambda: told_of(alerts, title), seconds=60, or_say=lambda: stack.log("airflow-dag-processor"))
    told = told_of(alerts, title)[0]
    error, advice, run, _ = told["message"].splitlines()
    assert error.startswith("validate: DropRejected: ")
    assert "usage_agg_30d.csv, line 2, column rebuffer_events_7d: expected a whole number >= 0" in error
    assert "many" not in error
    assert advice.startswith("What to do: `validate` is red: ")
    link = urlsplit(run.removeprefix("Run: "))
    assert f"http://{link.netloc}" == stack.settings["AIRFLOW_URL"]
    _, _, dag, _, run_id = unquote(link.path).split("/")
    (failed,) = [each for each in stack.runs(dag) if each["dag_run_id"] == run_id]
    assert failed["state"] == "failed"


def test_a_missed_deadline_alerts(stack, alerts):
    run = stack.airflow(
        "POST", "/dags/churn_deadline/dagRuns", json={"logical_date": None, "conf": {"drop_every_days": 1}}
    )
    path = f"/dags/churn_deadline/dagRuns/{run['dag_run_id']}"
    wait_for(lambda: stack.airflow("GET", path)["state"] == "failed", seconds=120)
    wait_for(lambda: told_of(alerts, "churn_deadline failed"), seconds=60)
    told = told_of(alerts, "churn_deadline failed")[0]
    assert "DeadlineMissed: " in told["message"]
    assert "and one is expected every 1 days: ask whoever sends them" in told["message"]


def test_no_run_alerts_twice(stack, alerts, damaged):
    # The manual's way to try alerts. It is told after what was red before, of which nothing more can come then.
    conf = {"version": 999999, "why": "to try the alerts"}
    stack.airflow("POST", "/dags/churn_rollback/dagRuns", json={"logical_date": None, "conf": conf})
    wait_for(lambda: told_of(alerts, "churn_rollback failed"), seconds=120)
    runs = [line for each in alerts.received for line in each["message"].splitlines() if line.startswith("Run: ")]
    assert len(runs) == len(alerts.received) == len(set(runs))


def test_every_drop_met_its_deadline(stack):
    run = stack.airflow("POST", "/dags/churn_deadline/dagRuns", json={"logical_date": None})
    path = f"/dags/churn_deadline/dagRuns/{run['dag_run_id']}"
    wait_for(lambda: stack.airflow("GET", path)["state"] in ("success", "failed"), seconds=120)
    assert stack.airflow("GET", path)["state"] == "success"


def test_no_log_contains_the_password_of_the_alert_channel(stack, alerts, damaged):
    wait_for(lambda: alerts.received, seconds=60)
    home = Path(stack.settings["CHURN_HOME"])
    logs = [path for directory in ("logs", "airflow/logs") for path in (home / directory).rglob("*") if path.is_file()]
    assert any("dag_processor" in str(path) for path in logs)
    assert [str(path) for path in logs if WORD.encode() in path.read_bytes()] == []


def lines_of(doctor: str) -> dict[str, str]:
    """Return the lines of doctor's table by check."""
    return {line.split("  ")[0]: line for line in doctor.splitlines()}


def test_doctor_reports_a_running_stack_as_healthy(stack):
    wait_for(lambda: not [each for each in stack.runs() if each["state"] in ("queued", "running")], seconds=120)
    done = stack.make("doctor")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("check ")
    assert "0 bad, " in done.stdout
    lines = lines_of(done.stdout)
    for check in (
        "Python", "libraries", "ports", "disk", "services", "Postgres", "databases", "schema of churn",
        "schema of airflow", "schema of mlflow", "DAGs", "pools", "connection churn_postgres", "alerts", "freshness",
        "erasures", "serving", "list of scores", "verdict", "labels of lists", "drift",
    ):  # fmt: skip
        assert " ok " in lines[check], done.stdout
    tags = stack.client().get_model_version("streamflow_churn", str(stack.production())).tags
    assert (" warn " if "superseded" in tags else " ok ") in lines["Production"], done.stdout
    assert f"drop {newest(stack)}, snapshot {newest(stack)}, served {newest(stack)}" in lines["freshness"]


def test_with_redis_down_doctor_says_so_and_runs_the_other_checks(stack):
    done = stack.make("doctor", "CHURN_REDIS_URL=redis://127.0.0.1:1/0")
    assert done.returncode != 0
    lines = lines_of(done.stdout)
    assert " bad " in lines["online store"], done.stdout
    assert "run with other settings" in lines["services"]
    assert f"snapshot {newest(stack)}, served unknown" in lines["freshness"]
    assert " ok " in lines["serving"]


def test_status_reports_an_online_store_other_than_the_running_one(stack):
    assert "it runs with other settings:" in stack.make("status", "CHURN_REDIS_URL=redis://127.0.0.1:1/0").stdout
    assert "other settings" not in stack.make("status").stdout


def test_doctor_names_each_fault_and_its_fix(stack):
    pool = {"pool": "churn_training", "include_deferred": False}
    with psycopg.connect(stack.settings["CHURN_DATABASE_URL"], autocommit=True) as connection:
        row = connection.execute("DELETE FROM churn_migrations WHERE name LIKE '0007%' RETURNING *").fetchone()
        try:
            stack.airflow("PATCH", "/pools/churn_training", json={**pool, "slots": 2})
            stack.airflow("PATCH", "/dags/churn_train", json={"is_paused": True})
            done = stack.make("doctor")
        finally:
            connection.execute("INSERT INTO churn_migrations VALUES (%s, %s, %s)", row)
            stack.airflow("PATCH", "/pools/churn_training", json={**pool, "slots": 1})
            stack.airflow("PATCH", "/dags/churn_train", json={"is_paused": False})
    assert done.returncode != 0
    for said in (
        "1 migrations are missing: 0007_predictions",
        "schema of churn: make up applies them",
        "churn_training has 2 slots, not 1",
        "pools: run make down and make up",
        "paused: churn_train",
    ):
        assert said in done.stdout, done.stdout


def newest(stack: Stack) -> date:
    return stack.query("SELECT max(as_of) FROM raw.drops")[0][0]
