"""Counts the labels of a drop by date, and those that match customers of that date's snapshot.

Labels of a date without a snapshot are kept; training uses them once the snapshot exists.
"""

from dataclasses import dataclass
from datetime import date

from churn.as_of import event_timestamp
from churn.postgres.database import Connection, execute


@dataclass(frozen=True)
class Labels:
    """The labels of one date in one drop.

    Attributes:
        came: number of labels.
        matched: number of labels of customers in that date's snapshot; for the drop's own date, in its users file.
        changed: number that differ from the newest earlier drop's label.
        waiting: that date has no snapshot, so none can match yet.
    """

    came: int
    matched: int
    changed: int
    waiting: bool


def count_labels(connection: Connection, as_of: date) -> dict[date, Labels]:
    """Return the labels of the loaded drop of `as_of`, by the date that they are about."""
    dates = [day for (day,) in execute(connection, "labels/dates", {"as_of": as_of})]
    if not dates:
        return {}
    # Labels of the drop's own date need no snapshot: validate compared them with the users file.
    earlier = [day for day in dates if day != as_of]
    counts = execute(connection, "labels/counts", {
        "as_of": as_of, "dates": earlier, "first": dates[0], "known_from": [event_timestamp(day) for day in earlier],
    })  # fmt: skip
    return {
        day: Labels(came, came if day == as_of else matched, changed, waiting=day != as_of and not has_snapshot)
        for day, came, matched, changed, has_snapshot in counts
    }
