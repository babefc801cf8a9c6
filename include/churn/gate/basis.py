"""Like with like: on which basis two versions are compared, and what an AUC is of.

A version that learned from the grading date does better on it than one that did not, also on customers whom neither
saw. A version that learned from it is therefore compared as shipped with the candidate as shipped, which learned from
it too. Any other version is compared with the candidate's twin, which did not.
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
    """OUT_OF_TIME or AS_SHIPPED, and why."""

    name: str
    why: str


def basis_against(other: Learned, graded_on: date, *, out_of_time: bool) -> Basis:
    """Return on which basis the candidate is compared with another version.

    Where it is not known whether the other learned from the grading date, the twin is compared: the candidate may then
    be kept back wrongly. A candidate of one date has no twin: it is compared as shipped, also with a version that has
    not learned from that date.

    Args:
        other: what the other version learned from.
        out_of_time: the candidate has a twin that was fitted without the grading date.
    """
    if not out_of_time:
        return Basis(AS_SHIPPED, f"without {graded_on} the candidate has too little to learn from")
    match other.has(graded_on):
        case True:
            return Basis(AS_SHIPPED, f"both learned from {graded_on}")
        case False:
            return Basis(OUT_OF_TIME, f"neither the candidate's twin nor the other learned from {graded_on}")
        case None:
            return Basis(OUT_OF_TIME, f"it is not known whether the other learned from {graded_on}: taken as if not")


@dataclass(frozen=True)
class Origin:
    """What an AUC is of.

    Attributes:
        day: the date whose rows were scored, None where they are of several dates or not known.
        out_of_time: they were scored by models that had not learned from that date.
        drops: the content of the drops of that date and later ones that the rows are made of.
    """

    day: date | None
    out_of_time: bool
    drops: Mapping[date, str] = field(default_factory=dict)


def out_of_fold_origin(tags: Mapping[str, str], learned: Learned) -> Origin:
    """Return what the out-of-fold AUC of a version is of, by its tags: of the date that it was graded on where it was
    graded out of time or has no other; else of all of its dates together."""
    try:
        graded_on = date.fromisoformat(tags["graded_on"])
    except (KeyError, ValueError):
        return Origin(None, out_of_time=False)
    out_of_time = tags.get("graded_out_of_time") == "True"
    single = learned.complete and len(learned.dates) == 1
    return Origin(graded_on if out_of_time or single else None, out_of_time, drops_since(tags, graded_on))


def drops_since(tags: Mapping[str, str], day: date) -> dict[date, str]:
    """Return the content of each drop of the version's training set from that date on."""
    try:
        drops = {date.fromisoformat(as_of): digest for as_of, digest in json.loads(tags.get("drops", "{}")).items()}
    except (AttributeError, ValueError):
        return {}
    return {as_of: digest for as_of, digest in drops.items() if as_of >= day}


def difference_of_origin(out_of_fold: Origin, cohort: Origin) -> str | None:
    """Return why a version's out-of-fold AUC says nothing of its AUC on the gate cohort, None where it does: both are
    of the same rows' date, and the models had learned from the same dates."""
    if out_of_fold.day is None:
        return "its out-of-fold AUC is of several dates, or not known of which"
    if out_of_fold.day != cohort.day:
        return f"its out-of-fold AUC is of {out_of_fold.day}, not of {cohort.day}"
    if out_of_fold.out_of_time != cohort.out_of_time:
        return f"its out-of-fold AUC is of models that had not learned from {cohort.day}, as it has"
    if out_of_fold.drops != cohort.drops:
        return f"the drops that hold {cohort.day} and its labels changed since its out-of-fold AUC was measured"
    return None
