"""The deadline: every received drop has a decision of the gate and a list of scores within hours, and its labels are
judged; a version in Production that learned from erased customers is replaced within CHURN_REPLACE_DAYS; a request to
erase customers ends within a week.

The check reads drops instead of runs, because a drop that was never picked up has no run. Missing drops are checked
only if the interval between drops is configured.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from churn.as_of import why_future
from churn.drops.holds.record import find_holds
from churn.drops.landing import is_readable, list_drops
from churn.drops.watch import find_loaded, is_loaded
from churn.operations.late import find_late, in_words, registered_versions
from churn.operations.unended import END, find_unended, unended_in_words
from churn.outcome import DONE, Outcome
from churn.postgres.database import connect, execute
from churn.registry.erased import replace_by
from churn.registry.state import in_production
from churn.settings import replace_days

GRACE = timedelta(hours=2)
"""Time that a drop may wait for its decision: the chain takes minutes, and several drops may arrive at once."""

TOLD_FOR = timedelta(days=7)
"""Time that a late drop is alerted: an alert that repeats for longer hides new ones. `make doctor` still lists it."""

REPLACE = (
    "run the newest AS_OF again, which trains without them, and let the gate decide; if it keeps this version, put the "
    "new one into Production with make rollback VERSION=n, then make release"
)
"""Advice about a version in Production that learned from erased customers."""


class DeadlineMissed(RuntimeError):
    """AS_OFs without a decision, a list or a judgement in time, a version in Production that should have been
    replaced, or a request to erase customers that should have ended; the message gives the state of each, and what to
    do."""


def check_deadline(
    landing: Path, database_url: str, *, every_days: int | None = None, now: datetime | None = None
) -> Outcome:
    """Check that every drop received between a week and two hours ago has its decision and list, and judged labels;
    that the version in Production did not learn from customers who were erased more than CHURN_REPLACE_DAYS ago; and
    that every request to erase customers of more than a week ago has ended.

    Args:
        every_days: maximum days between drops; None does not check for missing drops.
        now: the instant to check for, aware; None is now.

    Raises:
        DeadlineMissed: a drop has no decision, no list or unjudged labels, the newest drop is too old, the version in
            Production should have been replaced, or a request to erase customers should have ended.
        SettingError: CHURN_REPLACE_DAYS cannot be used.
    """
    now = now or datetime.now(UTC)
    missing = find_missing(landing, database_url, every_days, now)
    held = ", ".join(str(as_of) for as_of in find_holds(database_url))
    late = find_late(landing, database_url, now - TOLD_FOR, now - GRACE)
    not_replaced = find_not_replaced(database_url, now)
    unended = unended_in_words(find_unended(database_url, now))
    if missing or not_replaced or unended or late:
        found = (missing, not_replaced, unended and f"{unended}: {END}", in_words(late))
        raise DeadlineMissed("; ".join(each for each in found if each))
    but = f", but {held}: held for a person, which was alerted" if held else ""
    until = f"{now - GRACE:%Y-%m-%d %H:%M} UTC"
    return Outcome(DONE, f"every drop received until {until} is decided on and scored, and its labels are judged{but}")


def find_missing(landing: Path, database_url: str, every_days: int | None, now: datetime) -> str | None:
    """Return a text if the newest drop is older than `every_days`, else None; None for `every_days` disables the
    check."""
    if not every_days:
        return None
    known, day = find_loaded(database_url), now.astimezone(UTC).date()
    loaded = {as_of for as_of in known if is_loaded(as_of, known)}
    # The directory of a withdrawn drop may still be there.
    there = {drop.as_of for drop in list_drops(landing) if drop.as_of not in known and is_readable(drop)}
    newest = max((as_of for as_of in loaded | there if not why_future(as_of, day)), default=None)
    if newest and (day - newest).days <= every_days:
        return None
    what = f"the newest drop is of {newest}" if newest else "there is no drop"
    return f"{what}, and one is expected every {every_days} days: ask whoever sends them"


def find_not_replaced(database_url: str, now: datetime) -> str | None:
    """Return a text if the version in Production learned from customers who were erased more than CHURN_REPLACE_DAYS
    ago, or if that is unknown; else None.

    Raises:
        SettingError: CHURN_REPLACE_DAYS cannot be used.
    """
    with connect(database_url) as connection:
        limit = now - timedelta(days=replace_days())
        rows = execute(connection, "erasure/overdue_versions", {"limit": limit}).fetchall()
    overdue = {(version, run_id): erased_at for version, run_id, erased_at in rows}
    if not overdue:
        return None
    versions = registered_versions()
    if versions is None:
        return "whether Production learned from customers who were erased is unknown: check that MLflow runs"
    for each in in_production(versions)[-1:]:
        if erased_at := overdue.get((each.version, each.run_id)):
            erased_on = erased_at.date()
            return (
                f"version {each.version} in Production learned from customers who were erased on {erased_on}, and "
                f"should have been replaced by {replace_by(erased_on)}: {REPLACE}"
            )
    return None
