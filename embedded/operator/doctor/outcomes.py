"""Checks of the outcomes: the verdict on the version in Production, lists whose labels nothing judged, and drift."""

from collections.abc import Iterator, Sequence
from datetime import date

from churn.drift.findings import Row, drift_in_words, drifted_now, newest_compared
from churn.outcomes.standing import CHANCE, Standing, verdict_in_words, verdict_on
from churn.postgres.database import connect, execute
from churn.registry.model_version import ModelVersion
from embedded.environment import environment
from embedded.operator.doctor.finding import Finding, bad, ok, some, warn
from embedded.operator.model_registry import production_among
from embedded.settings import Settings

VERDICT, LABELS, DRIFT = "verdict", "labels of lists", "drift"


def check_outcomes(settings: Settings, versions: Sequence[ModelVersion]) -> Iterator[Finding]:
    """Check the verdict on Production, that every list with labels is judged, and the newest columns."""
    production = production_among(versions)
    with connect(environment(settings)["CHURN_DATABASE_URL"]) as connection:
        found = verdict_on(connection, production)
        unjudged = execute(connection, "outcomes/unjudged").fetchall()
        compared, drifted = newest_compared(connection), drifted_now(connection)
    yield judge_verdict(production, found)
    # The list of a version that was deleted cannot be judged.
    there = {(each.version, each.run_id) for each in versions}
    yield judge_unjudged([as_of for as_of, *version in unjudged if tuple(version) in there])
    yield judge_drift(compared, drifted)


def judge_verdict(production: ModelVersion | None, found: Standing | None) -> Finding:
    """Judge the version in Production by the labels that came. A version without a verdict is no fault."""
    said = verdict_in_words(production, found)
    if found is None or not found.is_alarm:
        return ok(VERDICT, said)
    return (bad if found.verdict == CHANCE else warn)(VERDICT, said, found.advice)


def judge_drift(compared: date | None, drifted: Sequence[Row]) -> Finding:
    """Judge the findings of the newest AS_OF that was compared."""
    said = drift_in_words(compared, drifted)
    return (
        warn(DRIFT, said, "the page Health shows the figures; docs/drift.md says what to do")
        if drifted
        else ok(DRIFT, said)
    )


def judge_unjudged(dates: Sequence[date]) -> Finding:
    """Judge the dates whose list is not held against labels that are there."""
    if not dates:
        return ok(LABELS, "every list with labels is judged")
    advice = (
        "churn_outcome starts when churn_score has ended, and its log says why it judges nothing; where no run is "
        f"under way: make trigger AS_OF={dates[0]}"
    )
    return warn(LABELS, f"labels of {some(dates)} came, and the list is not judged, or changed since", advice)
