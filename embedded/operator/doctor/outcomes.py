"""Checks of the outcomes: the verdict on the version in Production, and lists whose labels nothing judged."""

from collections.abc import Iterator, Sequence
from datetime import date

from churn.outcomes.standing import CHANCE, Standing, verdict_in_words, verdict_on
from churn.postgres.database import connect, execute
from churn.registry.model_version import ModelVersion
from embedded.environment import environment
from embedded.operator.doctor.finding import Finding, bad, ok, some, warn
from embedded.operator.model_registry import production_among
from embedded.settings import Settings

VERDICT, LABELS = "verdict", "labels of lists"


def check_outcomes(settings: Settings, versions: Sequence[ModelVersion]) -> Iterator[Finding]:
    """Check the verdict on Production, and that every list with labels is judged."""
    production = production_among(versions)
    with connect(environment(settings)["CHURN_DATABASE_URL"]) as connection:
        found = verdict_on(connection, production)
        unjudged = execute(connection, "outcomes/unjudged").fetchall()
    yield judge_verdict(production, found)
    # The list of a version that was deleted cannot be judged.
    there = {(each.version, each.run_id) for each in versions}
    yield judge_unjudged([as_of for as_of, *version in unjudged if tuple(version) in there])


def judge_verdict(production: ModelVersion | None, found: Standing | None) -> Finding:
    """Judge the version in Production by the labels that came. A version without a verdict is no fault."""
    said = verdict_in_words(production, found)
    if found is None or not found.is_alarm:
        return ok(VERDICT, said)
    return (bad if found.verdict == CHANCE else warn)(VERDICT, said, found.advice)


def judge_unjudged(dates: Sequence[date]) -> Finding:
    """Judge the dates whose list is not held against labels that are there."""
    if not dates:
        return ok(LABELS, "every list with labels is judged")
    advice = (
        "churn_outcome starts when churn_score has ended, and its log says why it judges nothing; where no run is "
        f"under way: make trigger AS_OF={dates[0]}"
    )
    return warn(LABELS, f"labels of {some(dates)} came, and the list is not judged, or changed since", advice)
