"""The labelled dates that a version learned from: a tag, or an inference from the other tags of older versions.

For a version without the tag, the newest date is known. All dates are known if every drop of the training set up to
that date was labelled. To learn from a date means: from it, or from one whose label period overlaps its own.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date

from churn.settings import LABEL_DAYS
from churn.training.label_period import overlap

LEARNED_FROM = "learned_from"
"""The tag of a version: the labelled dates that it learned from, as JSON."""


@dataclass(frozen=True)
class Learned:
    """The labelled dates that a version is known to have learned from, including its newest.

    Attributes:
        complete: all dates are known; otherwise there may be earlier ones.
        label_days: the days that a label covers.
    """

    dates: frozenset[date] = frozenset()
    complete: bool = False
    label_days: int = LABEL_DAYS

    def has(self, day: date) -> bool | None:
        """Tell whether it learned from that date or one that overlaps it, None if unknown."""
        if any(overlap(day, each, self.label_days) for each in self.dates):
            return True
        later_than_all = bool(self.dates) and day > max(self.dates)
        return False if self.complete or later_than_all else None


def to_tag(dates: Iterable[date]) -> str:
    """Return the value of the tag LEARNED_FROM."""
    return json.dumps([day.isoformat() for day in sorted(dates)])


def learned_of(tags: Mapping[str, str], labelled_dates: int | None, label_days: int = LABEL_DAYS) -> Learned:
    """Return the labelled dates that a version learned from.

    Args:
        tags: tags of the version.
        labelled_dates: number of labelled dates that its run records, None if it records none.
        label_days: the days that a label covers.
    """
    try:
        if LEARNED_FROM in tags:
            return Learned(frozenset(map(date.fromisoformat, json.loads(tags[LEARNED_FROM]))), True, label_days)
        newest = date.fromisoformat(tags["graded_on"])
        drops = {day for day in map(date.fromisoformat, json.loads(tags.get("drops", "{}"))) if day <= newest}
    except (KeyError, TypeError, ValueError):
        # Registered or edited by hand.
        return Learned(label_days=label_days)
    # A drop may be in the set only for the labels that it delivered. Then the drops do not determine the dates.
    if newest in drops and len(drops) == labelled_dates:
        return Learned(frozenset(drops), True, label_days)
    return Learned(frozenset({newest}), False, label_days)
