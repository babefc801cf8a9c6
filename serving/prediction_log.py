"""The prediction log: every answer, written to predictions.answered in batches, off the request path.

An answer never waits for it and never fails with it. While the database is away answers are kept, up to a number; what
comes beyond that is counted and not written. Where the database dies while it commits, a batch may be written twice.
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

WRITTEN = Counter("churn_prediction_log_written", "Answers written to the prediction log")
DROPPED = Counter(
    "churn_prediction_log_dropped",
    "Answers missing from the prediction log. full: too many waited; refused: the database does not take such values; "
    "shutdown: the database was away when the service ended",
    ["reason"],
)
WAITING = Gauge("churn_prediction_log_waiting", "Answers waiting to be written", multiprocess_mode="livesum")
for _reason in ("full", "refused", "shutdown"):
    DROPPED.labels(_reason)  # An alert on a counter needs it to begin at 0.

BATCH = 500
"""Answers in one COPY; where so many wait, they are written at once."""
PAUSE_SECONDS = 1.0
"""Between writes where fewer wait, and before what failed is tried again."""

# What is wrong with an answer and not with the database: trying again is no help.
_REFUSED = (psycopg.DataError, psycopg.IntegrityError, TypeError, ValueError)

_CONNECTION: dict[str, Any] = {
    "autocommit": True,
    "application_name": "churn prediction log",
    # libpq takes whole seconds, and two at least.
    "connect_timeout": 2,
    # A server that the network lost is given up after some ten seconds; by default that takes minutes.
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}


class Answered(NamedTuple):
    """A row of predictions.answered: what was answered about a customer, when, and from which features."""

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
    """What takes answers from the requests of this process and writes them from a thread of its own.

    Args:
        database_url: the `churn` database (libpq URI), as a role that may insert into predictions.answered.
        capacity: so many answers may wait, in 1 kB of memory each. The default outlasts 10 seconds of 1,000 answers.
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
        """Have it written within about a second. Where `capacity` wait already, it is dropped and counted."""
        # Without a lock: threads that come at the same moment may exceed the capacity by one each.
        if len(self._waiting) >= self._capacity:
            DROPPED.labels("full").inc()
            WAITING.set(len(self._waiting))
            return
        self._waiting.append(answered)
        if len(self._waiting) >= BATCH and not self._many_wait.is_set():
            self._many_wait.set()

    def start(self) -> None:
        """Write from now on, in a thread of this process; call it after the fork."""
        self._thread = threading.Thread(target=self._follow, name="prediction-log", daemon=True)
        self._thread.start()

    def stop(self, patience_seconds: float = 3.0) -> None:
        """Write what waits, then end the thread. What cannot be written in `patience_seconds` is dropped and counted.

        Call it when the last answer was appended.
        """
        if self._thread is None:
            return
        self._deadline = time.monotonic() + patience_seconds
        self._stopping.set()
        self._many_wait.set()
        # Longer only where it waits for a server that fell silent; the thread does not keep the process alive.
        self._thread.join(patience_seconds)
        if left := len(self._waiting):
            DROPPED.labels("shutdown").inc(left)
            log.error("%d answers are missing from the prediction log: %s", left, self._trouble or "no time was left")

    def _follow(self) -> None:
        while not self._stopping.is_set():
            self._many_wait.wait(PAUSE_SECONDS)
            self._many_wait.clear()
            if not self._write_waiting():
                # However many wait by now: the database needs no more attempts to connect than this.
                self._stopping.wait(PAUSE_SECONDS)
        while not self._write_waiting() and time.monotonic() < self._deadline:
            time.sleep(PAUSE_SECONDS / 10)
        self._disconnect()

    def _write_waiting(self) -> bool:
        """Write all that waits, oldest first; tell whether the database took it. What it did not take goes on waiting.

        A batch that is refused is tried in halves, down to the answers that are the reason.
        """
        size = BATCH
        while count := min(size, len(self._waiting)):
            # Also before a success: a database that is slow or locked raises nothing while the queue fills up.
            WAITING.set(len(self._waiting))
            batch = [self._waiting[index] for index in range(count)]
            try:
                self._copy(batch)
            except _REFUSED as error:
                if count > 1:
                    size = count // 2
                    continue
                DROPPED.labels("refused").inc()
                log.error("an answer is missing from the prediction log: %s", reason(error))
            except Exception as error:
                # Whatever it was, the thread must go on: nobody else would write.
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
