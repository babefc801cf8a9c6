"""The service as gunicorn runs it: what it outlives, and how it ends."""

import os
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from functools import partial

import psutil
import psycopg
import pytest
import requests

from tests.integration.serving.asking import answers, eventually, free_port, gunicorn, metrics, registry_at


def test_a_process_started_without_registry_and_postgres_recovers_by_itself(
    database_url, in_production, somebody, postgres, tmp_path
):
    postgres.stop()
    serving, tracking = free_port(), free_port()
    url = f"http://127.0.0.1:{serving}"

    def ask():
        answer = requests.post(f"{url}/predict", json={"user_id": somebody}, timeout=30)
        return answer.status_code, answer.json()

    with gunicorn(database_url, serving, tracking, tmp_path):
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
    database_url, in_production, customers, postgres, tmp_path
):
    times = 10 if os.environ.get("CI") else 2
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

    with gunicorn(database_url, serving, tracking, tmp_path) as running, registry_at(tracking):
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


def test_clients_that_trickle_their_requests_do_not_keep_others_from_being_answered(
    database_url, in_production, somebody, tmp_path
):
    serving, tracking = free_port(), free_port()
    url = f"http://127.0.0.1:{serving}"
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    over, slow_clients = threading.Event(), []

    def trickle(client):
        with suppress(ConnectionError):
            while not over.wait(0.5):
                client.sendall(b"1")

    def said_before_the_end(client):
        client.settimeout(60)
        try:
            return client.recv(1000)
        except ConnectionError:
            return b""

    with (
        gunicorn(database_url, serving, tracking, tmp_path, SERVING_THREADS="2"),
        registry_at(tracking),
        ThreadPoolExecutor(4) as threads,
        ExitStack() as slow,
    ):
        slow.callback(over.set)
        eventually(lambda: answers(f"{url}/health/ready"))
        for beginning in (head + b"X-Long: ", head + b"Content-Length: 1000\r\n\r\n") * 2:
            client = slow.enter_context(socket.create_connection(("127.0.0.1", serving)))
            slow_clients.append(client)
            client.sendall(beginning)
            threads.submit(trickle, client)
        answer = requests.post(f"{url}/predict", json={"user_id": somebody}, timeout=60)
        assert answer.status_code == 200
        assert [said_before_the_end(client) for client in slow_clients] == [b""] * 4


@pytest.mark.parametrize("route", ["predict", "predict/batch"])
def test_under_more_than_may_wait_some_are_answered_and_the_others_told_to_come_back(
    database_url, in_production, customers, tmp_path, route
):
    serving, tracking = free_port(), free_port()
    url, seen, over = f"http://127.0.0.1:{serving}", set(), threading.Event()
    # A batch takes the one thread long enough for the others to queue up; predictions do when they come at once.
    body = {"user_ids": [*customers.index] * 3} if route == "predict/batch" else {"user_id": customers.index[0]}

    def ask():
        with requests.Session() as session:
            while not over.is_set():
                answer = session.post(f"{url}/{route}", json=body, timeout=60)
                seen.add((answer.status_code, answer.json().get("type"), answer.headers.get("Retry-After")))

    limits = {"SERVING_THREADS": "1", "SERVING_MAX_WAITING": "1"}
    with gunicorn(database_url, serving, tracking, tmp_path, **limits), registry_at(tracking):
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


def test_the_metrics_tell_the_version_of_each_worker(database_url, in_production, tmp_path):
    serving, tracking = free_port(), free_port()
    url = f"http://127.0.0.1:{serving}"
    with gunicorn(database_url, serving, tracking, tmp_path, SERVING_WORKERS="2"), registry_at(tracking):
        eventually(lambda: answers(f"{url}/health/ready"))
        eventually(lambda: metrics(url, "churn_model_version{") == [in_production, in_production])


def test_the_metrics_tell_when_a_worker_was_last_answered_by_the_registry(database_url, in_production, tmp_path):
    serving, tracking = free_port(), free_port()
    url, name = f"http://127.0.0.1:{serving}", "churn_registry_last_answer_timestamp_seconds{"
    started = time.time()
    with gunicorn(database_url, serving, tracking, tmp_path):
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
def test_the_service_does_not_start_with_a_redis_that_it_can_never_ask(database_url, tmp_path, url, capfd):
    with gunicorn(database_url, free_port(), free_port(), tmp_path, CHURN_REDIS_URL=url) as running:
        assert running.wait(60) != 0
    said = capfd.readouterr().err
    assert "SettingsError: CHURN_REDIS_URL is not a URL like redis://:password@host:6379/0" in said
    assert "marker" not in said


def test_what_gunicorn_refuses_by_itself_is_a_problem_too(database_url, tmp_path):
    serving = free_port()
    with gunicorn(database_url, serving, free_port(), tmp_path):
        eventually(lambda: answers(f"http://127.0.0.1:{serving}/health"))
        answer = requests.get(f"http://127.0.0.1:{serving}/health", headers={"X-Long": "a" * 5000}, timeout=10)
    assert (answer.status_code, answer.headers["Content-Type"]) == (431, "application/problem+json")
    assert answer.json()["type"] == "about:blank"


def test_a_service_that_is_stopped_answers_what_it_was_asked_and_writes_its_prediction_log(
    database_url, in_production, somebody, tmp_path
):
    serving, tracking = free_port(), free_port()
    url = f"http://127.0.0.1:{serving}"
    with psycopg.connect(database_url, autocommit=True) as connection:
        count = "SELECT count(*) FROM predictions.answered"
        before = connection.execute(count).fetchone()[0]
        with gunicorn(database_url, serving, tracking, tmp_path) as running, registry_at(tracking):
            eventually(lambda: answers(f"{url}/health/ready"))
            # A connection that is kept, as browsers and pools keep theirs.
            with requests.Session() as session:
                for _ in range(20):
                    assert session.post(f"{url}/predict", json={"user_id": somebody}, timeout=30).status_code == 200
                running.terminate()
                assert running.wait(60) == 0
        assert connection.execute(count).fetchone()[0] == before + 20
