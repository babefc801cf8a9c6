"""Overload: a request that finds many others waiting is refused at once, which takes a fraction of answering it.

Waiting in line until the client has given up would be work for nobody.
"""

import time
from collections.abc import Callable

from flask import request

from serving.metrics import REQUESTS_WAITING
from serving.problems import Problem

_ALWAYS_ANSWERED = {"/health", "/health/ready", "/metrics"}


class Line:
    """The requests that wait in this process, `limit` of them at most."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._waiting: Callable[[str, str], int] = lambda path, query: 0  # noqa: ARG005
        self._second = 0
        self._most = 0

    def watch(self, waiting: Callable[[str, str], int]) -> None:
        """Take from here how many wait behind a request of that path and query; the server knows."""
        self._waiting = waiting

    def refuse_when_long(self) -> None:
        """Let the request under way pass if no more than `limit` wait behind it; operators' routes pass always.

        Raises:
            Problem: overloaded.
        """
        waiting, second = self._waiting(request.path, request.query_string.decode("latin-1")), int(time.monotonic())
        if waiting > self._most or second != self._second:
            self._second, self._most = second, waiting
            REQUESTS_WAITING.set(waiting)
        if waiting > self._limit and request.path not in _ALWAYS_ANSWERED:
            raise Problem("overloaded", f"more than {self._limit} requests wait; try again in a moment")
