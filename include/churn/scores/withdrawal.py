"""Withdrawal of lists: after its drop was withdrawn, a date leaves scores.current, and its manifests say so."""

from datetime import date

from churn.drops.storage import Location, storage_at
from churn.drops.withdrawal import is_withdrawn
from churn.outcome import DONE, UNCHANGED, Outcome
from churn.postgres.database import connect, execute, lock, lock_session
from churn.scores.files import mark_withdrawn
from churn.scores.run import runs_of


def withdraw_scores(as_of: date, database_url: str, location: Location) -> Outcome:
    """Mark every revision of the list of `as_of` as withdrawn, in scores.runs and then in its manifest.

    Rows and files are kept. A killed call is completed by the next one. If a drop of `as_of` was loaded since the
    withdrawal, no revision is marked any more; manifests of revisions that are marked already are still rewritten.

    Args:
        location: where the files are (SCORES_URL).
    """
    storage = storage_at(location)
    with connect(database_url, autocommit=True) as connection:
        # A run of churn_score that is publishing would write its manifest after this, without the mark.
        lock_session(connection, "scores", as_of.isoformat())
        with connection.transaction():
            lock(connection, "as_of", as_of.isoformat())
            withdrawn = is_withdrawn(connection, as_of)
            marked = execute(connection, "scores/mark_withdrawn", {"as_of": as_of}).rowcount if withdrawn else 0
        runs = [run for run in runs_of(connection, as_of) if run.withdrawn_at and not run.expired_at]
        rewritten = [run.revision for run in runs if mark_withdrawn(storage, run)]
    figures = {"revisions": marked, "manifests": rewritten}
    if marked or rewritten:
        what = f"{marked} revisions, {len(rewritten)} manifests"
        return Outcome(DONE, f"the list of {as_of} is withdrawn: {what}", figures)
    if not withdrawn:
        return Outcome(UNCHANGED, f"the drop of {as_of} is not withdrawn, or another one was loaded since", figures)
    return Outcome(UNCHANGED, f"{as_of} has no list that is not withdrawn", figures)
