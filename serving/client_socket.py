"""A connection to a client, whose waits are the worker's: it may do other things meanwhile, and ends them in time."""

import errno
import logging
import selectors
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from math import inf
from typing import Any

log = logging.getLogger(__name__)

_SECONDS_OF_A_REQUEST = 5.0
"""For a client to send it and to take its answer. A batch is answered in 0.1 s; the rest is for clients far away. Less
than graceful_timeout: one that is slow while the worker ends must not cost it the time to write its prediction log."""
_MOST_BYTES = 65_536
"""After so many of a client that never pauses, others have their turn: gunicorn reads some lines without a limit."""


class ClientSocket(socket.socket):
    """A connection of a worker, in the place of `taken`.

    Args:
        wait_for: called with the socket, EVENT_READ or EVENT_WRITE of selectors, and until when to wait for that
            (monotonic seconds); returns whether it came.

    Attributes:
        deadline: until when the request under way may take (monotonic seconds).
    """

    def __init__(self, taken: socket.socket, wait_for: Callable[["ClientSocket", int, float], bool]) -> None:
        super().__init__(taken.family, taken.type, taken.proto, taken.detach())
        super().setblocking(False)
        self.deadline = inf
        self._await = wait_for
        self._without_pause = 0
        self._patience_seconds: float | None = None

    def begin_a_request(self) -> None:
        """Give the client its time."""
        self.deadline = time.monotonic() + _SECONDS_OF_A_REQUEST
        self._without_pause = 0

    def gettimeout(self) -> float | None:
        return self._patience_seconds

    def settimeout(self, value: float | None) -> None:
        self._patience_seconds = value

    def setblocking(self, flag: bool) -> None:
        self._patience_seconds = None if flag else 0.0

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        if self._without_pause > _MOST_BYTES:
            self._wait_for(selectors.EVENT_READ)
        while True:
            try:
                received = super().recv(bufsize, flags)
            except BlockingIOError:
                self._wait_for(selectors.EVENT_READ)
            else:
                self._without_pause += len(received)
                return received

    def send(self, data: Any, flags: int = 0) -> int:
        self.sendall(data, flags)
        return len(data)

    def sendall(self, data: Any, flags: int = 0) -> None:
        left = memoryview(data)
        while left:
            try:
                left = left[super().send(left, flags) :]
            except BlockingIOError:
                self._wait_for(selectors.EVENT_WRITE)

    def _wait_for(self, event: int) -> None:
        self._without_pause = 0
        patience = inf if self._patience_seconds is None else time.monotonic() + self._patience_seconds
        if self._await(self, event, min(patience, self.deadline)):
            return
        if patience < self.deadline:
            raise TimeoutError
        log.warning("a request took more than %.0f s; its connection is closed", _SECONDS_OF_A_REQUEST)
        # Whoever catches this must not answer either.
        with suppress(OSError):
            self.shutdown(socket.SHUT_RDWR)
        raise ConnectionResetError(errno.ECONNRESET, "the request took too long")
