"""The curves of lists, each counted once in the background: a million customers take seconds, a request must not."""

import threading
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor

import psycopg

from churn.board.curves import Curves
from churn.board.listing import ListState, read_curves

PATIENCE = 0.4
"""Seconds to wait for curves before the page is answered without them. It asks again."""

KEPT = 64
"""Lists whose curves are kept, about 30 kB each. They stay right: another revision or other labels are another key."""

_THREADS = ThreadPoolExecutor(2, thread_name_prefix="at-risk")
_LOCK = threading.Lock()
_counted: OrderedDict[tuple[str, ListState], Future[Curves]] = OrderedDict()


def curves(database_url: str, state: ListState) -> Curves | None:
    """Return the curves of a list, None while they are counted.

    Raises:
        psycopg.Error: the database could not be read; the next call tries again.
    """
    key = database_url, state
    with _LOCK:
        counting = _counted.pop(key, None) or _THREADS.submit(read_curves, database_url, state)
        _counted[key] = counting
        while len(_counted) > KEPT:
            _counted.popitem(last=False)
    try:
        return counting.result(PATIENCE)
    except TimeoutError:
        return None
    except psycopg.Error:
        with _LOCK:
            _counted.pop(key, None)
        raise
