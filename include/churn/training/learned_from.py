"""The labelled dates that a version learned from: a tag of the version, and what is known of versions without it.

Training writes the tag. Versions from before it are known by their other tags: the newest date always, all dates where
every drop of the training set up to that date was a labelled one.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date

LEARNED_FROM = "learned_from"
"""The tag of a version: the labelled dates of its training set, as JSON."""


@dataclass(frozen=True)
class Learned:
    """The labelled dates that a version is known to have learned from, its newest among them.

    Attributes:
        complete: these are all; otherwise there may be earlier ones.
    """

    dates: frozenset[date] = frozenset()
    complete: bool = False

    def has(self, day: date) -> bool | None:
        """Tell whether it learned from that date, None where that is not known.

        A date counts when its label period overlaps that of `day`. Today each date is a period of its own.
        """
        if day in self.dates:
            return True
        later_than_all = bool(self.dates) and day > max(self.dates)
        return False if self.complete or later_than_all else None


def to_tag(dates: Iterable[date]) -> str:
    """Return the value of the tag LEARNED_FROM."""
    return json.dumps([day.isoformat() for day in sorted(dates)])


def learned_of(tags: Mapping[str, str], labelled_dates: int | None) -> Learned:
    """Return what a version learned from.

    Args:
        tags: those of the version.
        labelled_dates: how many its run says that there were, None where it does not say.
    """
    try:
        if LEARNED_FROM in tags:
            return Learned(frozenset(map(date.fromisoformat, json.loads(tags[LEARNED_FROM]))), complete=True)
        newest = date.fromisoformat(tags["graded_on"])
        drops = {day for day in map(date.fromisoformat, json.loads(tags.get("drops", "{}"))) if day <= newest}
    except (KeyError, TypeError, ValueError):
        # Registered by hand, or changed by hand: nothing is known.
        return Learned()
    # A drop may be in the set for the labels that it delivered alone: then the dates cannot be told from the drops.
    if newest in drops and len(drops) == labelled_dates:
        return Learned(frozenset(drops), complete=True)
    return Learned(frozenset({newest}))
