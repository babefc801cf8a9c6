"""The list of an AS_OF as readers see it: the page "At risk" and `make scores`. Read-only.

It is not in churn.scores, whose code is part of what a list is made of: a change of the page would make a next revision
of every list.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal

from psycopg import sql
from psycopg.rows import dict_row

from churn.board.curves import BINS, DEPTHS, Curves, Group, curves_of, last_rank
from churn.board.reading import reading, rows_of
from churn.postgres.database import Connection, statement
from churn.scores import contact_list
from churn.scores.arms import TREAT
from churn.scores.run import Run, current_run
from churn.scores.words import in_words

LINES_AT_ONCE = 2_000
"""Customers in a piece of the CSV."""

Sort = Literal["rank", "monthly_fee", "revenue_at_risk"]
"""What customers are ordered by: rank ascending, the others descending, ties by rank."""


@dataclass(frozen=True)
class Listed:
    """The newest revision of the list of an AS_OF."""

    as_of: date
    revision: int
    model_version: int
    rows: int
    scored_at: datetime


@dataclass(frozen=True)
class LabelDrop:
    """A drop that delivered labels of a date, and the build of its snapshots that holds them."""

    as_of: date
    build: str


@dataclass(frozen=True)
class ListState:
    """A revision and the drops with labels of its date: all that its curves depend on."""

    run: Run
    label_drops: tuple[LabelDrop, ...]

    @property
    def learned_from_labels(self) -> bool:
        """Tell whether the version may have learned from labels of the date: then the curves flatter it."""
        return any(drop.as_of <= self.run.model_as_of for drop in self.label_drops)


@dataclass(frozen=True)
class Customer:
    """A row of the list. `reasons` are in words, none outside the top decile."""

    user_id: str
    rank: int
    decile: int
    churn_probability: float
    prediction: int
    monthly_fee: float
    revenue_at_risk: float
    arm: str
    reasons: list[str]


@dataclass(frozen=True)
class CustomerPage:
    """Customers in an order.

    Attributes:
        matches: how many customers the search matches; None without a search.
        next: the rank to give as `after` for the next page; None at the end.
    """

    customers: list[Customer]
    matches: int | None
    next: int | None


def read_lists(database_url: str) -> list[Listed]:
    """Return the AS_OFs that have a list, newest first.

    Raises:
        psycopg.Error: the database cannot be reached, or was never migrated.
    """
    with reading(database_url) as connection:
        return rows_of(connection, Listed, "listing/lists", {})


def current_list(database_url: str, as_of: date) -> ListState | None:
    """Return the newest revision of the list of `as_of`, None where there is none.

    Raises:
        psycopg.Error: the database cannot be reached, or was never migrated.
    """
    with reading(database_url) as connection:
        run = current_run(connection, as_of)
    return read_list(database_url, as_of, run.revision) if run else None


def read_list(database_url: str, as_of: date, revision: int) -> ListState | None:
    """Return a revision, None where it does not exist, was withdrawn, or retention deleted it.

    Raises:
        psycopg.Error: the database cannot be reached, or was never migrated.
    """
    with reading(database_url) as connection:
        found = rows_of(connection, Run, "listing/run", {"as_of": as_of, "revision": revision})
        drops = rows_of(connection, LabelDrop, "listing/label_drops", {"as_of": as_of})
    return ListState(found[0], tuple(drops)) if found else None


def read_curves(database_url: str, state: ListState) -> Curves:
    """Count the customers of a revision: by depth, decile and score, and who left as the newest labels say.

    It reads every customer: seconds for a million.

    Raises:
        psycopg.Error: the database cannot be reached.
    """
    values = {
        "as_of": state.run.as_of,
        "revision": state.run.revision,
        "rows": state.run.rows,
        "label_drops": [drop.as_of for drop in state.label_drops],
        "depths": DEPTHS,
        "bins": BINS,
        "treat": TREAT,
    }
    with reading(database_url) as connection:
        return curves_of(rows_of(connection, Group, "listing/groups", values))


def read_customers(
    database_url: str, run: Run, *, search: str = "", sort: Sort = "rank", after: int = 0, limit: int = 50
) -> CustomerPage:
    """Return a page of customers.

    Args:
        search: the beginning of their user_id; upper and lower case differ.
        after: the rank of the last customer of the page before, 0 for the first page.

    Raises:
        psycopg.Error: the database cannot be reached.
    """
    values = {"as_of": run.as_of, "revision": run.revision, "search": search, "after": after, "limit": limit + 1}
    with reading(database_url) as connection:
        found = _customers(connection, sort, values)
        matches = _count(connection, values) if search else None
    shown = found[:limit]
    return CustomerPage(
        customers=[_in_words(row) for row in shown],
        matches=matches,
        next=shown[-1]["rank"] if len(found) > limit else None,
    )


def contacts(database_url: str, run: Run, depth: int) -> Iterator[bytes]:
    """Yield the CSV of the customers of arm treat down to a depth, in pieces. At depth 10 it is top.csv.

    Args:
        depth: hundredths of the list, 1 to DEPTHS.

    Raises:
        psycopg.Error: the database cannot be reached; before the first piece, or between two.
    """
    values = {
        "as_of": run.as_of,
        "revision": run.revision,
        "last_rank": last_rank(depth, run.rows),
        "arm": TREAT,
    }
    # A cursor of the server: memory does not grow with the number of customers.
    with reading(database_url) as connection, connection.cursor("contacts", row_factory=dict_row) as cursor:
        cursor.execute(statement("listing/contacts"), values)
        yield contact_list.header()
        while rows := cursor.fetchmany(LINES_AT_ONCE):
            yield contact_list.lines(rows)


def _customers(connection: Connection, sort: Sort, values: dict[str, Any]) -> Sequence[dict[str, Any]]:
    if sort == "rank":
        query: sql.SQL | sql.Composed = sql.SQL(statement("listing/customers_by_rank"))
    else:
        query = sql.SQL(statement("listing/customers_by")).format(column=sql.Identifier(sort))
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query, values).fetchall()


def _count(connection: Connection, values: dict[str, Any]) -> int:
    found = connection.execute(statement("listing/count_matches"), values).fetchone()
    assert found is not None
    return int(found[0])


def _in_words(row: dict[str, Any]) -> Customer:
    return Customer(**row | {"reasons": [in_words(reason) for reason in row["reasons"] or ()]})
