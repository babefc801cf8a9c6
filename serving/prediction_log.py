"""The prediction log: a thread writes every prediction to predictions.answered in batches.

Requests never wait for it and never fail with it. During a database outage predictions are queued up to a limit; beyond
it they are dropped and counted. If the database dies during a commit, a batch may be written twice.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any, NamedTuple

import psycopg
from prometheus_client import Counter, Gauge
from psycopg.types.json import Jsonb

from churn.postgres.database import statement
from serving.features import reason

log = logging.getLogger(__name__)

WRITTEN = Counter("churn_prediction_log_written", "Predictions written to the prediction log")
DROPPED = Counter(
    "churn_prediction_log_dropped",
    "Predictions missing from the prediction log. full: the queue was full; refused: the database rejected the values; "
    "shutdown: the database was unavailable when the service stopped",
    ["reason"],
)
WAITING = Gauge("churn_prediction_log_waiting", "Predictions waiting to be written", multiprocess_mode="livesum")
for _reason in ("full", "refused", "shutdown"):
    DROPPED.labels(_reason)  # An alert on a counter needs it to begin at 0.

BATCH = 500
"""Maximum rows per COPY; when as many wait, they are written without a pause."""
PAUSE_SECONDS = 1.0
"""Pause between writes of smaller batches, and before a retry."""

# Errors of a row, not of the database: a retry does not help.
_REFUSED = (psycopg.DataError, psycopg.IntegrityError, TypeError, ValueError)

_CONNECTION: dict[str, Any] = {
    "autocommit": True,
    "application_name": "churn prediction log",
    # libpq's minimum.
    "connect_timeout": 2,
    # Detect a lost server within ten seconds; by default it takes minutes.
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}


class Answered(NamedTuple):
    """A row of predictions.answered."""

    answered_at: datetime
    request_id: str
    user_id: str
    churn_probability: float
    prediction: int
    threshold: float
    model_version: int
    features_as_of: date
    features: Mapping[str, Any]


class PredictionLog:
    """Queues the predictions of this process and writes them from its own thread.

    Args:
        database_url: the `churn` database (libpq URI), as a role that may insert into predictions.answered.
        capacity: maximum queue length, at 1 kB of memory each. The default holds 10 seconds at 1,000 per second.
    """

    def __init__(self, database_url: str, capacity: int = 10_000) -> None:
        self._database_url = database_url
        self._capacity = capacity
        self._waiting: deque[Answered] = deque()
        self._many_wait = threading.Event()
        self._stopping = threading.Event()
        self._deadline = 0.0
        self._thread: threading.Thread | None = None
        self._connection: psycopg.Connection[Any] | None = None
        self._trouble = ""

    def append(self, answered: Answered) -> None:
        """Queue a prediction, to be written within about a second. If the queue is full, drop and count it."""
        # No lock: concurrent threads may exceed the capacity by one each.
        if len(self._waiting) >= self._capacity:
            DROPPED.labels("full").inc()
            WAITING.set(len(self._waiting))
            return
        self._waiting.append(answered)
        if len(self._waiting) >= BATCH and not self._many_wait.is_set():
            self._many_wait.set()

    def start(self) -> None:
        """Start the writing thread; call it after the fork."""
        self._thread = threading.Thread(target=self._follow, name="prediction-log", daemon=True)
        self._thread.start()

    def stop(self, patience_seconds: float = 3.0) -> None:
        """Flush the queue and stop the thread. Rows not written within `patience_seconds` are dropped and counted.

        Call it after the last append().
        """
        if self._thread is None:
            return
        self._deadline = time.monotonic() + patience_seconds
        self._stopping.set()
        self._many_wait.set()
        # The thread may still wait for a silent server; as a daemon it does not keep the process alive.
        self._thread.join(patience_seconds)
        if left := len(self._waiting):
            DROPPED.labels("shutdown").inc(left)
            log.error(
                "%d predictions are missing from the prediction log: %s", left, self._trouble or "no time was left"
            )

    def _follow(self) -> None:
        while not self._stopping.is_set():
            self._many_wait.wait(PAUSE_SECONDS)
            self._many_wait.clear()
            if not self._write_waiting():
                # A full queue must not cause faster reconnects.
                self._stopping.wait(PAUSE_SECONDS)
        while not self._write_waiting() and time.monotonic() < self._deadline:
            time.sleep(PAUSE_SECONDS / 10)
        self._disconnect()

    def _write_waiting(self) -> bool:
        """Write the queue, oldest first; return whether the database was available. Unwritten rows stay in the queue.

        A refused batch is halved until the invalid rows are isolated; these are dropped.
        """
        size = BATCH
        while count := min(size, len(self._waiting)):
            # Set before the write too: a slow or locked database raises nothing while the queue fills up.
            WAITING.set(len(self._waiting))
            batch = [self._waiting[index] for index in range(count)]
            try:
                self._copy(batch)
            except _REFUSED as error:
                if count > 1:
                    size = count // 2
                    continue
                DROPPED.labels("refused").inc()
                log.error("a prediction is missing from the prediction log: %s", reason(error))
            except Exception as error:
                # Catch everything, or the thread ends and nothing is written any more.
                self._failed(error)
                return False
            else:
                WRITTEN.inc(count)
            for _ in batch:
                self._waiting.popleft()
            size = min(2 * size, BATCH)
        WAITING.set(0)
        if self._trouble:
            log.info("the prediction log is written again")
            self._trouble = ""
        return True

    def _copy(self, batch: list[Answered]) -> None:
        if self._connection is None:
            self._connection = psycopg.connect(self._database_url, **_CONNECTION)
        with self._connection.cursor() as cursor, cursor.copy(statement("predictions/append")) as copy:
            for answered in batch:
                copy.write_row((*answered[:-1], Jsonb(answered.features)))

    def _failed(self, error: Exception) -> None:
        self._disconnect()
        WAITING.set(len(self._waiting))
        if not self._trouble:
            log.warning("the prediction log cannot be written, answers wait: %s", reason(error))
        self._trouble = reason(error)

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
