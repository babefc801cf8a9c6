"""Requests to erase customers that do not end: a task is red and nobody cleared it, or nobody answered `approve`."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from churn.postgres.database import connect, execute

ENDS_WITHIN = timedelta(days=7)
"""Time that a request may take. The law gives a month, and `approve` waits three days for an answer: after a week
there is time to mend what is wrong, and to ask twice."""

SHOWN = 3
"""An alert is short, and a name is 32 characters long."""

END = (
    "clear the red task of its run of churn_erase; if its file of ids is gone, make erase again with the same "
    "customers, then end this request (docs/erasure.md)"
)
"""Advice about such a request."""


@dataclass(frozen=True)
class Unended:
    """A request that has not ended, and when it was asked."""

    request: str
    asked_at: datetime

    def __str__(self) -> str:
        return f"{self.request} of {self.asked_at:%Y-%m-%d}"


def find_unended(database_url: str, now: datetime) -> list[Unended]:
    """Return the requests that were asked more than ENDS_WITHIN ago and have not ended, oldest first."""
    with connect(database_url) as connection:
        return [Unended(*row) for row in execute(connection, "deadline/unended", {"limit": now - ENDS_WITHIN})]


def unended_in_words(unended: list[Unended]) -> str:
    """Return a text that names the oldest of these requests, without the advice; "" if there is none."""
    if not unended:
        return ""
    more = f" and {len(unended) - SHOWN} more" if len(unended) > SHOWN else ""
    named = ", ".join(map(str, unended[:SHOWN]))
    return f"requests to erase customers that have not ended after {ENDS_WITHIN.days} days: {named}{more}"
