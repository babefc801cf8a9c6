"""Runs one step in its own process, and measures its seconds and the peak memory of it and of the server."""

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
    """A step raised or died; the message holds its traceback."""


@dataclass(frozen=True)
class Measured:
    """The measurements and the result of a step. A step over its time limit has none.

    `peak_bytes` is the peak of its process with the libraries; `server_bytes` is the observed peak of one server
    process's private memory, None if that cannot be read.
    """

    seconds: float | None
    peak_bytes: int | None = None
    server_bytes: int | None = None
    result: Any = None


class Watch:
    """Times a step: `with watch:` surrounds the measured part, without preparation and checks."""

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
    """Run `step(watch, *arguments)` in a fresh process, after a checkpoint of the server.

    Args:
        database: the step's database; at the time `limit` in seconds its queries are ended too.
        step: a function of a module, which is imported before the clock runs.

    Raises:
        StepFailed: the step raised an exception, or its process died.
    """
    server.settle()
    # Forked like Airflow's tasks, from a process that has only imported libraries.
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
        # A step that has reported ends by itself; one that was interrupted or exceeded its limit is killed.
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
    """Start the process with signals blocked: our cleanup must not run in the forked copy."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDINGS)
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _follow(server: Server, reports: Connection, limit: float | None) -> tuple[Any, int | None]:
    """Return the step's report, None if it exceeds its limit, and the server's peak."""
    reports.recv()  # it begins
    started, peak = time.monotonic(), server.backend_bytes()
    while not reports.poll(SECONDS_BETWEEN_LOOKS):
        if limit is not None and time.monotonic() - started > limit:
            return None, peak
        now = server.backend_bytes()
        peak = now if peak is None else max(peak, now or 0)
    return reports.recv(), peak


def _run(reports: Connection, step: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    # Ctrl-C reaches every process of the terminal; the parent ends the step.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDINGS)
    warnings.simplefilter("ignore")
    logging.disable()
    # Feast prints its progress.
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
    # After a fork, getrusage() returns the parent's peak if that was higher.
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
