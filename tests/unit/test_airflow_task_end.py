"""A task's end is seen when it comes, not at the next look."""

import os
import time
from selectors import EVENT_READ, DefaultSelector
from socket import socketpair
from unittest.mock import MagicMock
from uuid import uuid4

import psutil
import pytest
from airflow.sdk.execution_time import supervisor
from airflow.sdk.execution_time.supervisor import ActivitySubprocess, PsutilTracker

import airflow_task_end


class Selector(DefaultSelector):
    """Counts how often nothing was there to wait for."""

    in_vain = 0

    def select(self, timeout=None):
        self.in_vain += not self.get_map()
        return super().select(timeout)


def supervise_one_that_closes_first(monkeypatch: pytest.MonkeyPatch) -> tuple[Selector, int | None]:
    """Supervise a process that closes its only socket 0.2 s before it ends."""
    monkeypatch.setattr(supervisor, "MIN_HEARTBEAT_INTERVAL", 0.01)
    ours, childs = socketpair()
    pid = os.fork()
    if pid == 0:
        ours.close()
        childs.close()
        time.sleep(0.2)
        os._exit(7)
    childs.close()
    selector = Selector()
    watched = ActivitySubprocess(
        id=uuid4(), pid=pid, stdin=ours, process=PsutilTracker(psutil.Process(pid)),
        process_log=MagicMock(), client=MagicMock(), selector=selector,
    )  # fmt: skip
    watched._open_sockets[ours] = "stdout"
    selector.register(ours, EVENT_READ, (lambda _: False, watched._on_socket_closed))
    watched._monitor_subprocess()
    return selector, watched._exit_code


def test_nobody_waits_for_sockets_that_are_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ActivitySubprocess, "_on_socket_closed", ActivitySubprocess._on_socket_closed)
    airflow_task_end.wait_for_the_end()
    selector, exit_code = supervise_one_that_closes_first(monkeypatch)
    assert (selector.in_vain, exit_code) == (0, 7)


def test_airflow_has_not_mended_it(monkeypatch: pytest.MonkeyPatch) -> None:
    selector, exit_code = supervise_one_that_closes_first(monkeypatch)
    assert selector.in_vain > 0, "Airflow does this itself now: airflow_task_end.py can go"
    assert exit_code == 7


def test_one_that_goes_on_is_left_to_airflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ActivitySubprocess, "_on_socket_closed", ActivitySubprocess._on_socket_closed)
    monkeypatch.setattr(airflow_task_end, "PATIENCE", 0.05)
    airflow_task_end.wait_for_the_end()
    selector, exit_code = supervise_one_that_closes_first(monkeypatch)
    assert selector.in_vain > 0
    assert exit_code == 7
