"""The labels that a drop brings: how many there are of each date, and whether they meet that date's customers.

A label of a date without a snapshot is kept, and waits for one; training learns from it once there is one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from churn.as_of import event_timestamp
from churn.drops.contract import LABELS
from churn.drops.violations import Violations
from churn.postgres.database import Connection, execute


@dataclass(frozen=True)
class Labels:
    """The labels of a date in one drop.

    Attributes:
        came: how many there are.
        matched: how many are of a customer of that date's snapshot; of the drop's own date, of its users file.
        changed: how many differ from the label that the newest drop before this one brought.
        waiting: that date has no snapshot: none can match yet.
    """

    came: int
    matched: int
    changed: int
    waiting: bool


def count_labels(connection: Connection, as_of: date) -> dict[date, Labels]:
    """Return the labels that the loaded drop of `as_of` brings, by the date that they are about."""
    dates = [day for (day,) in execute(connection, "labels/dates", {"as_of": as_of})]
    if not dates:
        return {}
    # Labels of its own date, the plain case, are held against nothing here.
    earlier = [day for day in dates if day != as_of]
    counts = execute(connection, "labels/counts", {
        "as_of": as_of, "dates": earlier, "first": dates[0], "known_from": [event_timestamp(day) for day in earlier],
    })  # fmt: skip
    return {
        day: Labels(came, came if day == as_of else matched, changed, waiting=day != as_of and not has_snapshot)
        for day, came, matched, changed, has_snapshot in counts
    }


def strangers(labels: Mapping[date, Labels]) -> Violations:
    """Return the dates that have a snapshot, and of whose customers no label is: their ids are written otherwise."""
    violations = Violations()
    for day, of in labels.items():
        if not of.waiting and not of.matched:
            violations.add(
                LABELS.name, "ids of that date's snapshot: none matches", column="user_id",
                value=f"{of.came} labels of {day}",
            )  # fmt: skip
    return violations
