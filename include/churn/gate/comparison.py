"""Comparison of the candidate with another version on the same rows, for the checks and the report."""

from dataclasses import dataclass, replace

import numpy as np

from churn import statistics
from churn.gate.basis import OUT_OF_TIME, Basis, basis_against
from churn.gate.evidence import Evidence, Graded
from churn.gate.thresholds import Thresholds
from churn.statistics import Estimate


@dataclass(frozen=True)
class Slice:
    """A subset of the graded rows: the AUC of both models, and whether the candidate harms it."""

    name: str
    rows: int
    churned: int
    candidate_auc: float | None
    other_auc: float | None
    difference: Estimate | None
    p_value: float | None
    harmed: bool = False


@dataclass(frozen=True)
class Comparison:
    """Differences of AUC and Brier score, candidate less other; None if undefined.

    Attributes:
        basis: the basis of the scores.
        ours: the candidate's AUC on that basis.
        theirs: the other version's AUC.
        identical: all scores are equal.
    """

    basis: Basis
    ours: Estimate | None
    theirs: Estimate | None
    auc: Estimate | None
    brier: Estimate | None
    identical: bool


def compare(evidence: Evidence, other: Graded | None) -> Comparison | None:
    """Compare both on all rows; None if there is no other version, or one has no scores on the basis."""
    if other is None or other.scores is None:
        return None
    basis = basis_against(other.learned, evidence.graded_on, out_of_time=evidence.out_of_time)
    scores = scores_on(evidence, basis)
    if scores is None:
        return None
    ours, theirs, difference = statistics.paired_aucs(evidence.labels, scores, other.scores) or (None, None, None)
    return Comparison(
        basis,
        ours,
        theirs,
        difference,
        statistics.brier_difference(evidence.labels, scores, other.scores),
        bool(np.array_equal(scores, other.scores)),
    )


def scores_on(evidence: Evidence, basis: Basis | None) -> np.ndarray | None:
    """Return the candidate's scores on that basis; without a basis, those of its recipe."""
    candidate = evidence.candidate
    # Without a twin, the graded pipeline is the shipped one.
    twin = basis is None or basis.name == OUT_OF_TIME or not evidence.out_of_time
    return candidate.scores if twin else candidate.shipped


def compare_slices(
    evidence: Evidence, scores: np.ndarray | None, other: Graded | None, limits: Thresholds
) -> list[Slice]:
    """Return every slice, harmed or not.

    A slice is harmed if its loss of AUC is significantly above the limit. Holm's correction keeps the family-wise error
    rate of all slices at 1 - confidence.
    """
    theirs = None if other is None else other.scores
    found = [
        _slice(name, evidence.labels[rows], _of(scores, rows), _of(theirs, rows), limits)
        for name, rows in evidence.slices.items()
    ]
    tested = [index for index, each in enumerate(found) if each.p_value is not None]
    p_values = [p_value for each in found if (p_value := each.p_value) is not None]
    for index, harmed in zip(tested, statistics.holm(p_values, 1 - limits.confidence), strict=True):
        if harmed:
            found[index] = replace(found[index], harmed=True)
    return found


def _of(scores: np.ndarray | None, rows: np.ndarray) -> np.ndarray | None:
    return None if scores is None else scores[rows]


def _slice(
    name: str, labels: np.ndarray, ours: np.ndarray | None, theirs: np.ndarray | None, limits: Thresholds
) -> Slice:
    churned = int(labels.sum())
    enough = len(labels) >= limits.min_slice_rows and min(churned, len(labels) - churned) >= limits.min_slice_each_class
    candidate_auc = other_auc = difference = None
    if ours is not None and theirs is not None:
        candidate_auc, other_auc, difference = statistics.paired_aucs(labels, ours, theirs) or (None, None, None)
    else:
        candidate_auc, other_auc = (
            statistics.auc(labels, scores) if scores is not None else None for scores in (ours, theirs)
        )
    difference = difference if enough else None
    p_value = difference.chance_of_at_most(-limits.max_slice_auc_loss) if difference else None
    ours_there, theirs_there = (each.value if each else None for each in (candidate_auc, other_auc))
    return Slice(name, len(labels), churned, ours_there, theirs_there, difference, p_value)
