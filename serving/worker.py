"""gunicorn's threaded worker, with three things that it lacks.

A new connection goes to the worker that has fewest. Left to themselves, whoever wakes up first takes all of a few
connections, and the other cores have nothing to do: of 30 times that eight came at once, seven or eight went to one of
two workers 17 times.

No client that is slow keeps others from being answered. gunicorn reads and writes for as long as a byte comes or goes
now and then, so a request gets a deadline; who says nothing, or does not hang up, holds nobody up for longer than a
moment.

A worker that ends closes idle connections when their time is over, and not only when its own is.
"""

import contextlib
import socket
import threading
import time
from functools import partial
from typing import Any

from gunicorn import util
from gunicorn.workers.gthread import _DEFER, ThreadWorker

_FEW = 8
"""With more connections a worker waits no longer than with these: those who come must not queue up unseen. But it does
wait, or one worker takes nearly all of 64."""
_SECONDS_OF_GRACE = 0.0001
"""For how long a new connection is left to the others, for each connection that one has."""
_SECONDS_OF_A_REQUEST = 5.0
"""From its first byte to its answer. A batch is answered in 0.1 s; the rest is for clients far away. Less than
graceful_timeout: one that is slow while the worker ends must not cost it the time to write its prediction log."""
_SECONDS_OF_SILENCE = 0.1
"""For how long a thread, of which there are few, waits for the first byte of a new connection; then the poller does."""
_SECONDS_TO_HANG_UP = 0.1
"""For how long a worker waits for a client to close its end. It is the thread that accepts connections which waits, and
by gunicorn's own measure (2 s) six such clients stop a worker for 12 s."""

# gthread finds it by this name, and has no setting for it.
util.close_graceful = partial(util.close_graceful, timeout=_SECONDS_TO_HANG_UP)


class Worker(ThreadWorker):
    """See the module."""

    def init_process(self) -> None:
        """Watch the requests of this process, and serve until it ends."""
        self._begun: dict[Any, float] = {}
        threading.Thread(target=self._end_overdue, name="overdue", daemon=True).start()
        super().init_process()

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """Wait for what happens on connections, a second at most: a worker that ends would otherwise sleep for all of
        graceful_timeout where nothing does, and close idle connections when it is about to be killed."""
        super().wait_for_and_dispatch_events(min(timeout, 1.0))

    def handle(self, conn: Any) -> Any:
        """Answer a request, in a thread of the pool."""
        # As gunicorn would by itself, but for 5 s.
        if not conn.initialized and not conn.wait_for_data(_SECONDS_OF_SILENCE):
            return _DEFER
        self._begun[conn] = time.monotonic()
        try:
            return super().handle(conn)
        finally:
            self._begun.pop(conn, None)

    def _end_overdue(self) -> None:
        while True:
            time.sleep(1)
            overdue = time.monotonic() - _SECONDS_OF_A_REQUEST
            for conn, begun in self._begun.copy().items():
                if begun < overdue:
                    self._begun.pop(conn, None)
                    self.log.warning("a request took more than %.0f s; its connection is closed", _SECONDS_OF_A_REQUEST)
                    # Its thread, reading or writing, finds the end of the connection. It may be over by now.
                    with contextlib.suppress(OSError):
                        conn.sock.shutdown(socket.SHUT_RDWR)

    def accept(self, listener: Any) -> None:
        """Take a new connection, if no worker with fewer has by then."""
        time.sleep(min(self.nr_conns, _FEW) * _SECONDS_OF_GRACE)
        super().accept(listener)
