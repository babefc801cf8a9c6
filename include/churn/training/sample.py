"""Samples: which customers of a labelled date are read, where all of them would be too many for memory.

A customer is in a sample by their position, the hash that also decides on the cohorts. So a smaller sample is part of
a larger one, a version learns from the same customers on all its dates, and anybody can draw the samples again.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date

from psycopg import sql

from churn.postgres.database import Connection, compose, execute
from churn.training.cohort import AUDIT_SHARE, SALT, SHARE

COHORT_CUSTOMERS = 500_000
"""Customers of a date up to which both cohorts are read whole. The gate cohort then has 100,000: the standard error of
an AUC of 0.8 is 0.002, and that of the difference of two models far smaller than the margins of the gate."""

STEPS = 1000
"""Shares are rounded up to whole thousandths, so that a few customers more or less, as after an erasure, draw the same
sample."""


@dataclass(frozen=True)
class Sample:
    """Shares, 0 to 1: of the customers in each cohort, and of the others."""

    cohorts: float = 1.0
    others: float = 1.0

    @property
    def salt(self) -> str:
        """The salt of the positions."""
        return SALT

    @property
    def bounds(self) -> list[bytes]:
        """The positions at which the sample alternately begins and ends, ascending, as the first eight hash bytes: a
        customer at or above an odd number of them is in the sample."""
        begin = SHARE + AUDIT_SHARE
        ends = (SHARE * self.cohorts, SHARE + AUDIT_SHARE * self.cohorts, begin + (1 - begin) * self.others)
        edges = [edge for span in zip((0.0, SHARE, begin), ends, strict=True) for edge in span]
        # No position is 1 or above.
        return [int(edge * 2.0**64).to_bytes(8) for edge in edges if edge < 1.0]

    def condition(self, customers: str) -> sql.Composable:
        """Return the condition that a row of the table `customers` of a statement is of a customer in the sample."""
        if self == Sample():
            return sql.SQL("true")
        return compose(
            "training/in_sample",
            user_id=sql.Identifier(customers, "user_id"),
            salt=sql.Literal(self.salt),
            bounds=sql.Literal(self.bounds),
        )


def samples_of(connection: Connection, dates: Iterable[date], most_rows: int | None) -> dict[date, Sample]:
    """Return the sample of each date for a training set with about that many rows outside the cohorts at most.

    Args:
        most_rows: None for all.
    """
    customers = _customers(connection, dates)
    others = 1.0 if most_rows is None else share_of(most_rows, sum(customers.values()))
    return {day: Sample(share_of(COHORT_CUSTOMERS, count), others) for day, count in customers.items()}


def cohorts_of(connection: Connection, day: date) -> Sample:
    """Return the sample of a date for grading: the customers of the cohorts that a training set of the date has."""
    return Sample(share_of(COHORT_CUSTOMERS, _customers(connection, [day])[day]), others=0.0)


def evenly(most: int, customers: int) -> Sample:
    """Return a sample of about `most` of so many customers: the same share of each group."""
    share = share_of(most, customers)
    return Sample(share, share)


def share_of(most: int, customers: int) -> float:
    """Return the share of the customers that is about `most` of them, 1 if there are no more."""
    return 1.0 if customers <= most else math.ceil(STEPS * most / customers) / STEPS


def _customers(connection: Connection, dates: Iterable[date]) -> Mapping[date, int]:
    asked = sorted(dates)
    found: dict[date, int] = dict(execute(connection, "training/customers", {"dates": asked}).fetchall())
    return {day: found.get(day, 0) for day in asked}
