"""A service of a benchmark: started, waited for, measured, and stopped with every process that it has started."""

import contextlib
import http.client
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from bench.context import BenchError
from bench.interrupts import interrupted_later
from embedded.stack.process_manager import end_of

SECONDS_TO_START = 120
SECONDS_TO_STOP = 20
SECONDS_BETWEEN_LOOKS = 0.02
TIMES_READY = 10


@dataclass(frozen=True)
class Service:
    """A running service: where it listens, its first process, and the seconds from its start to being ready."""

    port: int
    pid: int
    seconds_to_ready: float

    def url(self, route: str) -> str:
        return f"http://127.0.0.1:{self.port}{route}"


@dataclass(frozen=True)
class Memory:
    """Bytes that a service holds. A page that several processes share counts in `proportional` by each one's part; the
    workers' `own` are of the pages that each has alone."""

    proportional: int
    first: int
    own: list[int]


class _NotReadyError(RuntimeError):
    pass


@contextmanager
def running(
    command: Sequence[str], environment: Mapping[str, str], port: int, ready: str, log: Path
) -> Iterator[Service]:
    """Run a service that is to listen on `port` until the end of the block.

    It is ready at the first of ten times in a row, each over a connection of its own, that the route `ready` answers
    200: one worker that is ready before the others is not enough.

    Raises:
        BenchError: it ends by itself, or is not ready in time; the message has the end of its log.
    """
    started = time.monotonic()
    with contextlib.ExitStack() as at_the_end:
        with interrupted_later(), log.open("wb") as output:
            process = subprocess.Popen(
                command,
                env={**os.environ, **environment},
                stdout=output,
                stderr=subprocess.STDOUT,
                # Ctrl-C is for us, and so is its group, which is ended as one.
                start_new_session=True,
            )
            at_the_end.callback(_stop, process)
        try:
            yield Service(port, process.pid, _wait(process, port, ready) - started)
        except _NotReadyError as error:
            raise BenchError(f"{' '.join(command[:4])} … {error}; the end of its log:\n{end_of(log)}") from error


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(SECONDS_TO_STOP)
    finally:
        # Whoever of it is left: nobody, of a service that stops as it should and is waited for.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def memory(service: Service) -> Memory:
    """Return what the service's processes hold now."""
    first = psutil.Process(service.pid)
    found = [each.memory_full_info() for each in (first, *first.children(recursive=True))]
    proportional = [_proportional(each) for each in found]
    return Memory(sum(proportional), proportional[0], [each.uss for each in found[1:]])


def _proportional(found: Any) -> int:
    # Off Linux nobody counts it.
    return int(getattr(found, "pss", found.uss))


def _wait(process: "subprocess.Popen[bytes]", port: int, ready: str) -> float:
    """Return when it was ready."""
    until = time.monotonic() + SECONDS_TO_START
    times, since = 0, 0.0
    while time.monotonic() < until and process.poll() is None:
        if not _answers(port, ready):
            times = 0
            time.sleep(SECONDS_BETWEEN_LOOKS)
            continue
        since = since if times else time.monotonic()
        times += 1
        if times == TIMES_READY:
            return since
    raise _NotReadyError("is not ready" if process.poll() is None else f"ended with status {process.returncode}")


def _answers(port: int, route: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", route)
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
