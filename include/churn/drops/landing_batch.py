"""Which of the drops that wait are started now: those without a run, the oldest first, a bounded number."""

from collections.abc import Callable, Iterable, Sequence

from churn.drops.watch import PendingDrop

ASKED_AT_ONCE = 32
"""Run ids in a question to Airflow, which go into its URL: 2 KB, where servers take 8."""


def start_first(
    pending: Sequence[PendingDrop], limit: int, count_started: Callable[[Sequence[str]], int]
) -> tuple[list[PendingDrop], int]:
    """Return the first `limit` drops whose run was not started before, and how many more of them wait.

    A rejected drop waits for ever and its run exists: without this, some old ones would keep new ones from starting.

    Args:
        count_started: returns how many of these run ids exist. A few are asked about at once, and one by one only where
            some of them exist and some do not.
    """
    fresh: list[PendingDrop] = []
    for begin in range(0, len(pending), ASKED_AT_ONCE):
        fresh += _not_started(pending[begin : begin + ASKED_AT_ONCE], count_started)
    return fresh[:limit], len(fresh[limit:])


def _not_started(drops: Sequence[PendingDrop], count_started: Callable[[Sequence[str]], int]) -> Iterable[PendingDrop]:
    started = count_started([drop.run_id for drop in drops])
    if started == 0:
        return drops
    if started == len(drops):
        return []
    half = len(drops) // 2
    return [*_not_started(drops[:half], count_started), *_not_started(drops[half:], count_started)]
