"""From the rows of a version to its figures: by basis, by arm and by slice, one of them with the deciding verdict."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from churn.outcomes.figures import Performance, measure
from churn.outcomes.rows import ALL, ANSWERING, API, LIST, Rows
from churn.outcomes.verdict import Verdict, judge
from churn.registry.model_version import ModelVersion
from churn.scores.arms import CONTROL, TREAT
from churn.statistics import Estimate
from churn.training.cohort import cohorts
from churn.training.learned_from import learned_of

COHORTS = "gate and audit cohort"
"""Customers that no version trains on."""
GATE_COHORT = "gate cohort"
"""Of the answering version: the rows of the gate's decision, so that both give the same figures."""
OUT_OF_TIME = "out of time"
"""All customers of a date that the version had not learned from."""

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
    rows: Rows, version: ModelVersion, as_of: date, promised: Estimate | None, slices: Slices
) -> Iterator[Part]:
    """Yield the figures of a version on every basis on which the rows are new to it.

    Args:
        as_of: the date of the rows.
        promised: AUC on the gate cohort at training, None if unknown.
    """
    part = partial(_part, rows, version, promised)
    for basis, mask in _bases(rows, version, as_of).items():
        arms = [ALL, TREAT, CONTROL] if rows.source == LIST else [ALL]
        for arm in arms:
            chosen = mask if arm == ALL else mask & (rows.arms == arm)
            decides = arm == ALL and rows.source != API and basis != OUT_OF_TIME
            yield part(chosen, basis=basis, arm=arm, slice=ALL, decides=decides)
        if basis != OUT_OF_TIME:
            for name, chosen in _by_slice(rows, mask, slices):
                yield part(chosen, basis=basis, arm=ALL, slice=name, decides=False)


def _bases(rows: Rows, version: ModelVersion, as_of: date) -> dict[str, np.ndarray]:
    """Return the mask of each basis. None where it is unknown what the version was trained on."""
    if rows.source == ANSWERING:
        return {GATE_COHORT: np.ones(len(rows), dtype=bool)}
    found = {}
    if salt := version.tags.get("cohort_salt"):
        gate, audit = cohorts(rows.users.to_pylist(), salt)
        found[COHORTS] = gate | audit
    if learned_of(version.tags, None).has(as_of) is False:
        found[OUT_OF_TIME] = np.ones(len(rows), dtype=bool)
    return found


def _by_slice(rows: Rows, mask: np.ndarray, slices: Slices) -> Iterator[tuple[str, np.ndarray]]:
    places = np.flatnonzero(mask)
    for name, of_slice in slices(rows.users.take(pa.array(places))).items():
        chosen = np.zeros(len(rows), dtype=bool)
        chosen[places[of_slice]] = True
        yield name, chosen


def _part(rows: Rows, version: ModelVersion, promised: Estimate | None, chosen: np.ndarray, **named: Any) -> Part:
    found = measure(
        rows.labels[chosen],
        rows.scores[chosen],
        rows.predictions[chosen],
        None if rows.deciles is None else rows.deciles[chosen],
    )
    verdict = judge(found.auc, found.rows, found.churned, promised)
    return Part(version, promised, rows.source, performance=found, verdict=verdict, **named)
