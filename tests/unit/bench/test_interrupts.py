"""Ctrl-C while a process is being started."""

import signal
from contextlib import ExitStack

import pytest

from bench.interrupts import interrupted_later


@pytest.fixture(autouse=True)
def ctrl_c():
    """Restore the handler of SIGINT, which shells disable for background jobs."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def start(done):
    with ExitStack() as at_the_end:
        with interrupted_later():
            signal.raise_signal(signal.SIGINT)
            done.append("started")
            at_the_end.callback(done.append, "stopped")
        done.append("used")


def test_an_interrupt_is_raised_after_the_block():
    done = []
    with pytest.raises(KeyboardInterrupt):
        start(done)
    assert done == ["started", "stopped"]


def test_the_signal_handler_is_restored():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(ZeroDivisionError), interrupted_later():
        raise ZeroDivisionError
    assert signal.getsignal(signal.SIGINT) is before
