"""What operators rely on: the line of waiting requests, logs with request ids."""

import json
import logging
import threading

import mlflow
import pytest

from serving import state
from serving.app import create_app
from serving.logs import JsonFormatter
from serving.metrics import SteadyGauge
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


def test_a_steady_gauge_that_two_threads_set_shows_what_it_was_set_to_last():
    gauge, goes_on = Shown(), threading.Event()
    gauge.waits_for = goes_on
    steady = SteadyGauge(gauge)
    first = threading.Thread(target=steady.set, args=(1,))
    first.start()
    gauge.is_set.wait()
    gauge.waits_for = None
    second = threading.Thread(target=steady.set, args=(2,))
    second.start()
    # Time for it to pass the first one, if it can.
    second.join(0.2)
    goes_on.set()
    first.join()
    second.join()
    assert gauge.shown == 2


class Shown:
    """A gauge that waits, where it is told to, before it shows what it is set to."""

    def __init__(self):
        self.shown, self.waits_for, self.is_set = 0, None, threading.Event()

    def set(self, value):
        waits_for = self.waits_for
        self.is_set.set()
        if waits_for:
            waits_for.wait()
        self.shown = value


@pytest.mark.parametrize(("waiting", "status"), [(3, 422), (4, 503)])
def test_a_request_that_finds_more_than_the_limit_waiting_is_refused_at_once(app, waiting, status):
    state.of(app).line.watch(lambda path, query: waiting)
    answer = app.test_client().post("/predict", json={})
    assert answer.status_code == status
    if status == 503:
        assert (answer.get_json(force=True)["type"], answer.headers["Retry-After"]) == ("overloaded", "1")


@pytest.mark.parametrize("path", ["/health", "/metrics"])
def test_operators_are_answered_whoever_waits(app, path):
    state.of(app).line.watch(lambda path, query: 100)
    assert app.test_client().get(path).status_code == 200


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
