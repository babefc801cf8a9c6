"""The moments at which a test kills a step: one in so many, another share at each commit, so that over time all are
tried."""

import itertools
import re
from collections.abc import Iterator

from churn.code import git_commit


def moments(stride: int) -> Iterator[int]:
    """Yield every `stride`-th moment, counted from 1. The commit decides which one is the first."""
    found = re.match(r"[0-9a-f]{8}", git_commit())
    return itertools.count(1 + (int(found[0], 16) % stride if found else 0), stride)
