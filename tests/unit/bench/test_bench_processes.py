"""The processes of a benchmark: their start, their end, and Ctrl-C in between."""

import signal
import sys
from contextlib import ExitStack

import psutil
import pytest

from bench import BenchError
from bench.processes import interrupted_later, running
from embedded.stack.process_manager import is_alive
from tests.patience import wait_for


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


def test_a_process_runs_until_the_end_of_the_block_with_its_children(tmp_path):
    started, log = tmp_path / "started", tmp_path / "log"
    script = f"sleep 1000 & touch {started}; echo $NAME; exec sleep 1000"
    with running(["sh", "-c", script], log, started.exists, {"NAME": "ann"}) as process:
        (child,) = psutil.Process(process.pid).children()
        assert log.read_text() == "ann\n"
        process.kill()
    wait_for(lambda: not is_alive(child.pid), seconds=10)


def test_a_process_that_ends_before_it_is_ready_shows_its_log(tmp_path):
    command = [sys.executable, "-c", "raise SystemExit('no such port')"]
    with pytest.raises(BenchError, match="no such port"), running(command, tmp_path / "log", lambda: False):
        pass
