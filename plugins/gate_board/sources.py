"""Where the board reads: the database of Airflow's connection `churn_postgres`, MLflow, and the serving API."""

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import requests
from airflow.exceptions import AirflowNotFoundException
from airflow.models.connection import Connection

from churn.board import production as board_registry
from churn.postgres.database_url import url_of

CONNECTION = "churn_postgres"

# A page that waits says nothing. The client's own patience with an MLflow that is away is minutes.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")

KEEP_SECONDS = 5.0
"""How long an answer of MLflow or serving is good for: half of what lies between two questions of a page, so that any
number of open pages ask them once."""

SERVING_TIMEOUT = 2.0
"""Seconds to wait for the serving API: it says whether it is ready from memory, within milliseconds."""

PATIENCE = 1.5
"""Seconds that a page waits for MLflow or serving before it is drawn without: the first import of MLflow's client alone
takes one on an idle machine, and many on a busy one."""

T = TypeVar("T")

_THREADS = ThreadPoolExecutor(2, thread_name_prefix="gate-board")


class Unavailable(RuntimeError):
    """A source that cannot be asked; the message says which, and why."""


@dataclass(frozen=True)
class Serving:
    """What the serving API says of itself: the version that it answers with, or why it is not ready."""

    ready: bool
    version: int | None
    detail: str


def database_url() -> str:
    """Return the libpq URI of the connection `churn_postgres`, the one authority on where the database is.

    Raises:
        Unavailable: Airflow has no such connection.
    """
    try:
        found = Connection.get_connection_from_secrets(CONNECTION)
    except AirflowNotFoundException as error:
        raise Unavailable(f"Airflow has no connection `{CONNECTION}`, which says where the database is") from error
    return url_of(found)


class _Kept(Generic[T]):
    """The last answer of `ask`, asked again when it is older than KEEP_SECONDS, in one thread however many want it.

    Nobody waits longer than PATIENCE: who would gets the answer before that one, and at first `nothing_yet`.
    """

    def __init__(self, ask: Callable[[], T], nothing_yet: T) -> None:
        self._ask, self._last, self._lock = ask, nothing_yet, threading.Lock()
        self._asked: Future[tuple[float, T]] | None = None

    def __call__(self) -> T:
        with self._lock:
            if self._asked is None or (
                self._asked.done() and time.monotonic() - self._asked.result()[0] > KEEP_SECONDS
            ):
                self._asked = _THREADS.submit(self._answer)
            asked = self._asked
        wait([asked], PATIENCE)
        if asked.done():
            self._last = asked.result()[1]
        return self._last

    def _answer(self) -> tuple[float, T]:
        answer = self._ask()
        return time.monotonic(), answer


def _ask_registry() -> board_registry.Registry | str:
    """Return what MLflow says, or in words why it does not."""
    try:
        return board_registry.read_registry()
    except Exception as error:  # the page shows the rest, whatever keeps MLflow from answering
        return f"MLflow cannot be read: {_first_line(error)}"


def _ask_serving() -> Serving | None:
    # Where it has an address of its own between services, that of browsers may lead to this container itself.
    address = os.environ.get("SERVING_INTERNAL_URL") or os.environ.get("SERVING_URL")
    if not address:
        return None
    try:
        with requests.Session() as session:
            answer = session.get(f"{address}/health/ready", timeout=SERVING_TIMEOUT)
            body: dict[str, Any] = answer.json()
            if answer.ok:
                return Serving(True, int(body["model"]["version"]), "ready")
            return Serving(False, None, str(body.get("detail") or f"status {answer.status_code}"))
    except requests.RequestException as error:
        return Serving(False, None, f"the serving API does not answer: {_first_line(error)}")
    except (KeyError, TypeError, ValueError, AttributeError):
        return Serving(False, None, f"{address} answers, and not as the serving API does")


registry: Callable[[], board_registry.Registry | str] = _Kept(
    _ask_registry, "MLflow has not answered yet; this page asks again"
)
"""What MLflow says, or in words why it does not."""

serving: Callable[[], Serving | None] = _Kept(_ask_serving, None)
"""What the serving API says; None where this Airflow was not told its address, or nothing is known yet."""


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
