"""The sources of the board: the database of Airflow's connection `churn_postgres`, MLflow, and the serving API."""

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

# By default the client retries for minutes when MLflow is down.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")

KEEP_SECONDS = 5.0
"""TTL of a cached answer of MLflow or serving: half the polling interval of a page, shared by all open pages."""

SERVING_TIMEOUT = 2.0
"""Seconds to wait for the serving API, whose readiness answer takes milliseconds."""

PATIENCE = 1.5
"""Seconds to wait for MLflow or serving before the page is drawn without it. The first import of MLflow's client alone
takes a second or more."""

T = TypeVar("T")

_THREADS = ThreadPoolExecutor(2, thread_name_prefix="gate-board")


class Unavailable(RuntimeError):
    """A source does not answer; the message says which and why."""


@dataclass(frozen=True)
class Serving:
    """The state of the serving API: the version that it answers with, or why it is not ready."""

    ready: bool
    version: int | None
    detail: str


def database_url() -> str:
    """Return the libpq URI of the connection `churn_postgres`.

    Raises:
        Unavailable: Airflow has no such connection.
    """
    try:
        found = Connection.get_connection_from_secrets(CONNECTION)
    except AirflowNotFoundException as error:
        raise Unavailable(f"Airflow has no connection `{CONNECTION}`, the URL of the database") from error
    return url_of(found)


class _Kept(Generic[T]):
    """A cache of `ask` with a TTL of KEEP_SECONDS, refreshed by one thread at a time.

    A caller waits at most PATIENCE for a refresh, then gets the previous answer, at first `nothing_yet`.
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
    """Return the state of the registry, or in words why it cannot be read."""
    try:
        return board_registry.read_registry()
    except Exception as error:  # the page shows the rest even if MLflow fails
        return f"MLflow cannot be read: {_first_line(error)}"


def _ask_serving() -> Serving | None:
    # In containers SERVING_URL is the browsers' address, which may point to this container itself.
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
        return Serving(False, None, f"{address} answers, but not like the serving API")


registry: Callable[[], board_registry.Registry | str] = _Kept(
    _ask_registry, "MLflow has not answered yet; this page asks again"
)
"""The state of the registry, or in words why it cannot be read."""

serving: Callable[[], Serving | None] = _Kept(_ask_serving, None)
"""The state of the serving API; None if its address is not set, or it has not answered yet."""


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
