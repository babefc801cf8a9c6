"""How long tests wait for what must come true. A limit ends a test that hangs; benchmarks say how fast things are."""

import os
import time
from collections.abc import Callable
from typing import Any

SLOWNESS = float(os.environ.get("CHURN_TEST_SLOWNESS", "3"))
"""The factor on every limit: 3 is for two cores that are busy with something else."""


def wait_for(
    condition: Callable[[], Any], seconds: float = 60, or_say: Callable[[], str] = str, pause: float = 0.5
) -> None:
    """Wait until the condition holds, on an idle machine for `seconds` at most."""
    deadline = time.monotonic() + seconds * SLOWNESS
    while not condition():
        assert time.monotonic() < deadline, f"not so within {seconds * SLOWNESS:.0f} seconds: {or_say()}"
        time.sleep(pause)
