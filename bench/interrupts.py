"""Ctrl-C, held back while something is started that has to be stopped again."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def interrupted_later() -> Iterator[None]:
    """Raise the KeyboardInterrupt of a Ctrl-C at the end of the block: begin there what cleans up. In the midst of
    Popen it would leave a process that nobody knows. For the main thread.
    """
    caught: list[Any] = []
    usual = signal.signal(signal.SIGINT, lambda *received: caught.append(received))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)
    if caught:
        signal.raise_signal(signal.SIGINT)
