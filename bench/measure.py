"""One step in a process of its own: the seconds it takes, and the most memory that it and the server hold."""

import io
import logging
import multiprocessing
import resource
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from bench.server import Server

SECONDS_BETWEEN_LOOKS = 0.05
ENDINGS = {signal.SIGINT, signal.SIGTERM}


class StepFailed(RuntimeError):
    """A step that raised or died; the message holds its traceback."""


@dataclass(frozen=True)
class Measured:
    """What a step took, and what it returned. A step over its time limit has no seconds, memory or result.

    `peak_bytes` is the most that its process ever held, its libraries included; `server_bytes` is the most that one
    process of the server was seen to hold of its own, None where that cannot be seen.
    """

    seconds: float | None
    peak_bytes: int | None = None
    server_bytes: int | None = None
    result: Any = None


class Watch:
    """Times a step: `with watch:` around what counts, leaving out what prepares it and what checks it afterwards."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.peak_bytes = 0
        self._started = 0.0

    def __enter__(self) -> None:
        self._started = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.seconds += time.perf_counter() - self._started
        self.peak_bytes = _peak_bytes()


def measure(server: Server, database: str, limit: float | None, step: Callable[..., Any], *arguments: Any) -> Measured:
    """Run `step(watch, *arguments)` in a fresh process, with nothing of earlier steps in its memory or to be written.

    Args:
        database: where the step works; when `limit` seconds are over, what it runs there is ended with it.
        step: a function of a module, which is imported before the clock runs.

    Raises:
        StepFailed: the step raised an exception, or its process died.
    """
    server.settle()
    # As Airflow's tasks are, forked from a process that has imported what they need and done nothing else.
    context: Any = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(theirs, step, arguments))
    report = None
    try:
        _start(process)
        theirs.close()
        report, server_bytes = _follow(server, ours, limit)
    except EOFError:
        process.join()
        raise StepFailed(f"{step.__module__}.{step.__name__} died with exit status {process.exitcode}") from None
    finally:
        # A step that has reported is at its end; one over its limit, or that we were interrupted in, is not.
        if process.pid is not None:
            process.join(10 if report else 0)
        if process.is_alive():
            process.kill()
            process.join()
            server.end_sessions(database)
    if report is None:
        return Measured(None)
    outcome, seconds, peak_bytes, result = report
    if outcome == "failed":
        raise StepFailed(f"{step.__module__}.{step.__name__}: {result}")
    return Measured(seconds, peak_bytes, server_bytes, result)


def _start(process: BaseProcess) -> None:
    """Start the process; a signal meanwhile waits, or it would run our own cleaning up in the copy of us."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDINGS)
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _follow(server: Server, reports: Connection, limit: float | None) -> tuple[Any, int | None]:
    """Return what the step reports at its end, None where it is over its limit; and the server's peak meanwhile."""
    reports.recv()  # it begins
    started, peak = time.monotonic(), server.backend_bytes()
    while not reports.poll(SECONDS_BETWEEN_LOOKS):
        if limit is not None and time.monotonic() - started > limit:
            return None, peak
        now = server.backend_bytes()
        peak = now if peak is None else max(peak, now or 0)
    return reports.recv(), peak


def _run(reports: Connection, step: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    # Ctrl-C reaches every process of the terminal; whoever waits for the step ends it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDINGS)
    warnings.simplefilter("ignore")
    logging.disable()
    # Feast says on it what it does.
    sys.stdout = io.StringIO()
    reports.send("begins")
    watch = Watch()
    try:
        result = step(watch, *arguments)
    except Exception:
        reports.send(("failed", watch.seconds, watch.peak_bytes, traceback.format_exc()))
    else:
        reports.send(("done", watch.seconds, watch.peak_bytes, result))


def _peak_bytes() -> int:
    # What getrusage() calls the peak is, after a fork, that of the parent where it was higher.
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
