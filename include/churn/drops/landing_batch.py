"""Selects the pending drops to start now: those without a run, oldest first, up to a limit."""

from collections.abc import Callable, Iterable, Sequence

from churn.drops.watch import PendingDrop

ASKED_AT_ONCE = 32
"""Run ids per request to Airflow: they are in its URL, 2 KB here, where servers accept 8 KB."""


def start_first(
    pending: Sequence[PendingDrop], limit: int, count_started: Callable[[Sequence[str]], int]
) -> tuple[list[PendingDrop], int]:
    """Return the first `limit` drops without a run, and the number of further ones.

    A rejected drop stays pending and already has a run. Without this check, old rejected drops would block new ones.

    Args:
        count_started: returns how many of these run ids exist. A batch of ids is bisected only if some of them exist.
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
