"""The worker of serving, run by gunicorn under an application that tells which worker answers."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from ast import literal_eval
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

import psutil
import pytest

REPOSITORY = Path(__file__).parents[2]
PATIENCE_SECONDS = 30

APPLICATION = """
import os
import threading
import time

from serving.gathering import Gathering

groups, behind, threads = [], [], []
waiting = None


def together(asked):
    groups.append(len(asked))
    return [body[::-1] for body in asked]


gathering = Gathering(together)


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/gathered":
        behind.append(waiting(path, environ["QUERY_STRING"]))
        threads.append(threading.current_thread().name)
        body = gathering.ask(environ["wsgi.input"].read())
    elif path == "/groups":
        body = repr((groups, behind, threads)).encode()
    elif path == "/large":
        body = bytes(8_000_000)
    elif path == "/slow" and waiting(path, "") > 4:
        body = b"refused"
    elif path == "/slow":
        time.sleep(2)
        body = b"slow"
    elif path == "/thread":
        environ["wsgi.input"].read()
        body = threading.current_thread().name.encode()
    else:
        body = str(os.getpid()).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""
CONFIGURATION = """
def post_worker_init(worker):
    import application

    application.waiting = worker.waiting
    worker.short = ("/gathered",)
    worker.most_waiting = 4
    worker.answer_gathered = application.gathering.answer
"""


@contextmanager
def service(directory, workers, settings=()):
    """The port of a service with so many workers of four threads."""
    (directory / "application.py").write_text(APPLICATION)
    (directory / "configuration.py").write_text(CONFIGURATION)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "--workers", str(workers)]
    command += ["--threads", "4", "--worker-class", "serving.worker.Worker", "--no-control-socket"]
    command += [
        "--graceful-timeout",
        str(2 * PATIENCE_SECONDS),
        "--config",
        str(directory / "configuration.py"),
        *settings,
    ]
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
        # And this one, where it waited with them, 15 s.
        deadline = time.monotonic() + 10
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


# --- requests that take no thread --------------------------------------------------------------------------------


def post(port, path, body=b""):
    """Return the answer to a request over a connection of its own."""
    client = HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
    try:
        client.request("POST", path, body)
        return client.getresponse().read()
    finally:
        client.close()


def begin(port, sent):
    """Return a connection over which that was sent."""
    client = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS)
    client.sendall(sent)
    return client


def answer_over(client):
    answer = HTTPResponse(client)
    answer.begin()
    return answer


def test_requests_that_come_at_once_are_answered_together_each_with_its_own_answer(tmp_path):
    with service(tmp_path, workers=1) as port, ExitStack() as kept:
        clients = [HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS) for _ in range(16)]
        for client in clients:
            kept.callback(client.close)
        for turn in range(20):
            for number, client in enumerate(clients):
                client.request("POST", "/gathered", f"{turn} {number:02}".encode())
            for number, client in enumerate(clients):
                assert client.getresponse().read() == f"{turn} {number:02}".encode()[::-1]
        groups, behind, threads = literal_eval(post(port, "/groups").decode())
    assert sum(groups) == len(behind) == 20 * 16
    assert max(groups) > 1, "nobody was ever answered together with another"
    assert max(behind) > min(behind) == 0
    assert set(threads) == {"MainThread"}


def test_a_request_of_another_path_or_with_a_query_takes_a_thread(tmp_path):
    with service(tmp_path, workers=1) as port:
        assert post(port, "/thread").startswith(b"ThreadPoolExecutor")
        assert post(port, "/gathered?x=1", b"abc") == b"cba"
        groups, _, (thread,) = literal_eval(post(port, "/groups").decode())
        assert groups == [1]
        assert thread.startswith("ThreadPoolExecutor")


def test_what_takes_a_thread_does_not_keep_those_that_take_none_from_being_answered(tmp_path):
    with service(tmp_path, workers=1) as port, ThreadPoolExecutor(8) as clients:
        # Twice as many as there are threads.
        slow = [clients.submit(post, port, "/slow") for _ in range(8)]
        answered = 0
        while not any(each.done() for each in slow):
            assert post(port, "/gathered", b"abc") == b"cba"
            answered += 1
        assert answered > 1
        assert {each.result() for each in slow} == {b"slow"}


def test_what_would_be_refused_does_not_wait_for_a_thread(tmp_path):
    with service(tmp_path, workers=1) as port, ThreadPoolExecutor(20) as clients:
        asked = [clients.submit(post, port, "/slow") for _ in range(20)]
        answers = [each.result() for each in as_completed(asked)]
    assert answers.count(b"slow") + answers.count(b"refused") == 20
    assert answers[0] == b"refused"
    assert answers.count(b"slow") >= 4


@pytest.mark.parametrize("path", ["/gathered", "/thread"])
def test_a_request_that_comes_in_pieces_is_answered_and_keeps_nobody_waiting(tmp_path, path):
    whole = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc".encode()
    with service(tmp_path, workers=1) as port, ExitStack() as kept:
        # In the middle of the line, of a header, and of the body; more of them than there are threads.
        slow = [(begin(port, whole[:sent]), sent) for sent in (3, 30, len(whole) - 1) for _ in range(8)]
        for client, _ in slow:
            kept.callback(client.close)
        assert post(port, "/gathered", b"abc") == b"cba"
        for client, sent in slow:
            client.sendall(whole[sent:])
        for client, _ in slow:
            assert answer_over(client).status == 200


def test_a_client_that_does_not_read_its_answer_keeps_nobody_waiting_and_one_that_is_slow_gets_all_of_it(tmp_path):
    with service(tmp_path, workers=1) as port, ExitStack() as kept:
        clients = [begin(port, b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n") for _ in range(5)]
        for client in clients:
            kept.callback(client.close)
        assert post(port, "/gathered", b"abc") == b"cba"
        assert len(answer_over(clients[0]).read()) == 8_000_000
        # The others hold the four threads, for five seconds at most.
        assert post(port, "/thread").startswith(b"ThreadPoolExecutor")


def test_a_request_that_is_never_whole_is_ended_and_the_connection_closed(tmp_path):
    heads = [f"POST {path} HTTP/1.1\r\nHost: x\r\n".encode() for path in ("/gathered", "/thread")]
    with service(tmp_path, workers=1) as port, ExitStack() as kept:
        beginnings = [*heads, *(head + b"Content-Length: 3\r\n\r\nab" for head in heads)]
        clients = [kept.enter_context(begin(port, beginning)) for beginning in beginnings]
        assert [client.recv(1) for client in clients] == [b""] * 4


def test_clients_that_never_pause_keep_nobody_waiting(tmp_path):
    """gunicorn reads the line of a chunk's size for as long as it comes."""
    heads = [f"POST {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;" for path in ("/gathered", "/")]

    def stream(client):
        with suppress(OSError):
            while True:
                client.sendall(b"a" * 8192)

    with service(tmp_path, workers=1) as port, ThreadPoolExecutor(2) as streams:
        worker = psutil.Process(int(post(port, "/")))
        clients = [begin(port, head.encode()) for head in heads]
        streaming = [streams.submit(stream, client) for client in clients]
        try:
            assert post(port, "/gathered", b"abc") == b"cba"
            assert not any(each.done() for each in streaming), "it was over before anybody could have been kept waiting"
            deadline = time.monotonic() + PATIENCE_SECONDS
            while any(each.status == psutil.CONN_ESTABLISHED for each in worker.net_connections()):
                assert time.monotonic() < deadline, "it goes on for ever"
                time.sleep(0.1)
        finally:
            for client in clients:
                # Its own sendall() may wait for a worker that has gone.
                with suppress(OSError):
                    client.shutdown(socket.SHUT_RDWR)
                client.close()


def test_a_worker_that_ends_answers_what_it_has_begun(tmp_path):
    with ExitStack() as kept, service(tmp_path, workers=1) as port:
        client = begin(port, b"POST /gathered HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nab")
        kept.callback(client.close)
        clients = kept.enter_context(ThreadPoolExecutor(1))
        slow = clients.submit(post, port, "/slow")
        time.sleep(0.5)
        os.kill(int(post(port, "/")), signal.SIGTERM)
        client.sendall(b"c")
        assert answer_over(client).read() == b"cba"
        assert slow.result() == b"slow"


def test_a_worker_that_ends_loses_no_new_connection(tmp_path):
    with service(tmp_path, workers=1) as port, ThreadPoolExecutor(4) as clients:
        over = threading.Event()

        def ask():
            answers = []
            while not over.is_set():
                answers.append(post(port, "/gathered", b"abc"))
            return answers

        asking = [clients.submit(ask) for _ in range(4)]
        try:
            for _ in range(3):
                os.kill(int(post(port, "/")), signal.SIGTERM)
                time.sleep(1)
        finally:
            over.set()
        answers = [answer for each in asking for answer in each.result()]
    assert set(answers) == {b"cba"}


def test_clients_that_do_not_hang_up_are_not_more_than_a_worker_takes(tmp_path):
    with service(tmp_path, workers=1, settings=("--worker-connections", "20")) as port, ExitStack() as kept:
        worker = int(post(port, "/"))
        for _ in range(60):
            client = begin(port, b"POST /gathered HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            kept.callback(client.close)
            assert len(psutil.Process(worker).net_connections()) < 40
        assert int(post(port, "/")) == worker
