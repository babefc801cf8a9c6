"""On a Postgres with a password, that password and Airflow's secrets appear only in their own files."""

import json
import shutil
from pathlib import Path

import psutil
import psycopg
import pytest
import requests
from psycopg import sql

from tests.e2e.celery_chain import PASSWORD
from tests.e2e.stack import JANUARY, Stack
from tests.patience import SLOWNESS, wait_for

# The stack is started with workers.
pytestmark = pytest.mark.timeout(1200)


@pytest.fixture(scope="module")
def stack(disturbed) -> Stack:
    """The stack on Celery, whose Postgres has a password."""
    return disturbed.stack


@pytest.fixture(scope="module")
def backup(homes) -> Path:
    """Where `outputs` backs the stack up."""
    return homes / "celery-backup"


@pytest.fixture(scope="module", autouse=True)
def outputs(stack, disturbed, backup) -> list[str]:
    """What the commands print, and the alerts say, also of a date whose drop is rejected."""
    run = stack.make("run", f"DROPS={stack.drops}")
    assert run.returncode == 0, run.stdout + run.stderr
    broken = Path(stack.settings["LANDING_DIR"]) / "2024-02-01"
    shutil.copytree(stack.drops / JANUARY, broken)
    (broken / "manifest.json").unlink(missing_ok=True)
    (broken / "users.csv").write_text("user_id\n")
    failed = stack.make("trigger", "AS_OF=2024-02-01")
    assert failed.returncode != 0
    others = [stack.make(*each) for each in (("status",), ("doctor",), ("backup", f"TO={backup}"))]
    # Commands cannot read the logs of workers that have no log server: the alert has the error.
    wait_for(lambda: any("rejected" in each["message"] for each in disturbed.alerts.received), seconds=120)
    alerts = [json.dumps(each) for each in disturbed.alerts.received]
    return [each.stdout + each.stderr for each in (run, failed, *others)] + alerts


@pytest.fixture(scope="module")
def secrets(stack) -> list[str]:
    """The password, and Airflow's signing and encryption keys."""
    own = json.loads((Path(stack.settings["CHURN_HOME"]) / "secrets.json").read_text())
    return [PASSWORD, *own.values()]


def holding(secrets: list[str], text: str | bytes) -> bool:
    data = text.encode() if isinstance(text, str) else text
    return any(secret.encode() in data for secret in secrets)


def test_secrets_are_in_no_file_but_their_own(stack, disturbed, secrets):
    home = Path(stack.settings["CHURN_HOME"])
    files = [path for directory in (home, disturbed.directory) for path in directory.rglob("*") if path.is_file()]
    assert any("task_id=train" in str(path) for path in files), "there are logs of tasks"
    assert any("lineage.json" in path.name for path in files), "there are artifacts"
    assert [path for path in files if holding(secrets, path.read_bytes())] == [home / "secrets.json"]
    assert (home / "secrets.json").stat().st_mode & 0o777 == 0o600


def test_other_users_of_the_machine_cannot_read_customer_data(stack):
    home = Path(stack.settings["CHURN_HOME"])
    closed = {path.name for path in home.iterdir() if path.is_dir() and not path.stat().st_mode & 0o077}
    assert {"landing", "archive", "logs", "airflow", "mlflow"} <= closed


@pytest.mark.parametrize("database", ["churn", "airflow", "mlflow"])
def test_secrets_are_in_no_table(stack, secrets, database):
    """Includes Airflow's rendered templates, XCom and audit log, and MLflow's parameters, tags and metrics."""
    server = stack.settings["CHURN_DATABASE_URL"].replace("/churn?", f"/{database}?")
    with psycopg.connect(server) as connection:
        assert connection.info.dbname == database
        tables = connection.execute(
            "SELECT schemaname, tablename FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
        ).fetchall()
        assert len(tables) > 10
        found = []
        for table in tables:
            with connection.cursor().copy(
                sql.SQL("COPY (SELECT * FROM {}) TO STDOUT").format(sql.Identifier(*table))
            ) as copy:
                if holding(secrets, b"".join(copy)):
                    found.append(table)
    assert found == []


def test_secrets_are_in_no_command_line(stack, disturbed, secrets):
    supervisor = psutil.Process(int((Path(stack.settings["CHURN_HOME"]) / "supervisord.pid").read_text()))
    parents = [supervisor, psutil.Process(disturbed.other.process.pid)]
    family = [*parents, *(child for parent in parents for child in parent.children(recursive=True))]
    lines = [" ".join(process.cmdline()) for process in family]
    assert any("airflow" in line and "celery" not in line for line in lines)
    assert any("celery worker" in line for line in lines)
    assert [line for line in lines if holding(secrets, line)] == []


def test_secrets_are_in_no_response_of_serving_or_airflow(stack, secrets):
    url = stack.settings["SERVING_URL"]
    paths = ("/", "/health/ready", "/metrics", "/openapi.json", "/features/nobody")
    answers = [requests.get(url + path, timeout=10 * SLOWNESS).text for path in paths]
    answers += [json.dumps(stack.airflow("GET", path)) for path in ("/connections", "/variables", "/plugins")]
    run = next(run for run in stack.runs("churn_train"))
    tasks = f"/dags/churn_train/dagRuns/{run['dag_run_id']}/taskInstances"
    answers.append(json.dumps(stack.airflow("GET", tasks)))
    assert [answer[:200] for answer in answers if holding(secrets, answer)] == []


def test_secrets_are_in_no_response_of_mlflow(stack, secrets):
    url = f"{stack.settings['MLFLOW_URL']}/api/2.0/mlflow"
    experiment = stack.client().get_experiment_by_name("streamflow").experiment_id
    asked = [
        requests.post(f"{url}/experiments/search", json={"max_results": 100}, timeout=30 * SLOWNESS),
        requests.post(f"{url}/runs/search", json={"experiment_ids": [experiment]}, timeout=30 * SLOWNESS),
        requests.get(f"{url}/registered-models/search", timeout=30 * SLOWNESS),
        requests.get(f"{url}/model-versions/search", timeout=30 * SLOWNESS),
        requests.get(f"{url}/experiments/get", params={"experiment_id": "999999"}, timeout=30 * SLOWNESS),
    ]
    assert [each.status_code for each in asked] == [200, 200, 200, 200, 404]
    assert [each.text[:200] for each in asked if holding(secrets, each.text)] == []


def test_secrets_are_in_no_response_of_the_pages_in_airflow(stack, secrets):
    url = stack.settings["AIRFLOW_URL"]
    signed_in = {"_token": requests.get(f"{url}/auth/token", timeout=10 * SLOWNESS).json()["access_token"]}
    paths = ("/", "/api/mark", "/api/board", "/api/decisions/1", "/api/decisions/1/files", "/risk", "/api/scores")
    asked = [requests.get(f"{url}/gate-board{path}", cookies=signed_in, timeout=60 * SLOWNESS) for path in paths]
    assert [each.status_code for each in asked] == [200] * len(paths)
    assert [each.text[:200] for each in asked if holding(secrets, each.text)] == []


def test_a_backup_has_secrets_only_in_secrets_json(backup, secrets):
    # Airflow encrypts the address of its connection: the dumps are looked at as what is in the tables, above.
    files = [path for path in backup.rglob("*") if path.is_file() and path.suffix != ".dump"]
    assert [path for path in files if holding(secrets, path.read_bytes())] == [backup / "secrets.json"]
    assert (backup / "secrets.json").stat().st_mode & 0o777 == 0o600


def test_secrets_are_in_no_output_of_commands_and_in_no_alert(stack, outputs, secrets):
    assert "rejected" in "".join(outputs)
    assert [text for text in outputs if holding(secrets, text)] == []
