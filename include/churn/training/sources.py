"""What a training set is made of: the labelled dates to learn from at an AS_OF, and their drops, without the join."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

from churn.postgres.database import Connection, execute
from churn.settings import label_days
from churn.training.label_period import choose_dates

LABELLED_DATES = 6
"""Labelled dates per training set: half a year of label periods, so that old behaviour fades out."""


class Expired(RuntimeError):
    """Retention removed dates of the training set."""


@dataclass(frozen=True)
class Sources:
    """The labelled dates of a training set and its drops, without the join.

    Attributes:
        dates: oldest first.
        drops: AS_OF → sha256 of the content: the drops of the dates, which give the features, and those up to the AS_OF
            that delivered labels for these dates. Equal drops give equal training sets.
        expired: those of the drops that retention removed.
    """

    dates: list[date]
    drops: dict[date, str]
    expired: list[date]


def sources_of(
    connection: Connection, as_ofs: Iterable[date], limit: int = LABELLED_DATES, days: int | None = None
) -> dict[date, Sources]:
    """Return the sources of the training set of each AS_OF; without dates if there is nothing to learn from.

    Args:
        limit: the most dates of a training set.
        days: the days that a label covers; None for CHURN_LABEL_DAYS.

    Raises:
        SettingError: CHURN_LABEL_DAYS cannot be used.
    """
    asked, days = sorted(set(as_ofs)), days or label_days()
    if not asked:
        return {}
    builds = [_Build(*row) for row in execute(connection, "training/drops", {"newest": asked[-1]})]
    return {as_of: _sources([each for each in builds if each.as_of <= as_of], days, limit) for as_of in asked}


class _Build(NamedTuple):
    """A row of the statement training/drops."""

    as_of: date
    digest: str
    is_expired: bool
    label_dates: list[date]
    labelled: list[date]


def _sources(builds: Sequence[_Build], days: int, limit: int) -> Sources:
    dates = choose_dates({day for each in builds for day in each.labelled}, days, limit)
    used = [each for each in builds if each.as_of in dates or not set(dates).isdisjoint(each.label_dates)]
    return Sources(dates, {each.as_of: each.digest for each in used}, [each.as_of for each in used if each.is_expired])


def labelled_dates(
    connection: Connection, as_of: date, limit: int = LABELLED_DATES, days: int | None = None
) -> list[date]:
    """Return the dates to learn from at `as_of`, oldest first: the choice among the dates that have a snapshot and
    labels delivered by drops up to `as_of`. For `limit` and `days` see sources_of().

    Raises:
        Expired: retention removed one of them, or of the drops that labelled them.
    """
    found = sources_of(connection, [as_of], limit, days)[as_of]
    if expired := [str(drop) for drop in found.expired]:
        raise Expired(
            f"the training set of {as_of} includes {', '.join(expired)}, which retention removed: run these dates "
            f"again (make backfill FROM={expired[0]} TO={expired[-1]}; their drops must be in the landing directory), "
            f"then {as_of}; and increase CHURN_SNAPSHOTS_DAYS"
        )
    return found.dates


def drops_of(connection: Connection, as_ofs: Iterable[date]) -> dict[date, dict[date, str]]:
    """Return the drops of each AS_OF's training set, those that retention removed included."""
    return {as_of: found.drops for as_of, found in sources_of(connection, as_ofs).items()}
