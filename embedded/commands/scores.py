"""Prints the list of an AS_OF: counts, deciles, the customers who are most likely to leave and why, and its files."""

from collections.abc import Sequence
from datetime import date

from churn.board.curves import Part
from churn.board.listing import Customer, ListState, current_list, read_curves, read_customers
from churn.drops.storage import storage_at
from churn.scores.files import folder_of
from churn.scores.run import Run
from embedded.environment import environment
from embedded.settings import Settings
from embedded.table import table

TOP = 20


class NoScores(RuntimeError):
    """The AS_OF has no list; the message says what to do."""


def scores(settings: Settings, as_of: date, top: int = TOP) -> str:
    """Return the list of `as_of` as text, with its first `top` customers.

    Raises:
        NoScores: `as_of` was not scored.
        psycopg.Error: the database cannot be reached.
    """
    variables = environment(settings)
    url = variables["CHURN_DATABASE_URL"]
    found = current_list(url, as_of)
    if found is None:
        raise NoScores(
            f"there is no list of {as_of}: make trigger AS_OF={as_of} runs its chain; the log of churn_score says why "
            "a date is not scored"
        )
    files = storage_at(variables["SCORES_URL"]).where(folder_of(found.run))
    deciles = read_curves(url, found).deciles
    return "\n\n".join([_head(found.run), _deciles(deciles), at_risk(first_of(url, found, top)), f"files: {files}"])


def first_of(database_url: str, found: ListState, count: int) -> list[Customer]:
    """Return the first customers of a list."""
    return read_customers(database_url, found.run, limit=count).customers


def _head(run: Run) -> str:
    return (
        f"AS_OF {run.as_of}, revision {run.revision}: {run.rows:,} customers scored by version {run.model_version} of "
        f"{run.model_as_of}\n{run.expected_churners:,.0f} expected to leave, {run.revenue_at_risk:,.2f} of monthly "
        f"fees at risk; {100 * run.control_share:g} % control arm: do not contact it"
    )


def _deciles(deciles: Sequence[Part]) -> str:
    rows = [
        (each.number, f"{each.customers:,}", f"{each.expected:,.1f}", f"{each.expected / each.customers:.1%}",
         f"{each.revenue_at_risk:,.2f}", f"{each.customers - each.treat:,}")
        for each in deciles
    ]  # fmt: skip
    return table(("decile", "customers", "expected to leave", "share", "revenue at risk", "control"), rows)


def at_risk(customers: Sequence[Customer]) -> str:
    """Return a table of customers with their reasons in words."""
    rows = [
        (each.rank, each.user_id, f"{each.churn_probability:.3f}", f"{each.monthly_fee:.2f}", each.arm,
         "; ".join(each.reasons))
        for each in customers
    ]  # fmt: skip
    return table(("rank", "customer", "probability", "monthly fee", "arm", "reasons"), rows)
