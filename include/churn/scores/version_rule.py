"""The rule which model version scores an AS_OF. No score of D is made by a model that saw a later date."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from churn.registry.model_version import ModelNotLoadable, ModelVersion


@dataclass(frozen=True)
class Choice:
    """The version that scores, None if there is none, and the reason."""

    version: ModelVersion | None
    reason: str


def choose_version(
    as_of: date, production: ModelVersion | None, promoted: Sequence[ModelVersion], withdrawn: frozenset[date]
) -> Choice:
    """Return the version in Production if its AS_OF is not after `as_of`; else the newest promoted one of which that
    holds.

    How a version came into Production, and whether it is pinned, does not matter.

    Args:
        promoted: the versions that Production held, in order, without those that a person rolled back.
        withdrawn: the AS_OFs whose drop was withdrawn. Their versions score only while they are in Production.
    """
    if production is None:
        why = "Production is empty"
    else:
        trained = _as_of(production)
        if trained and trained <= as_of:
            return Choice(production, f"version {production.version} is in Production")
        why = f"Production, version {production.version}, " + (
            f"is of {trained}, after {as_of}" if trained else "does not say of which AS_OF it is"
        )
    known = [(trained, each) for each in promoted if (trained := _as_of(each)) and trained <= as_of]
    usable = [(trained, place, each) for place, (trained, each) in enumerate(known) if trained not in withdrawn]
    if not usable:
        return Choice(
            None, f"{why}, and no version of an AS_OF up to {as_of} was promoted: promote one, then run it again"
        )
    chosen = max(usable, key=lambda each: each[:2])[2]
    return Choice(chosen, f"{why}; version {chosen.version} is the newest promoted one of an AS_OF up to {as_of}")


def _as_of(version: ModelVersion) -> date | None:
    try:
        return version.as_of
    except ModelNotLoadable:
        return None
