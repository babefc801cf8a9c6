"""The worker of serving, run by gunicorn under an application that tells which worker answers."""

import os
import socket
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
PATIENCE_SECONDS = 30

APPLICATION = """
import os

def application(environ, start_response):
    body = str(os.getpid()).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""


@contextmanager
def service(directory, workers):
    """The port of a service with so many workers of four threads."""
    (directory / "application.py").write_text(APPLICATION)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "--workers", str(workers)]
    command += ["--threads", "4", "--worker-class", "serving.worker.Worker", "--no-control-socket"]
    command += ["--graceful-timeout", str(2 * PATIENCE_SECONDS)]
    environment = os.environ | {"PYTHONPATH": f"{directory}:{REPOSITORY}"}
    with subprocess.Popen([*command, "application:application"], env=environment, cwd=directory) as running:
        try:
            deadline = time.monotonic() + PATIENCE_SECONDS
            while len(workers_of(port, 8)) < workers:
                assert time.monotonic() < deadline, "not every worker started"
                time.sleep(0.1)
            yield port
        finally:
            running.terminate()
            running.wait(PATIENCE_SECONDS)


def workers_of(port, connections):
    """Return how many of so many connections, made at once and kept, each worker has."""
    with ExitStack() as kept:
        clients = [HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS) for _ in range(connections)]
        for client in clients:
            kept.callback(client.close)
        try:
            for client in clients:
                client.connect()
        except ConnectionRefusedError:
            return Counter()
        for client in clients:
            client.request("GET", "/")
        return Counter(client.getresponse().read() for client in clients)


def test_a_few_connections_are_spread_over_the_workers(tmp_path):
    with service(tmp_path, workers=2) as port:
        spread = [max(workers_of(port, 8).values()) for _ in range(20)]
    assert sum(most <= 6 for most in spread) >= 15, spread


def test_so_are_many(tmp_path):
    with service(tmp_path, workers=2) as port:
        spread = [max(workers_of(port, 64).values()) for _ in range(10)]
    assert sum(most <= 48 for most in spread) >= 7, spread


def test_connections_on_which_nothing_is_said_hold_no_thread(tmp_path):
    with service(tmp_path, workers=1) as port, ExitStack() as silent:
        # gunicorn's own four threads would wait 5 s for each, a minute in all.
        for _ in range(50):
            silent.enter_context(socket.create_connection(("127.0.0.1", port)))
        assert workers_of(port, 1).total() == 1


def test_clients_that_do_not_hang_up_do_not_keep_others_from_being_answered(tmp_path):
    with service(tmp_path, workers=1) as port, ExitStack() as kept:
        # gunicorn's own worker would wait 2 s for each, a minute in all.
        deadline = time.monotonic() + PATIENCE_SECONDS
        for _ in range(30):
            client = kept.enter_context(socket.create_connection(("127.0.0.1", port)))
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert client.recv(1)
            assert time.monotonic() < deadline, "each waits for the one before to hang up"


def test_a_worker_that_ends_does_not_wait_for_idle_connections_as_long_as_for_requests(tmp_path):
    with ExitStack() as kept, service(tmp_path, workers=1) as port:
        client = HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
        kept.callback(client.close)
        client.request("GET", "/")
        assert client.getresponse().read()
