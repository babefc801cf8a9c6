"""Delays Ctrl-C while a process is being started."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def interrupted_later() -> Iterator[None]:
    """Raise a Ctrl-C's KeyboardInterrupt only at the end of the block, where the cleanup starts.

    Raised inside Popen, it would leave an unknown process. For the main thread.
    """
    caught: list[Any] = []
    usual = signal.signal(signal.SIGINT, lambda *received: caught.append(received))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)
    if caught:
        signal.raise_signal(signal.SIGINT)
