"""The gate board as an application, with and without its sources; needs no scheduler and no browser."""

import subprocess
import sys
import threading

import pytest

from tests.board_decisions import a_decision, append_decisions
from tests.conftest import REPOSITORY

HEAVY = ("mlflow", "pandas", "psycopg", "gate_board.app", "airflow.api_fastapi.core_api.security")


@pytest.fixture
def client(database_url, mlflow_uri, monkeypatch):
    """The application over a real database and a real MLflow, for a signed-in user."""
    from airflow.api_fastapi.core_api.security import get_user
    from fastapi.testclient import TestClient

    # As Airflow does with its folder of plugins.
    monkeypatch.syspath_prepend(REPOSITORY / "plugins")
    monkeypatch.setenv("AIRFLOW_CONN_CHURN_POSTGRES", database_url)
    # Set here as the board would, so that it is over with the test.
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")
    from gate_board import sources
    from gate_board.app import make_app

    # Every answer is of now, and complete.
    monkeypatch.setattr(sources, "KEEP_SECONDS", -1.0)
    monkeypatch.setattr(sources, "PATIENCE", 60.0)
    app = make_app()
    app.dependency_overrides[get_user] = lambda: None
    return TestClient(app)


def test_only_the_api_server_imports_the_gate_board():
    code = (
        "import sys; from airflow import plugins_manager as p; plugins = p._get_plugins(); "
        "print(sorted(each.name for each in plugins[0]), plugins[1], "
        f"[name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "['churn_board', 'churn_links'] {} []"


def test_before_the_first_decision_the_board_is_empty(client):
    board = client.get("/api/board").json()
    assert (board["decisions"], board["dates"], board["production"], board["registry_problem"]) == ([], [], None, None)


def test_the_board_names_by_when_production_is_replaced_after_an_erasure(client):
    from mlflow import MlflowClient

    registry = MlflowClient()
    registry.create_registered_model("streamflow_churn")
    tags = {"as_of": "2024-01-31", "trained_on_erased": "2024-03-01"}
    registry.create_model_version("streamflow_churn", "/none", tags=tags)
    registry.transition_model_version_stage("streamflow_churn", "1", "Production")
    shown = client.get("/api/board").json()["production"]
    assert shown["erased"] == "learned from customers who were erased on 2024-03-01: replace by 2024-03-31"


def test_the_polled_mark_is_small_and_equals_the_boards(client, database_url):
    append_decisions(database_url, [a_decision(0)])
    answer = client.get("/api/mark")
    assert answer.json()["mark"] == client.get("/api/board").json()["mark"]
    assert len(answer.content) < 100


def test_an_unreachable_database_is_a_503(client, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_CHURN_POSTGRES", "postgresql://nobody@127.0.0.1:1/churn")
    for path in ("/api/mark", "/api/board", "/api/decisions/1"):
        answer = client.get(path)
        assert answer.status_code == 503
        assert "the database `churn` cannot be read" in answer.json()["detail"]


def test_a_missing_connection_is_named(client, monkeypatch):
    monkeypatch.delenv("AIRFLOW_CONN_CHURN_POSTGRES")
    from airflow.models import connection as connections

    def not_found(_cls, name):
        raise connections.AirflowNotFoundException(name)

    # Airflow's own database, which would be asked next, is not part of these tests.
    monkeypatch.setattr(connections.Connection, "get_connection_from_secrets", classmethod(not_found))
    answer = client.get("/api/mark")
    assert (answer.status_code, "`churn_postgres`" in answer.json()["detail"]) == (503, True)


def test_without_mlflow_the_decisions_are_shown_with_its_error(client, database_url, monkeypatch):
    import mlflow

    (decision,) = append_decisions(database_url, [a_decision(0)])
    mlflow.set_tracking_uri("http://127.0.0.1:1")
    mlflow.set_registry_uri("http://127.0.0.1:1")
    board = client.get("/api/board").json()
    assert "MLflow cannot be read" in board["registry_problem"]
    assert [each["id"] for each in board["decisions"]] == [decision]
    files = client.get(f"/api/decisions/{decision}/files").json()
    assert "MLflow cannot list the pictures" in files["problem"]
    assert client.get(f"/api/decisions/{decision}/files/report.html").status_code == 503


def test_a_slow_mlflow_does_not_delay_the_page(client, monkeypatch):
    from gate_board import sources

    answer = threading.Event()
    slow = sources._Kept(lambda: answer.wait(60) and "answered", "nothing yet")
    monkeypatch.setattr(sources, "PATIENCE", 0.01)
    monkeypatch.setattr(sources, "registry", slow)
    assert client.get("/api/board").json()["registry_problem"] == "nothing yet"
    answer.set()
    monkeypatch.setattr(sources, "PATIENCE", 60.0)
    assert client.get("/api/board").json()["registry_problem"] == "answered"


def test_an_unreachable_serving_api_is_shown_and_an_unset_one_is_not(client, monkeypatch):
    monkeypatch.delenv("SERVING_URL", raising=False)
    assert client.get("/api/board").json()["serving"] is None
    monkeypatch.setenv("SERVING_URL", "http://127.0.0.1:1")
    serving = client.get("/api/board").json()["serving"]
    assert (serving["ready"], "does not answer" in serving["detail"]) == (False, True)


def test_the_internal_address_of_serving_is_preferred(client, monkeypatch):
    monkeypatch.setenv("SERVING_URL", "http://of-browsers.invalid")
    monkeypatch.setenv("SERVING_INTERNAL_URL", "http://between-services.invalid")
    assert "between-services.invalid" in client.get("/api/board").json()["serving"]["detail"]


@pytest.mark.parametrize("path", ["/api/decisions/1", "/api/decisions/99999999999999999999", "/static/board.py"])
def test_an_unknown_path_is_404(client, path):
    assert client.get(path).status_code == 404


def test_only_report_files_are_served_and_they_run_no_script(client, database_url):
    import mlflow
    from mlflow import MlflowClient

    with mlflow.start_run() as run:
        pass
    made = [a_decision(0, run_id=run.info.run_id), a_decision(1, run_id=run.info.run_id, report={"sets_aside": 1})]
    decision, aside = append_decisions(database_url, made)
    for name in ("report.html", "report.json"):
        MlflowClient().log_text(run.info.run_id, "content", f"decisions/{decision}/{name}")
    files = f"/api/decisions/{decision}/files"
    assert client.get(files).json() == {"files": ["report.html"], "problem": None}
    answer = client.get(f"{files}/report.html")
    assert (answer.text, "sandbox" in answer.headers["content-security-policy"]) == ("content", True)
    for path in ("report.json", "pictures/..%2Freport.json", "other.html"):
        assert client.get(f"{files}/{path}").status_code == 404
    # One that was set aside by a person has its pictures still, and the other shows them.
    assert client.get(f"/api/decisions/{aside}/files/report.html").text == "content"
