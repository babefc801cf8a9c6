"""Label periods: which labelled dates a training set takes.

A label covers the CHURN_LABEL_DAYS days that start at its date. Labels of dates closer than that overlap: they are no
second opinion, and a twin that learned from one is not out of time on the other. So time is cut into fixed periods of
that length. Each period gives its first labelled date, or none if that is too near the one before. The choice is one
for all of a period, however often drops come; monthly drops each lie in a period of their own.
"""

from collections.abc import Iterable
from datetime import date

START = date(1970, 1, 1)
"""The first day of the first period. It never moves, so that the periods are the same for every AS_OF."""


def choose_dates(labelled: Iterable[date], label_days: int, limit: int) -> list[date]:
    """Return the newest `limit` dates to learn from, oldest first; neighbours are at least `label_days` apart.

    The first date of each period counts, except one less than `label_days` after the date chosen before it; its period
    then gives none. A later date changes nothing about the choice among earlier ones.

    Args:
        labelled: the labelled dates, in any order.
        label_days: the days that a label covers.
    """
    chosen: list[date] = []
    period = None
    for day in sorted(labelled):
        if _period_of(day, label_days) == period:
            continue
        period = _period_of(day, label_days)
        if not chosen or not overlap(chosen[-1], day, label_days):
            chosen.append(day)
    return chosen[-limit:]


def overlap(one: date, other: date, label_days: int) -> bool:
    """Tell whether the labels of both dates share a day."""
    return abs((one - other).days) < label_days


def _period_of(day: date, label_days: int) -> int:
    return (day - START).days // label_days
