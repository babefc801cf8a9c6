"""Leak checks: did a version train on the gate cohort? They compare its salt, its training customers and its AUC.

The AUC on the cohort is compared with the out-of-fold AUC, not with the AUC on training rows: an honest forest has an
AUC of 1.00 on those too.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from churn import statistics
from churn.gate.evidence import Graded
from churn.gate.thresholds import Thresholds
from churn.training.cohort import SALT


@dataclass(frozen=True)
class Leak:
    """The result of one leak check."""

    name: str
    figure: Any
    threshold: Any
    found: bool
    sentence: str


def find_leaks(model: Graded, labels: np.ndarray, limits: Thresholds) -> Iterator[Leak]:
    """Yield the result of each leak check of a version, given the labels of its scored rows."""
    salt = model.cohort_salt
    sentence = "its gate cohort is this one"
    if salt != SALT:
        sentence = f"its cohort salt is {salt!r}: it may have trained on the gate cohort"
    yield Leak("cohort_salt", salt, SALT, salt != SALT, sentence)

    met = model.trained_on_cohort
    sentence = "no customer that it was trained on is in the gate cohort"
    if met is None:
        sentence = "its run does not say which customers it was trained on"
    elif met:
        sentence = f"it was trained on {met} customers of the gate cohort"
    yield Leak("disjoint", met, 0, met != 0, sentence)

    auc = statistics.auc(labels, model.scores) if model.scores is not None else None
    other = model.out_of_fold_auc
    if auc is None or other is None:
        yield Leak("leak_alarm", None, None, False, "without an AUC on the cohort and one out of fold: not judged")
        return
    if model.out_of_fold_differs:
        yield Leak("leak_alarm", None, None, False, f"not judged: {model.out_of_fold_differs}")
        return
    above = auc.value - other.value
    # The cohort's error under the null hypothesis: its own estimate is too small for a high AUC.
    positives = int(labels.sum())
    by_chance = math.hypot(statistics.error_of_auc(other.value, positives, len(labels) - positives), other.error)
    limit = max(limits.leak_margin, limits.leak_errors * by_chance)
    gap = f"AUC {auc.value:.3f} on the gate cohort, {other.value:.3f} on others whom it did not see"
    sentence = f"it knows the gate cohort too well: {gap}" if above > limit else f"no sign of a leak: {gap}"
    yield Leak("leak_alarm", above, limit, above > limit, sentence)
