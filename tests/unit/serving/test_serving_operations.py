"""What operators rely on: load shedding, readiness, logs with request ids."""

import json
import logging
from contextlib import ExitStack

import mlflow
import pytest

from serving import state
from serving.app import create_app
from serving.health import workers_behind
from serving.logs import JsonFormatter
from serving.settings import Settings


@pytest.fixture
def app():
    return create_app(Settings("postgresql://nobody@127.0.0.1:1/churn", "http://127.0.0.1:1", max_waiting=3))


def test_putting_the_service_together_opens_no_registry_that_is_a_database(tmp_path):
    registry = f"sqlite:///{tmp_path}/mlflow.db"
    usual = mlflow.get_tracking_uri()
    try:
        create_app(Settings("postgresql://nobody@127.0.0.1:1/churn", registry))
    finally:
        mlflow.set_tracking_uri(usual)
    # SQLite would make the file when it is opened.
    assert not list(tmp_path.iterdir())


@pytest.fixture
def under_way(app):
    """Have so many requests for an address under way."""
    with ExitStack() as contexts:

        def begin(count, path):
            for _ in range(count):
                contexts.enter_context(app.test_request_context(path, method="POST"))
                state.of(app).load.enter()

        yield begin


@pytest.mark.parametrize("path", ["/predict", "/predict/batch", "/predict?explain=true"])
def test_one_request_above_the_limit_is_refused_at_once(app, under_way, path):
    client = app.test_client()
    under_way(2, path)
    assert client.post(path, json={}).status_code == 422
    under_way(1, path)
    answer = client.post(path, json={})
    assert (answer.status_code, answer.get_json(force=True)["type"]) == (503, "overloaded")
    assert answer.headers["Retry-After"] == "1"


def test_single_predictions_and_other_requests_have_a_limit_each(app, under_way):
    under_way(3, "/predict/batch")
    assert app.test_client().post("/predict", json={}).status_code == 422


def test_a_request_that_ended_counts_no_more_also_one_that_was_refused(app, under_way):
    client = app.test_client()
    for _ in range(10):
        assert client.post("/predict", json={}).status_code == 422
    with ExitStack() as contexts:
        for _ in range(3):
            contexts.enter_context(app.test_request_context("/predict", method="POST"))
            state.of(app).load.enter()
        assert [client.post("/predict", json={}).status_code for _ in range(5)] == [503] * 5
    assert client.post("/predict", json={}).status_code == 422


@pytest.mark.parametrize("path", ["/health", "/metrics"])
def test_operators_are_answered_however_many_requests_are_under_way(app, under_way, path):
    under_way(3, "/predict")
    under_way(3, "/predict/batch")
    assert app.test_client().get(path).status_code == 200


@pytest.mark.parametrize(
    ("versions", "behind"),
    [([], 2), ([7.0], 1), ([0.0], 1), ([7.0, 0.0], 1), ([0.0, 0.0], 0), ([7.0, 8.0], 0), ([7.0, 8.0, 8.0], 0)],
)
def test_a_worker_is_behind_that_is_not_there_or_has_no_model_though_another_has(versions, behind):
    assert workers_behind(2, versions) == behind


def test_a_request_keeps_the_id_that_it_came_with_and_gets_one_if_it_is_none(app):
    client = app.test_client()
    assert client.get("/health", headers={"X-Request-ID": "abc-1.2"}).headers["X-Request-ID"] == "abc-1.2"
    made = [
        client.get("/health", headers={"X-Request-ID": bad}).headers["X-Request-ID"] for bad in ("", "a b", "x" * 65)
    ]
    assert len({*made, ""}) == 4
    assert all(len(each) == 32 for each in made)


def test_a_log_line_is_json_with_the_request_that_it_belongs_to(app):
    record = logging.LogRecord("serving.model", logging.WARNING, "", 0, 'version %d, \n"quoted"', (3,), None)
    with app.test_request_context(headers={"X-Request-ID": "abc"}):
        line = JsonFormatter().format(record)
    assert "\n" not in line
    found = json.loads(line)
    assert (found["level"], found["logger"], found["request_id"]) == ("WARNING", "serving.model", "abc")
    assert found["message"] == 'version 3, \n"quoted"'
