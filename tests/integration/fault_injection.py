"""Fault injection: a step of the chain runs in a child process, which is killed, or waits, before its n-th act.

An act is an effect that others can see: a message to Postgres, counted on the wire whatever the driver (`Wire`), a
change below a watched directory, or a request to MLflow (both counted inside the child). Killing is SIGKILL.
"""

import multiprocessing
import os
import re
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from psycopg.conninfo import conninfo_to_dict

from churn.postgres.database import connect

IMPORTED = (
    "tests.integration.faults.fault_world",
    "tests.integration.fault_registry",
    # What the libraries import when they are first used.
    "alembic.command",
    "churn.features.offline_store",
    "feast.infra.compute_engines.local.compute",
    "feast.infra.passthrough_provider",
    "feast.repo_operations",
    "flask_openapi3",
    "git",
    "gunicorn.workers.gthread",
    "mlflow.pyfunc",
    "mlflow.sklearn",
    "mlflow.store.model_registry.sqlalchemy_workspace_store",
    "mlflow.store.tracking.sqlalchemy_workspace_store",
    "opentelemetry.sdk.trace",
    "psycopg2.extras",
    "skops.io",
)
"""What children have imported when they begin."""


class StepFailed(RuntimeError):
    """A step raised in a child; the text is its traceback."""


# --- children ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def children() -> multiprocessing.context.ForkServerContext:
    """Children are forked from a process that has only imported the steps, and the libraries of the service."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*IMPORTED])
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
        child = context.Process(target=int)
        child.start()
        child.join()
    return context


class Child:
    """A step in its own process."""

    def __init__(
        self,
        context: multiprocessing.context.ForkServerContext,
        step: Callable[..., Any],
        *arguments: Any,
        watched: Path | None = None,
        dies_before: int | None = None,
        prepare: Callable[[Callable[[str], None]], None] | None = None,
    ):
        self._result, theirs = context.Pipe(duplex=False)
        self._process = context.Process(
            target=_run, args=(theirs, step, arguments, watched, dies_before, prepare), daemon=True
        )
        self._process.start()
        theirs.close()

    def kill(self) -> None:
        assert self._process.pid is not None
        os.kill(self._process.pid, signal.SIGKILL)

    def result(self) -> tuple[bool, Any, list[str]]:
        """Wait for its end; return whether it finished, the step's result, and the number of acts.

        Raises:
            StepFailed: the step raised.
        """
        try:
            outcome = self._result.recv()
        except EOFError:
            outcome = None
        self._process.join(60)
        if outcome is None:
            assert self._process.exitcode == -signal.SIGKILL
            return False, None, []
        error, value, acts = outcome
        if error:
            raise StepFailed(error)
        return True, value, acts


def _run(
    result: Pipe,
    step: Callable[..., Any],
    arguments: tuple[Any, ...],
    watched: Path | None,
    dies_before: int | None,
    prepare: Callable[[Callable[[str], None]], None] | None,
) -> None:
    acts: list[str] = []

    def act(name: str) -> None:
        acts.append(name)
        if len(acts) == dies_before:
            os.kill(os.getpid(), signal.SIGKILL)

    if watched:
        _watch(watched, act)
    if prepare:
        prepare(act)
    try:
        value = step(*arguments)
    except BaseException:
        result.send((traceback.format_exc(), None, acts))
    else:
        result.send((None, value, acts))


def _watch(directory: Path, act: Callable[[str], None]) -> None:
    """Count Python's changes to the files below a directory."""
    below = f"{directory}{os.sep}"

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        changes = event.startswith("os.") or (event == "open" and bool(arguments[2] & (os.O_WRONLY | os.O_RDWR)))
        if changes and any(isinstance(each, str | Path) and str(each).startswith(below) for each in arguments):
            act(f"{event} {arguments[0]}")

    sys.addaudithook(hook)


# --- the wire ----------------------------------------------------------------------------------------------------


class Wire:
    """A socket in front of Postgres' own that knows what was said through it.

    `before(n, do)` calls `do` before the n-th act from now on is passed on, and cuts that connection unless `do`
    returns True. An act is a message after which the client waits, or goes on: a statement, a block of COPY, the end of
    it. Where `reads` is False, statements that only read are none, nor is the COMMIT of a transaction of such.
    """

    def __init__(self, upstream: Path, directory: Path):
        self.said: list[str] = []
        self._upstream, self._directory = upstream, directory
        self._at, self._do, self._reads = 0, bool, True
        self._counting = threading.Lock()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(directory / upstream.name))
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def url(self, database_url: str) -> str:
        """Return the URL of the database through this wire."""
        before, found, after = database_url.partition(str(self._upstream.parent))
        assert found, f"{database_url} is not on {self._upstream}"
        return f"{before}{self._directory}{after}"

    def before(self, n: int, do: Callable[[], bool] = bool, reads: bool = True) -> None:
        with self._counting:
            self.said, self._at, self._do, self._reads = [], n, do, reads

    def close(self) -> None:
        _cut(self._listener)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            try:
                server.connect(str(self._upstream))
            except OSError:
                _cut(client)
                continue
            threading.Thread(target=self._ask, args=(client, server), daemon=True).start()
            threading.Thread(target=_answer, args=(server, client), daemon=True).start()

    def _ask(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError), client.makefile("rb") as stream:
            for text, message in _statements(stream):
                if text is not None and not self._pass(*text):
                    break
                server.sendall(message)
        _cut(server)
        _cut(client)

    def _pass(self, text: str, writes: bool) -> bool:
        with self._counting:
            if not (self._reads or writes):
                return True
            self.said.append(text)
            reached, do = len(self.said) == self._at, self._do
        return do() if reached else True


READ = re.compile(
    r"""\s*(--[^\n]*\n\s*)*
    (select\b(?!.*(lock|ensure)).*\bfrom\b|(begin|rollback|show|set|deallocate|savepoint|release)\b|;|$)""",
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)
"""What only reads; a SELECT without FROM may call a function that does more."""


def _statements(stream: BinaryIO) -> Iterator[tuple[tuple[str, bool] | None, bytes]]:
    """Yield each client message with its text (None at start and end) and whether it can change data."""
    # The first message has no type; after it, each is one byte, four of length, and the rest.
    head = stream.read(4)
    yield None, head + stream.read(int.from_bytes(head, "big") - 4)
    prepared: dict[bytes, bytes] = {}
    text, message, wrote = b"", b"", False
    while head := stream.read(5):
        rest = stream.read(int.from_bytes(head[1:], "big") - 4)
        message += head + rest
        match head[:1]:
            case b"P":
                name, query, _ = rest.split(b"\0", 2)
                prepared[name] = query
            case b"B":
                text = prepared[rest.split(b"\0", 2)[1]]
            case b"Q" | b"S" | b"d" | b"c" | b"f" as kind:
                text = {b"Q": rest.rstrip(b"\0"), b"S": text, b"d": b"(a block of COPY)"}.get(
                    kind, b"(the end of COPY)"
                )
                said = text.decode()
                ends = said.upper().startswith(("COMMIT", "ROLLBACK"))
                writes = wrote if ends else READ.match(said) is None
                wrote = not ends and (wrote or writes)
                yield (said, writes), message
                text, message = b"", b""
            case b"X":
                yield None, message


def _answer(server: socket.socket, client: socket.socket) -> None:
    with suppress(OSError):
        while data := server.recv(65536):
            client.sendall(data)
    _cut(client)
    _cut(server)


def _cut(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()


@contextmanager
def wire_to(server_url: str, directory: Path) -> Iterator[Wire]:
    """A wire to the server of the URL, with its socket in `directory`."""
    wire = Wire(Path(str(conninfo_to_dict(server_url)["host"])) / ".s.PGSQL.5432", directory)
    try:
        yield wire
    finally:
        wire.close()


def waits_for_a_lock(database_url: str) -> bool:
    """Return whether a session of the database waits for a lock."""
    with connect(database_url) as connection:
        return connection.execute("""
            SELECT count(*) > 0 FROM pg_locks JOIN pg_stat_activity USING (pid)
            WHERE NOT granted AND datname = current_database()
        """).fetchone() != (False,)
