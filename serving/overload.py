"""Load shedding: above a limit of requests in progress, a worker answers 503 at once.

A refusal costs a fraction of an answer, and an answer to a client that gave up is wasted.
"""

from collections import Counter
from threading import BoundedSemaphore, Lock

from flask import request

from serving.metrics import REQUESTS_WAITING
from serving.problems import Problem

_ALWAYS_ANSWERED = {"/health", "/health/ready", "/metrics"}
_AT_ONCE = 2
_KIND = "churn.kind"


class Load:
    """The requests in progress in this process: at most `limit` single predictions, and `limit` others.

    Attributes:
        turn: semaphore for slow work (batches, explanations, feature lookups), so that it does not crowd out single
            predictions.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._counting = Lock()
        self._under_way: Counter[str] = Counter()
        self.turn = BoundedSemaphore(_AT_ONCE)

    def enter(self) -> None:
        """Count the current request in; leave() must follow.

        Raises:
            Problem: overloaded.
        """
        if request.path in _ALWAYS_ANSWERED:
            return
        kind = "prediction" if request.path == "/predict" and not request.query_string else "other"
        request.environ[_KIND] = kind
        if self._count(kind, 1) > self._limit:
            raise Problem("overloaded", f"{self._limit} requests are in progress; try again in a moment")

    def leave(self, _error: BaseException | None = None) -> None:
        """Count the current request out."""
        if kind := request.environ.pop(_KIND, None):
            self._count(kind, -1)

    def _count(self, kind: str, change: int) -> int:
        with self._counting:
            self._under_way[kind] += change
            REQUESTS_WAITING.set(self._under_way.total())
            return self._under_way[kind]
