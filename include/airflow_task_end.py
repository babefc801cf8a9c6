"""Airflow sees at once that a task has ended.

Its supervisor (3.3.2) waits for a task's sockets to close, looks whether the process has ended, and, when there is no
socket left to wait for, looks again after `[workers] min_heartbeat_interval`: 5 s by default. A process closes its
sockets just before it ends, so that after every third task a worker stands idle for so long.
"""

from contextlib import suppress
from socket import socket

from airflow.sdk.execution_time.supervisor import ActivitySubprocess

PATIENCE = 1.0
"""Seconds that a process is given to end after its last socket: Airflow goes on as before with one that takes longer,
which must be told that it lives."""


def wait_for_the_end() -> None:
    """Have supervisors of tasks in this process wait for the process itself once there is no socket to wait for."""
    close = ActivitySubprocess._on_socket_closed

    def close_and_wait(self: ActivitySubprocess, sock: socket) -> None:
        close(self, sock)
        if not self._open_sockets:
            with suppress(self._process.TimeoutExpired):
                # It is remembered: Airflow, which asks next, is told the same.
                self._process.wait(PATIENCE)

    ActivitySubprocess._on_socket_closed = close_and_wait
