"""From the rows of a version to its figures: by basis, by arm and by slice, one of them with the deciding verdict.

Where a campaign contacted customers, its success would look like a dead model: the very customers who were expected to
leave stay. There the control arm alone decides.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from churn.outcomes.figures import Performance, measure
from churn.outcomes.rows import ALL, ANSWERING, API, Rows
from churn.outcomes.verdict import Verdict, enough, judge
from churn.registry.model_version import ModelVersion
from churn.scores.arms import CONTROL, TREAT
from churn.settings import label_days
from churn.statistics import Estimate
from churn.training.cohort import SALT, cohorts
from churn.training.learned_from import learned_of

COHORTS = "gate and audit cohort"
"""Customers that no version trains on."""
GATE_COHORT = "gate cohort"
"""Of the answering version: the rows of the gate's decision, so that both give the same figures."""
OUT_OF_TIME = "out of time"
"""All customers of a date that the version had not learned from, nor from one whose label period overlaps it."""

Slices = Callable[[pa.ChunkedArray], Mapping[str, np.ndarray]]
"""From customers to the mask of each slice."""


@dataclass(frozen=True)
class Part:
    """Some rows of a version, and the figures over them.

    Attributes:
        promised: AUC on the gate cohort at training, None if unknown.
        decides: its verdict is the one on the version.
    """

    version: ModelVersion
    promised: Estimate | None
    source: str
    basis: str
    arm: str
    slice: str
    decides: bool
    performance: Performance
    verdict: Verdict


def judge_rows(
    rows: Rows,
    version: ModelVersion,
    as_of: date,
    promised: Estimate | None,
    slices: Slices,
    *,
    earlier: Iterable[Rows] | None = None,
) -> Iterator[Part]:
    """Yield the figures of a version on every basis on which the rows are new to it.

    After a campaign the control arm alone decides. Its rows in the cohorts are few: they are pooled with those of
    earlier lists until there are enough for a verdict. If these are too few as well, the whole control arm decides, on
    a date that the version had not learned from.

    Args:
        as_of: the date of the rows.
        promised: AUC on the gate cohort at training, None if unknown.
        earlier: after a campaign the control arm in the cohorts of earlier lists of the version, newest first; None
            without one.
    """
    part, bases = partial(_part, version, promised), bases_of(rows, version, as_of)
    may_decide = rows.source != API and bool(bases)
    after_campaign = None
    if earlier is not None and may_decide:
        basis, control = _control_that_decides(rows, bases, earlier)
        after_campaign = basis, CONTROL
        yield part(control, basis=basis, arm=CONTROL, slice=ALL, decides=True)
    for basis, mask in bases.items():
        decides = may_decide and basis != OUT_OF_TIME and after_campaign is None
        yield part(rows.take(mask), basis=basis, arm=ALL, slice=ALL, decides=decides)
        for arm in (TREAT, CONTROL):
            of_arm = rows.take(mask & (rows.arms == arm))
            if len(of_arm) and after_campaign != (basis, arm):
                yield part(of_arm, basis=basis, arm=arm, slice=ALL, decides=False)
        if basis != OUT_OF_TIME:
            places = np.flatnonzero(mask)
            for name, of_slice in slices(rows.users.take(pa.array(places))).items():
                chosen = rows.take(_mask(len(rows), places[of_slice]))
                yield part(chosen, basis=basis, arm=ALL, slice=name, decides=False)


def control_of_cohorts(rows: Rows, version: ModelVersion, as_of: date) -> Rows:
    """Return the control arm in the cohorts."""
    mask = bases_of(rows, version, as_of).get(COHORTS, np.zeros(len(rows), dtype=bool))
    return rows.take(mask & (rows.arms == CONTROL))


def _control_that_decides(rows: Rows, bases: Mapping[str, np.ndarray], earlier: Iterable[Rows]) -> tuple[str, Rows]:
    control = rows.arms == CONTROL
    basis = next(iter(bases))
    chosen, dates = rows.take(bases[basis] & control), 1
    if len(chosen) == 0:
        return basis, chosen
    for more in earlier:
        if _is_enough(chosen):
            break
        if len(more):
            chosen, dates = chosen.plus(more), dates + 1
    if not _is_enough(chosen) and OUT_OF_TIME in bases:
        return OUT_OF_TIME, rows.take(control)
    return f"{basis} of {dates} dates" if dates > 1 else basis, chosen


def _is_enough(rows: Rows) -> bool:
    return enough(len(rows), int(rows.labels.sum()))


def bases_of(rows: Rows, version: ModelVersion, as_of: date) -> dict[str, np.ndarray]:
    """Return the mask of each basis. None where it is unknown what the version was trained on."""
    if rows.source == ANSWERING:
        held_out = version.tags.get("cohort_salt") == SALT
        return {GATE_COHORT: np.ones(len(rows), dtype=bool)} if held_out else {}
    found = {}
    if salt := version.tags.get("cohort_salt"):
        gate, audit = cohorts(rows.users.to_pylist(), salt)
        found[COHORTS] = gate | audit
    if learned_of(version.tags, None, label_days()).has(as_of) is False:
        found[OUT_OF_TIME] = np.ones(len(rows), dtype=bool)
    return found


def _mask(rows: int, places: np.ndarray) -> np.ndarray:
    mask = np.zeros(rows, dtype=bool)
    mask[places] = True
    return mask


def _part(version: ModelVersion, promised: Estimate | None, rows: Rows, **named: Any) -> Part:
    found = measure(rows.labels, rows.scores, rows.predictions, rows.deciles)
    verdict = judge(found.auc, found.rows, found.churned, promised)
    return Part(version, promised, rows.source, performance=found, verdict=verdict, **named)
