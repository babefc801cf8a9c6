"""gunicorn's threaded worker, with four things that it lacks.

Short requests, of the paths in `short`, take no thread: they are begun one after the other, as greenlets, and what
they wait for is done for all of them at once (serving.gathering). Over eight connections a prediction takes 0.56 ms of
two cores so, and 0.92 ms where a thread takes each request, reads for it and scores it.

A new connection goes to the worker that has fewest. Left to themselves, whoever wakes up first takes all of a few
connections, and the other cores have nothing to do: of 30 times that eight came at once, seven or eight went to one of
two workers 17 times.

No client that is slow keeps short requests from being answered. gunicorn reads and writes for as long as a byte comes
or goes now and then, so a client gets a deadline. Until then only a thread that reads its body, or writes its answer,
waits with it.

A worker that ends closes idle connections when their time is over, and not only when its own is.
"""

import select
import selectors
import time
from collections.abc import Callable, Collection
from functools import partial
from math import inf
from typing import Any, NamedTuple

from greenlet import getcurrent, greenlet
from gunicorn import util
from gunicorn.workers.gthread import _DEFER, ThreadWorker

from serving.client_socket import ClientSocket

_FEW = 8
"""With more connections a worker waits no longer than with these: those who come must not queue up unseen. But it does
wait, or one worker takes nearly all of 64."""
_SECONDS_OF_GRACE = 0.0001
"""For how long a new connection is left to the others, for each connection that one has."""
_AT_ONCE = 4
"""So many new connections are taken in a turn by a worker that has others to answer: taken one by one, the last of 64
waited for 0.2 s. One that has none takes one, and is back in no time."""
_SECONDS_TO_HANG_UP = 0.5
"""For how long a client may read the end of its answer before its connection is closed for good."""
_TICK_SECONDS = 0.1
"""How often those who wait too long are looked for."""


class Worker(ThreadWorker):
    """See the module.

    Attributes:
        short: the paths of the requests that take no thread; one with a query takes one.
        answer_gathered: answers those that wait for each other.
        most_waiting: while more wait for a thread, others come to the application at once, to be refused by it.
    """

    short: Collection[str] = ()
    most_waiting: float = inf
    answer_gathered: Callable[[], None] = staticmethod(lambda: None)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._behind = 0
        self._woken = 0.0
        self._takes = 1
        self._blocked: dict[greenlet, float] = {}

    def is_short(self, path: str, query: str) -> bool:
        """Return whether such a request takes no thread."""
        return path in self.short and not query

    def waiting(self, path: str, query: str) -> int:
        """Return how many wait behind such a request, which is under way: in this turn, or for a thread."""
        return self._behind if self.is_short(path, query) else self.tpool._work_queue.qsize()

    def enqueue_req(self, conn: Any) -> None:
        """Begin with a request, or watch a new connection until it sends one."""
        if not (conn.initialized or conn.data_ready):
            conn.sock = ClientSocket(conn.sock, self.wait_for)
            if self.alive:
                self.finish_request(conn, _Done(_DEFER))
                return
            # Taken at the last moment, and nobody else's now.
            conn.data_ready = True
        greenlet(self._serve).switch(conn)

    def _serve(self, conn: Any) -> None:
        conn.sock.begin_a_request()
        goes_on = self.handle(conn)
        if not (goes_on and self.alive):
            # Here, where it holds up nobody and still counts as a connection; gunicorn then finds it closed.
            conn.sock.deadline = inf
            util.close_graceful(conn.sock, timeout=_SECONDS_TO_HANG_UP)
        self.finish_request(conn, _Done(goes_on))

    def handle_request(self, req: Any, conn: Any) -> bool:
        """Answer a request, here or in a thread."""
        answer = super().handle_request
        if self.is_short(req.path, req.query) or self.tpool._work_queue.qsize() > self.most_waiting:
            return answer(req, conn)

        def answer_in_a_thread() -> bool:
            # Waiting for the thread was not the client's doing.
            conn.sock.begin_a_request()
            return answer(req, conn)

        request = getcurrent()
        answered = self.tpool.submit(answer_in_a_thread)
        answered.add_done_callback(partial(self.method_queue.defer, request.switch))
        assert request.parent is not None
        return request.parent.switch().result()

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """Wait for what happens on connections, and answer. For a second at most: a worker that ends would otherwise
        sleep for all of graceful_timeout where nothing does, and close idle connections when it is about to be killed.
        """
        happened = [key for key, _ in self.poller.select(min(timeout, _TICK_SECONDS if self._blocked else 1.0))]
        self._woken = time.monotonic()
        # New connections come last: a worker that has something to do leaves them to the others for as long.
        happened.sort(key=lambda key: key.data == self.accept)
        self._takes = _AT_ONCE if len(happened) > 1 else 1
        self._behind = len(happened)
        for key in happened:
            self._behind -= 1
            key.data(key.fileobj)
        self.answer_gathered()
        self._give_up_the_overdue()

    def accept(self, listener: Any) -> None:
        """Take new connections, if no worker with fewer has by then."""
        self.answer_gathered()
        for _ in range(self._takes):
            before = self.nr_conns
            grace = min(before, _FEW) * _SECONDS_OF_GRACE
            time.sleep(max(0.0, self._woken + grace - time.monotonic()))
            super().accept(listener)
            if self.nr_conns in (before, self.worker_connections):
                break

    def wait_for(self, sock: ClientSocket, event: int, until: float) -> bool:
        """Wait for a connection to be ready, while others are answered; return whether it is by then (monotonic
        seconds)."""
        request = getcurrent()
        if request.parent is None:
            left = until - time.monotonic()
            if left < 0:
                return False
            ready = select.poll()
            ready.register(sock, select.POLLIN if event == selectors.EVENT_READ else select.POLLOUT)
            return bool(ready.poll(left * 1000))
        self.poller.register(sock, event, lambda _sock: request.switch(True))
        self._blocked[request] = until
        try:
            return request.parent.switch()
        finally:
            self.poller.unregister(sock)
            del self._blocked[request]

    def _give_up_the_overdue(self) -> None:
        now = time.monotonic()
        for request, until in [*self._blocked.items()]:
            if until < now and request in self._blocked:
                request.switch(False)


class _Done(NamedTuple):
    """What finish_request() wants of a request that is done."""

    outcome: Any

    def cancelled(self) -> bool:
        return False

    def result(self) -> Any:
        return self.outcome
