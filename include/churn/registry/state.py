"""Odd states of the model registry: what is odd, which version counts all the same, and what to do.

People change stages, aliases and tags in MLflow's page or by its API, and MLflow takes any value. The rule is simple:
stage Production counts, of several versions in it the highest number, and serving loads it only where its tags can be
read. Pure and light: serving, `make doctor` and `make status` say the same sentences.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from churn.registry.model_version import CHAMPION, LONGEST_VALUE, PRODUCTION, ModelNotLoadable, ModelVersion


@dataclass(frozen=True)
class Oddity:
    """`found` says what is odd and what counts, `advice` what to do.

    `is_refused`: serving cannot load the version in Production.
    """

    found: str
    advice: str
    is_refused: bool = False

    def __str__(self) -> str:
        return f"{self.found}; {self.advice}"


def in_production(versions: Iterable[ModelVersion]) -> list[ModelVersion]:
    """Return the versions in stage Production, the one that counts last."""
    return sorted((each for each in versions if each.stage == PRODUCTION), key=lambda each: each.version)


def odd_stages(held: Iterable[ModelVersion], aliases: Mapping[str, int]) -> list[Oddity]:
    """Judge which versions stage Production and alias champion name.

    Args:
        held: every version in stage Production; others are ignored.
        aliases: the version that each alias of the registered model names.
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
    """Judge the tags that serving reads of the version in Production.

    Args:
        services: the feature services that Feast knows; None where that is not known.
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
    """Judge stages, alias and the tags of the version that counts; see odd_stages() and odd_tags()."""
    held = in_production(versions)
    return [*odd_stages(held, aliases), *(odd_tags(held[-1], services) if held else [])]


def _listed(numbers: Collection[int]) -> str:
    return " and ".join(map(str, numbers)) if len(numbers) < 3 else ", ".join(map(str, numbers))
