"""The basis of a comparison: both versions have learned from the grading date, or neither has.

A version that learned from the grading date scores better on it, even on unseen customers. It is therefore compared
with the candidate as shipped, which learned from that date too. Any other version is compared with the candidate's
twin, which did not.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

from churn.training.learned_from import Learned

OUT_OF_TIME = "out of time"
AS_SHIPPED = "as shipped"


@dataclass(frozen=True)
class Basis:
    """OUT_OF_TIME or AS_SHIPPED, with the reason."""

    name: str
    why: str


def basis_against(other: Learned, graded_on: date, *, out_of_time: bool) -> Basis:
    """Return the basis on which the candidate is compared with another version.

    If it is unknown whether the other learned from the grading date, the twin is compared, which can only be too
    strict. A candidate of one date has no twin and is always compared as shipped.

    Args:
        other: the dates that the other version learned from.
        out_of_time: the candidate has a twin that was fitted without the grading date.
    """
    if not out_of_time:
        return Basis(AS_SHIPPED, f"the candidate has no twin without {graded_on}")
    match other.has(graded_on):
        case True:
            return Basis(AS_SHIPPED, f"both learned from {graded_on}")
        case False:
            return Basis(OUT_OF_TIME, f"neither the candidate's twin nor the other learned from {graded_on}")
        case None:
            return Basis(OUT_OF_TIME, f"it is not known whether the other learned from {graded_on}: taken as if not")


@dataclass(frozen=True)
class Origin:
    """The rows and models behind an AUC.

    Attributes:
        day: the date of the scored rows, None for several dates or if unknown.
        out_of_time: the models had not learned from that date.
        drops: digests of the drops of that date and later, which the rows are built from.
    """

    day: date | None
    out_of_time: bool
    drops: Mapping[date, str] = field(default_factory=dict)


def out_of_fold_origin(tags: Mapping[str, str], learned: Learned) -> Origin:
    """Return the origin of a version's out-of-fold AUC by its tags. The AUC is of the grading date if that was graded
    out of time or is the only date, else of all dates together."""
    try:
        graded_on = date.fromisoformat(tags["graded_on"])
    except (KeyError, ValueError):
        return Origin(None, out_of_time=False)
    out_of_time = tags.get("graded_out_of_time") == "True"
    single = learned.complete and len(learned.dates) == 1
    return Origin(graded_on if out_of_time or single else None, out_of_time, drops_since(tags, graded_on))


def drops_since(tags: Mapping[str, str], day: date) -> dict[date, str]:
    """Return the digest of each drop of the version's training set from that date on."""
    try:
        drops = {date.fromisoformat(as_of): digest for as_of, digest in json.loads(tags.get("drops", "{}")).items()}
    except (AttributeError, ValueError):
        return {}
    return {as_of: digest for as_of, digest in drops.items() if as_of >= day}


def difference_of_origin(out_of_fold: Origin, cohort: Origin) -> str | None:
    """Return why a version's out-of-fold AUC cannot be compared with its AUC on the gate cohort, None if it can: the
    dates of the rows and of the training data match."""
    if out_of_fold.day is None:
        return "its out-of-fold AUC is of several dates, or not known of which"
    if out_of_fold.day != cohort.day:
        return f"its out-of-fold AUC is of {out_of_fold.day}, not of {cohort.day}"
    if out_of_fold.out_of_time != cohort.out_of_time:
        return f"its out-of-fold AUC is of models that had not learned from {cohort.day}, as it has"
    if out_of_fold.drops != cohort.drops:
        return f"the drops that hold {cohort.day} and its labels changed since its out-of-fold AUC was measured"
    return None
