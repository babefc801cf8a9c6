"""The processes of a benchmark: started, waited for, and stopped with every process that they have started."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from bench import BenchError
from embedded.stack.process_manager import end_of
from embedded.stack.services import answers

SECONDS_TO_START = 120
SECONDS_TO_STOP = 20
SECONDS_BETWEEN_LOOKS = 0.02
TIMES_READY = 10


@contextmanager
def running(
    command: Sequence[str], log: Path, ready: Callable[[], bool], environment: Mapping[str, str] | None = None
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a command until the end of the block, which begins when `ready()` was true ten times in a row: one worker
    that is ready before the others is not enough.

    Args:
        environment: variables in addition to those of this process.

    Raises:
        BenchError: it ends by itself, or is not ready in time; the message has the end of its log.
    """
    with ExitStack() as at_the_end:
        with interrupted_later(), log.open("wb") as output:
            process = subprocess.Popen(
                command,
                env={**os.environ, **(environment or {})},
                stdout=output,
                stderr=subprocess.STDOUT,
                # Ctrl-C is for us; the process and its children are ended as one group.
                start_new_session=True,
            )
            at_the_end.callback(_stop, process)
        deadline, times = time.monotonic() + SECONDS_TO_START, 0
        while times < TIMES_READY:
            if process.poll() is not None or time.monotonic() > deadline:
                raise BenchError(f"{' '.join(command[:4])} … did not start; the end of its log:\n{end_of(log)}")
            times = times + 1 if ready() else 0
            time.sleep(0 if times else SECONDS_BETWEEN_LOOKS)
        yield process


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        with suppress(subprocess.TimeoutExpired):
            process.wait(SECONDS_TO_STOP)
    finally:
        # Children that outlive a process which did not stop as it should.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def interrupted_later() -> Iterator[None]:
    """Raise a Ctrl-C's KeyboardInterrupt only at the end of the block, where the cleanup starts.

    Raised inside Popen, it would leave an unknown process. For the main thread.
    """
    caught: list[Any] = []
    usual = signal.signal(signal.SIGINT, lambda *received: caught.append(received))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)
    if caught:
        signal.raise_signal(signal.SIGINT)


def memory(pid: int) -> int:
    """Return the bytes that a process and its children hold; a page that several share counts in parts."""
    first = psutil.Process(pid)
    found = [each.memory_full_info() for each in (first, *first.children(recursive=True))]
    # Only Linux counts shared pages in parts.
    return sum(getattr(each, "pss", each.uss) for each in found)


def free_ports(number: int) -> list[int]:
    """Return `number` free ports of 127.0.0.1."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(number)]
        return [int(each.getsockname()[1]) for each in sockets]


@contextmanager
def mlflow_server(directory: Path) -> Iterator[str]:
    """Run an empty MLflow with all its files below `directory`, and yield its address."""
    directory.mkdir()
    (port,) = free_ports(1)
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)),
        *("--backend-store-uri", f"sqlite:///{directory}/mlflow.db"),
        *("--artifacts-destination", str(directory / "artifacts"), "--workers", "1"),
    ]
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    url = f"http://127.0.0.1:{port}"
    with running(command, directory / "server.log", lambda: answers(f"{url}/health"), quiet):
        yield url


@contextmanager
def redis_server(directory: Path, *options: str) -> Iterator[str]:
    """Run Debian's redis-server in memory on a free port of 127.0.0.1, and yield its URL.

    Raises:
        BenchError: it is not installed, or does not start.
    """
    if shutil.which("redis-server") is None:
        raise BenchError("redis-server is not installed: apt-get install redis-server")
    (port,) = free_ports(1)
    where = ("--bind", "127.0.0.1", "--port", str(port), "--dir", str(directory))
    with running(["redis-server", *where, "--save", "", *options], directory / "redis.log", lambda: listens(port)):
        yield f"redis://127.0.0.1:{port}/0"


def listens(port: int) -> bool:
    """Tell whether a process listens at that port of 127.0.0.1."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
