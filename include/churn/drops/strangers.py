"""Refuses the labels or the actions of a date that has a snapshot, where none of them is of its customers."""

from collections.abc import Mapping
from datetime import date
from typing import Protocol

from churn.drops.contract import File
from churn.drops.violations import Violations


class Told(Protocol):
    """The rows of one date in an optional file: how many came and matched, and whether the date has no snapshot yet."""

    @property
    def came(self) -> int: ...

    @property
    def matched(self) -> int: ...

    @property
    def waiting(self) -> bool: ...


def find_strangers(told: Mapping[File, Mapping[date, Told]]) -> Violations:
    """Return as violations the dates with a snapshot of which no row of a file matches a customer."""
    violations = Violations()
    for file, dates in told.items():
        for day, of in dates.items():
            if not of.waiting and not of.matched:
                violations.add(
                    file.name, "ids of that date's snapshot: none matches", column="user_id",
                    value=f"{of.came} {file.table} of {day}",
                )  # fmt: skip
    return violations
