"""Runs one step in its own process, and measures its seconds and the peak memory of it and of the server."""

import io
import logging
import multiprocessing
import pickle
import resource
import signal
import sys
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, wait
from dataclasses import dataclass, replace
from typing import Any

from bench import BenchError
from bench.server import Server

SECONDS_BETWEEN_LOOKS = 0.05


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
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        self.peak_bytes = peak if sys.platform == "darwin" else peak * 1024


@dataclass(frozen=True)
class Measured:
    """The measurements and the result of a step.

    `peak_bytes` is the peak of its process with the libraries; `server_bytes` is the observed peak of one server
    process's private memory.
    """

    seconds: float
    peak_bytes: int
    server_bytes: int = 0
    result: Any = None


def measure(server: Server, step: Callable[..., Any], *arguments: Any) -> Measured:
    """Run `step(watch, *arguments)`, a function of a module, in a fresh process, after a checkpoint of the server.

    An exception of the step is raised here too, with the step's traceback.
    """
    server.settle()
    # Forked like Airflow's tasks, from a process that has only imported libraries.
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    with ProcessPoolExecutor(1, context, _set_up) as pool:
        try:
            running = pool.submit(_run, step, arguments)
            peak = server.backend_bytes()
            while not wait([running], SECONDS_BETWEEN_LOOKS).done:
                peak = max(peak, server.backend_bytes())
        except BaseException:
            # Interrupted: the pool would wait for the step.
            for process in multiprocessing.active_children():
                process.kill()
            raise
    return replace(running.result(), server_bytes=peak)


def _set_up() -> None:
    # Ctrl-C reaches every process of the terminal; the parent ends the step.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    warnings.simplefilter("ignore")
    logging.disable()
    # Feast prints its progress.
    sys.stdout = io.StringIO()


def _run(step: Callable[..., Any], arguments: tuple[Any, ...]) -> Measured:
    watch = Watch()
    try:
        result = step(watch, *arguments)
    except Exception as error:
        if _can_be_sent(error):
            raise
        # Spark's errors hold the connection to Java; only this process can ask for their text.
        raise BenchError(f"{type(error).__name__}: {error}") from error
    return Measured(watch.seconds, watch.peak_bytes, result=result)


def _can_be_sent(error: Exception) -> bool:
    """Tell whether the error reaches the parent: whether it can be pickled, and made again."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return False
    return True
