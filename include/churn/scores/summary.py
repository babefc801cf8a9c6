"""The list of an AS_OF in short: its run, its deciles, and the customers at its top."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, TypeVar

from psycopg.rows import class_row

from churn.postgres.database import Connection, compose, connect
from churn.scores.run import Run, current_run

Row = TypeVar("Row")


@dataclass(frozen=True)
class Decile:
    """A tenth of the customers by rank.

    Attributes:
        expected_churners: the sum of their probabilities.
        revenue_at_risk: per month.
        control: how many of them are in the control arm.
    """

    decile: int
    customers: int
    expected_churners: float
    revenue_at_risk: float
    control: int


@dataclass(frozen=True)
class AtRisk:
    """A customer of the list; `reasons` as scores.customers holds them."""

    rank: int
    user_id: str
    churn_probability: float
    monthly_fee: float
    revenue_at_risk: float
    arm: str
    reasons: Sequence[Mapping[str, Any]] | None


@dataclass(frozen=True)
class Summary:
    """The newest revision of a list, its deciles, and its first customers by rank."""

    run: Run
    deciles: list[Decile]
    top: list[AtRisk]


def read_summary(database_url: str, as_of: date, top: int) -> Summary | None:
    """Return the list of `as_of` in short, with its first `top` customers; None where there is no list.

    Raises:
        psycopg.Error: the database cannot be reached.
    """
    with connect(database_url) as connection:
        run = current_run(connection, as_of)
        if run is None:
            return None
        which = {"as_of": as_of, "revision": run.revision, "top": top}
        return Summary(run, _rows(connection, Decile, "deciles", which), _rows(connection, AtRisk, "top", which))


def read_runs(database_url: str) -> dict[date, Run]:
    """Return the newest revision of the list of each AS_OF.

    Raises:
        psycopg.Error: the database cannot be reached.
    """
    with connect(database_url) as connection:
        return {run.as_of: run for run in _rows(connection, Run, "current_runs", {})}


def _rows(connection: Connection, row: type[Row], name: str, which: Mapping[str, Any]) -> list[Row]:
    with connection.cursor(row_factory=class_row(row)) as cursor:
        return cursor.execute(compose(f"scores/{name}"), which).fetchall()
