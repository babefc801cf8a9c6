"""The actions of a date: who was contacted, and how.

At AS_OF D the actions of a date are the union of those that the drops up to D deliver. A later drop adds actions, and
takes none back; correcting or withdrawing the drop that delivered an action does.
"""

from dataclasses import dataclass
from datetime import date

from churn.as_of import event_timestamp
from churn.postgres.database import Connection, execute, one


@dataclass(frozen=True)
class Actions:
    """The actions of one date in one drop.

    Attributes:
        came: number of actions.
        matched: number of actions of customers in that date's snapshot; for the drop's own date, in its users file.
        waiting: that date has no snapshot, so none can match yet.
    """

    came: int
    matched: int
    waiting: bool


def count_actions(connection: Connection, as_of: date) -> dict[date, Actions]:
    """Return the actions of the loaded drop of `as_of`, by the date that they are about."""
    dates = [day for (day,) in execute(connection, "actions/dates", {"as_of": as_of})]
    known_from = [event_timestamp(day) for day in dates if day != as_of]
    counts = execute(connection, "actions/counts", {"as_of": as_of, "known_from": known_from})
    # Actions of the drop's own date need no snapshot: validate compared them with the users file.
    return {
        day: Actions(came, came if day == as_of else matched, waiting=day != as_of and not has_snapshot)
        for day, came, matched, has_snapshot in counts
    }


def are_known(connection: Connection, as_of: date, known_as_of: date) -> bool:
    """Tell whether a drop up to `known_as_of` delivered an action of `as_of`. A file without rows tells nothing."""
    return bool(one(connection, "actions/are_known", {"as_of": as_of, "known_as_of": known_as_of})[0])


def contacted(connection: Connection, as_of: date, known_as_of: date) -> dict[str, list[str]]:
    """Return the customers with an action of `as_of` in a drop up to `known_as_of`, and the actions of each."""
    return dict(execute(connection, "actions/contacted", {"as_of": as_of, "known_as_of": known_as_of}).fetchall())
