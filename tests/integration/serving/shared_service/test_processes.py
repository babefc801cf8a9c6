"""The service as gunicorn runs it: what it outlives, and how it ends."""

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from http.client import HTTPConnection

import psutil
import psycopg
import pytest
import requests

from serving.healthcheck import is_healthy
from tests.conftest import THOROUGH
from tests.integration.serving.shared_service.asking import (
    answers,
    eventually,
    free_port,
    gunicorn,
    log_of,
    metrics,
    registry_at,
)
from tests.patience import SLOWNESS


def test_a_process_started_without_registry_and_postgres_recovers_by_itself(
    children, database_url, in_production, somebody, postgres, tmp_path
):
    postgres.stop()
    serving, tracking = free_port(), free_port()
    url = f"http://127.0.0.1:{serving}"

    def ask():
        answer = requests.post(f"{url}/predict", json={"user_id": somebody}, timeout=30)
        return answer.status_code, answer.json()

    with gunicorn(children, database_url, serving, tracking, tmp_path):
        eventually(lambda: answers(f"{url}/health"))
        status, refused = ask()
        assert (status, refused["type"]) == (503, "model-unavailable")
        with registry_at(tracking):
            eventually(lambda: ask()[1].get("type") == "feature-store-unavailable")
            postgres.start()
            eventually(lambda: ask()[0] == 200)
        # The registry is away again; the service polled it meanwhile.
        eventually(lambda: sum(metrics(url, "churn_registry_failures_total")) > 0)
        status, answer = ask()
        assert (status, answer["model"]["version"]) == (200, in_production)


def test_postgres_may_stop_and_start_under_load_and_nothing_else_is_answered_meanwhile(
    children, database_url, in_production, customers, postgres, tmp_path
):
    times = 10 if THOROUGH else 2
    serving, tracking = free_port(), free_port()
    url, seen, over = f"http://127.0.0.1:{serving}", [], threading.Event()

    def ask(client):
        with requests.Session() as session:
            while not over.is_set():
                user_id = customers.index[(client + len(seen)) % len(customers)]
                answer = session.post(f"{url}/predict", json={"user_id": user_id}, timeout=30)
                seen.append((answer.status_code, answer.json().get("type")))

    def answered_since(count):
        return (200, None) in seen[count:]

    with gunicorn(children, database_url, serving, tracking, tmp_path) as running, registry_at(tracking):
        eventually(lambda: answers(f"{url}/health/ready"))
        workers = psutil.Process(running.pid).children()
        with ThreadPoolExecutor(8) as clients:
            asking = [clients.submit(ask, client) for client in range(8)]
            try:
                for _ in range(times):
                    eventually(partial(answered_since, len(seen)))
                    postgres.stop()
                    eventually(partial(lambda count: (503, "feature-store-unavailable") in seen[count:], len(seen)))
                    postgres.start()
                    eventually(partial(answered_since, len(seen)))
            finally:
                over.set()
            for each in asking:
                each.result()
        assert psutil.Process(running.pid).children() == workers
    assert set(seen) == {(200, None), (503, "feature-store-unavailable")}


@pytest.mark.parametrize("route", ["predict", "predict/batch"])
def test_above_the_limit_some_requests_are_answered_and_the_others_refused(
    children, database_url, in_production, customers, tmp_path, route
):
    serving, tracking = free_port(), free_port()
    url, seen, over = f"http://127.0.0.1:{serving}", set(), threading.Event()
    body = {"user_ids": [*customers.index] * 3} if route == "predict/batch" else {"user_id": customers.index[0]}

    def ask():
        with requests.Session() as session:
            while not over.is_set():
                answer = session.post(f"{url}/{route}", json=body, timeout=60)
                seen.add((answer.status_code, answer.json().get("type"), answer.headers.get("Retry-After")))

    with gunicorn(children, database_url, serving, tracking, tmp_path, SERVING_MAX_WAITING="1"), registry_at(tracking):
        eventually(lambda: answers(f"{url}/health/ready"))
        with ThreadPoolExecutor(8) as clients:
            asking = [clients.submit(ask) for _ in range(8)]
            try:
                eventually(lambda: len(seen) > 1)
            finally:
                over.set()
            for each in asking:
                each.result()
    assert seen == {(200, None, None), (503, "overloaded", "1")}


def test_the_metrics_tell_the_version_of_each_worker(children, database_url, in_production, tmp_path):
    serving, tracking = free_port(), free_port()
    url = f"http://127.0.0.1:{serving}"
    with gunicorn(children, database_url, serving, tracking, tmp_path, SERVING_WORKERS="2"), registry_at(tracking):
        eventually(lambda: answers(f"{url}/health/ready"))
        eventually(lambda: metrics(url, "churn_model_version{") == [in_production, in_production])


def test_the_metrics_tell_when_a_worker_was_last_answered_by_the_registry(
    children, database_url, in_production, tmp_path
):
    serving, tracking = free_port(), free_port()
    url, name = f"http://127.0.0.1:{serving}", "churn_registry_last_answer_timestamp_seconds{"
    started = time.time()
    with gunicorn(children, database_url, serving, tracking, tmp_path):
        eventually(lambda: answers(f"{url}/health"))
        eventually(lambda: sum(metrics(url, "churn_registry_failures_total")) > 0)
        # None yet: it is when the worker began to ask.
        (began,) = metrics(url, name)
        assert began > started
        eventually(lambda: sum(metrics(url, "churn_registry_failures_total")) > 1)
        assert metrics(url, name) == [began]
        with registry_at(tracking):
            eventually(lambda: metrics(url, name)[0] > began)


@pytest.mark.parametrize("url", ["redis//x", "http://x", "redis://:marker/x@host:6379"])
def test_the_service_does_not_start_with_a_redis_that_it_can_never_ask(children, database_url, tmp_path, url):
    with gunicorn(children, database_url, free_port(), free_port(), tmp_path, CHURN_REDIS_URL=url) as running:
        running.join(60 * SLOWNESS)
        assert running.exitcode not in (None, 0)
    said = log_of(tmp_path).read_text()
    assert "SettingsError: CHURN_REDIS_URL is not a URL like redis://:password@host:6379/0" in said
    assert "marker" not in said


def test_headers_above_the_limits_are_refused(children, database_url, tmp_path):
    serving = free_port()
    with gunicorn(children, database_url, serving, free_port(), tmp_path):
        eventually(lambda: answers(f"http://127.0.0.1:{serving}/health"))
        answer = requests.get(f"http://127.0.0.1:{serving}/health", headers={"X-Long": "a" * 5000}, timeout=10)
    assert answer.status_code == 431


@pytest.fixture
def running(children, database_url, in_production, tmp_path):
    """The port of a service of one worker that serves a version."""
    serving, tracking = free_port(), free_port()
    with gunicorn(children, database_url, serving, tracking, tmp_path), registry_at(tracking):
        eventually(lambda: answers(f"http://127.0.0.1:{serving}/health/ready"))
        yield serving


def request_of(body):
    head = "POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()


def answers_over(client):
    """Return the status of each answer that comes before the connection is closed."""
    received = b""
    while piece := client.recv(65536):
        received += piece
    return [int(part[:3]) for part in received.split(b"HTTP/1.1 ")[1:]]


@pytest.mark.parametrize("count", [2, 5])
@pytest.mark.parametrize(("body", "status"), [('{"user_id": "nobody"}', 404), ("[" * 1000, 400)])
def test_pipelined_requests_are_all_answered_before_the_connection_is_closed(running, count, body, status):
    with socket.create_connection(("127.0.0.1", running), timeout=60) as client:
        client.sendall(request_of(body) * count)
        assert answers_over(client) == [status] * count


def test_a_pipelined_request_behind_a_body_that_is_refused_unread_is_answered_too(running):
    """The application answers 415 before it reads the body."""
    compressed = request_of("x" * 100).replace(b"Host: x", b"Host: x\r\nContent-Encoding: gzip")
    with socket.create_connection(("127.0.0.1", running), timeout=60) as client:
        client.sendall(compressed + request_of('{"user_id": "nobody"}'))
        assert answers_over(client) == [415, 404]


def test_a_request_that_comes_with_the_refused_body_of_the_one_before_is_answered(running):
    """gunicorn reads both at once, where the service has not read the body before it answers."""
    head, body = request_of("x" * 100).replace(b"Host: x", b"Host: x\r\nContent-Encoding: gzip").split(b"\r\n\r\n")
    with socket.create_connection(("127.0.0.1", running), timeout=60) as client:
        client.sendall(head + b"\r\n\r\n")
        # Time to answer without the body.
        time.sleep(0.5)
        client.sendall(body + request_of('{"user_id": "nobody"}'))
        assert answers_over(client) == [415, 404]


def test_a_connection_is_kept_after_a_request_that_is_not_pipelined(running):
    with closing(HTTPConnection("127.0.0.1", running, timeout=60)) as client:
        client.connect()
        connection = client.sock
        for body in ('{"user_id": "nobody"}', "[") * 2:
            # It sends head and body apart.
            client.request("POST", "/predict", body, {"Content-Type": "application/json"})
            assert client.getresponse().read()
            assert client.sock is connection


def test_a_service_is_not_ready_while_one_of_its_workers_has_no_model(children, database_url, in_production, tmp_path):
    serving, tracking = free_port(), free_port()
    url = f"http://127.0.0.1:{serving}/health/ready"
    with gunicorn(children, database_url, serving, tracking, tmp_path, SERVING_WORKERS="2") as running:
        with registry_at(tracking):
            eventually(lambda: answers(url))
        # The registry is away: the worker that takes the place of this one finds no model, the other one has it.
        killed, _ = psutil.Process(running.pid).children()
        killed.kill()
        eventually(lambda: len(workers_of(running) - {killed}) == 2)
        # Both answer: what a worker says does not depend on its own model.
        for _ in range(20):
            answer = requests.get(url, timeout=30)
            assert (answer.status_code, answer.json()["workers_behind"]) == (503, 1)
            assert not is_healthy(serving)
        with registry_at(tracking):
            eventually(lambda: answers(url))
            assert is_healthy(serving)


def workers_of(running):
    return set(psutil.Process(running.pid).children())


def test_a_service_without_a_version_in_production_is_healthy_and_not_ready(children, database_url, registry, tmp_path):
    serving, tracking = free_port(), free_port()
    with gunicorn(children, database_url, serving, tracking, tmp_path, SERVING_WORKERS="2"), registry_at(tracking):
        eventually(lambda: is_healthy(serving))
        assert requests.get(f"http://127.0.0.1:{serving}/health/ready", timeout=30).status_code == 503


def test_a_worker_has_its_model_before_it_answers(children, database_url, in_production, somebody, tmp_path):
    serving, tracking = free_port(), free_port()
    url = f"http://127.0.0.1:{serving}"
    with registry_at(tracking), gunicorn(children, database_url, serving, tracking, tmp_path):
        eventually(lambda: answers(f"{url}/health"))
        assert requests.post(f"{url}/predict", json={"user_id": somebody}, timeout=30).status_code == 200


def test_a_service_that_is_stopped_answers_what_it_was_asked_and_writes_its_prediction_log(
    children, database_url, in_production, somebody, tmp_path
):
    serving, tracking = free_port(), free_port()
    url = f"http://127.0.0.1:{serving}"
    with psycopg.connect(database_url, autocommit=True) as connection:
        count = "SELECT count(*) FROM predictions.answered"
        before = connection.execute(count).fetchone()[0]
        with gunicorn(children, database_url, serving, tracking, tmp_path) as running, registry_at(tracking):
            eventually(lambda: answers(f"{url}/health/ready"))
            # A connection that is kept, as browsers and pools keep theirs.
            with requests.Session() as session:
                for _ in range(20):
                    assert session.post(f"{url}/predict", json={"user_id": somebody}, timeout=30).status_code == 200
                running.terminate()
                running.join(60 * SLOWNESS)
                assert running.exitcode == 0
        assert connection.execute(count).fetchone()[0] == before + 20
