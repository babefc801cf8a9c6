"""The worker of serving, run by gunicorn under an application that tells which worker answers."""

import os
import socket
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PATIENCE_SECONDS = 30

APPLICATION = """
import os

def application(environ, start_response):
    body = str(os.getpid()).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""


@pytest.fixture
def port(tmp_path):
    """The port of a service with two workers of four threads."""
    (tmp_path / "application.py").write_text(APPLICATION)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "--workers", "2", "--threads", "4"]
    command += ["--worker-class", "serving.worker.Worker", "--no-control-socket", "application:application"]
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}:{REPOSITORY}"}
    with subprocess.Popen(command, env=environment, cwd=tmp_path) as running:
        try:
            deadline = time.monotonic() + PATIENCE_SECONDS
            while len(workers_of(port, 8)) < 2:
                assert time.monotonic() < deadline, "the second worker did not start"
                time.sleep(0.1)
            yield port
        finally:
            running.terminate()


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


def test_a_few_connections_are_spread_over_the_workers(port):
    spread = [max(workers_of(port, 8).values()) for _ in range(20)]
    assert sum(most <= 6 for most in spread) >= 15, spread
