"""gunicorn's threaded worker, spread over the workers: a new connection goes to the one that has fewest.

Left to themselves, whoever wakes up first takes all of a few connections, and the other cores have nothing to do: of 30
times that eight came at once, seven or eight went to one of two workers 17 times.
"""

import time
from typing import Any

from gunicorn.workers.gthread import ThreadWorker

_FEW = 8
"""With more connections the differences are small, and those who come must not queue up unseen."""
_SECONDS_OF_GRACE = 0.0001
"""For how long a new connection is left to the others, for each connection that one has."""


class Worker(ThreadWorker):
    """See the module."""

    def accept(self, listener: Any) -> None:
        """Take a new connection, if no worker with fewer has by then."""
        if self.nr_conns < _FEW:
            time.sleep(self.nr_conns * _SECONDS_OF_GRACE)
        super().accept(listener)
