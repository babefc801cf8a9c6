"""Odd states of the model registry: the finding, the version that counts, and what to do.

Users change stages, aliases and tags in MLflow, which accepts any value. The rule: the version in stage Production
counts, of several the highest number, and serving loads it only if its tags are readable. The functions are pure, so
that serving, `make doctor` and `make status` report the same sentences.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from churn.registry.model_version import CHAMPION, LONGEST_VALUE, PRODUCTION, ModelNotLoadable, ModelVersion


@dataclass(frozen=True)
class Oddity:
    """An odd state.

    Attributes:
        found: the odd state, and the version that counts.
        advice: what to do.
        is_refused: serving cannot load the version in Production.
    """

    found: str
    advice: str
    is_refused: bool = False

    def __str__(self) -> str:
        return f"{self.found}; {self.advice}"


def in_production(versions: Iterable[ModelVersion]) -> list[ModelVersion]:
    """Return the versions in stage Production by number; the last one counts."""
    return sorted((each for each in versions if each.stage == PRODUCTION), key=lambda each: each.version)


def odd_stages(held: Iterable[ModelVersion], aliases: Mapping[str, int]) -> list[Oddity]:
    """Return oddities of stage Production and alias champion.

    Args:
        held: every version in stage Production; others are ignored.
        aliases: version number by alias of the registered model.
    """
    numbers = [each.version for each in in_production(held)]
    found = []
    if len(numbers) > 1:
        *others, counts = numbers
        found.append(
            Oddity(
                f"versions {_listed(numbers)} are {'both' if len(numbers) == 2 else 'all'} in stage Production: "
                f"version {counts}, the highest number, counts",
                f"move {_listed(others)} to stage Archived in MLflow; to serve another one: make rollback VERSION=n",
            )
        )
    champion = aliases.get(CHAMPION)
    if champion is None or champion in numbers[-1:]:
        return found
    back = f"to serve version {champion}: make rollback VERSION={champion}"
    if not numbers:
        what = f"alias {CHAMPION} names version {champion}, and stage Production is empty: the stage counts, so no "
        return [*found, Oddity(f"{what}version is served", back)]
    what = f"alias {CHAMPION} names version {champion}, and stage Production holds version {numbers[-1]}: the stage"
    return [*found, Oddity(f"{what} counts", f"set the alias to version {numbers[-1]} in MLflow; {back}")]


def odd_tags(version: ModelVersion, services: Collection[str] | None) -> list[Oddity]:
    """Return oddities of the tags that serving reads of the version in Production.

    Args:
        services: Feast's feature services; None if unknown.
    """
    whys = []
    for name in ("as_of", "threshold", "feature_service"):
        try:
            getattr(version, name)
        except ModelNotLoadable as error:
            whys.append(str(error))
    named = version.tags.get("feature_service")
    if services and named is not None and named not in services:
        whys.append(
            f"Feast does not know its feature service {named[:LONGEST_VALUE]!r}: set the tag feature_service in MLflow "
            f"to one of {', '.join(sorted(services))}"
        )
    found = f"version {version.version} is in Production and cannot be served: serving keeps the version that it has"
    return [Oddity(f"{found}, or answers 503", why, is_refused=True) for why in whys]


def oddities(
    versions: Iterable[ModelVersion], aliases: Mapping[str, int], services: Collection[str] | None
) -> list[Oddity]:
    """Return the oddities of the stage, the alias and the tags; see odd_stages() and odd_tags()."""
    held = in_production(versions)
    return [*odd_stages(held, aliases), *(odd_tags(held[-1], services) if held else [])]


def _listed(numbers: Collection[int]) -> str:
    return " and ".join(map(str, numbers)) if len(numbers) < 3 else ", ".join(map(str, numbers))
