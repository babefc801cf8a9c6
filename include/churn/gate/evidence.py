"""The gate's evidence: figures and arrays, gathered by gathering.py and judged by checks.py."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

import numpy as np

from churn.statistics import Estimate
from churn.training.learned_from import Learned
from churn.training.regime import Judged

Signature = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Graded:
    """A version that is compared on the graded rows.

    Attributes:
        scores: its scores of the graded rows, in order; for the candidate, those of its twin if it has one. None:
            `problem` gives the reason.
        shipped: scores of the shipped candidate, if a compared version learned from the grading date; None if not
            needed, or equal to `scores`.
        learned: the labelled dates that it learned from.
        out_of_fold_auc: its AUC on unseen customers outside the cohort.
        out_of_fold_differs: why `out_of_fold_auc` cannot be compared with these rows; None if it can.
        trained_on_cohort: number of gate cohort customers in its training data; None if unknown.
        cohort_salt: the salt of the gate cohort that it was trained without.
    """

    version: int
    as_of: date
    scores: np.ndarray | None = None
    problem: str | None = None
    recipe: str = ""
    run_id: str = ""
    shipped: np.ndarray | None = None
    learned: Learned = field(default_factory=Learned)
    out_of_fold_auc: Estimate | None = None
    out_of_fold_differs: str | None = None
    trained_on_cohort: int | None = None
    cohort_salt: str | None = None


@dataclass(frozen=True)
class Loading:
    """The candidate, loaded as serving loads it.

    Attributes:
        problem: why it does not load, None if it does.
        golden_difference: the largest difference between the golden rows' scores there and in training.
        latency_ms: the fastest prediction for one customer, which excludes other load on the machine.
    """

    problem: str | None = None
    golden_difference: float = 0.0
    latency_ms: float = 0.0


@dataclass(frozen=True)
class Audit:
    """The audit cohort on the grading date, scored only for a promotion: labels, and the scores of both models on the
    basis of their comparison."""

    labels: np.ndarray
    candidate: np.ndarray
    production: np.ndarray | None = None


@dataclass(frozen=True)
class Evidence:
    """The evidence for one decision.

    Attributes:
        labels: labels of the gate cohort's rows of `graded_on`, in the order of all scores.
        slices: mask of the rows by slice.
        train_rows, train_churned: number of training rows, and of churned ones among them.
        online_problem: why the served features do not fit the candidate's feature service, None if they do.
        pinned: who pinned Production and why, None if it is not pinned.
        was_promoted: the candidate was in Production before and was replaced.
        change: the regime change on `graded_on`, None without one.
        production_withdrawn: the drop of Production's AS_OF was withdrawn and not loaded again.
    """

    candidate: Graded
    production: Graded | None
    anchor: Graded | None
    signature: Signature
    service_signature: Signature
    graded_on: date
    out_of_time: bool
    labels: np.ndarray
    train_rows: int
    train_churned: int
    slices: Mapping[str, np.ndarray] = field(default_factory=dict)
    loading: Loading = Loading()
    online_problem: str | None = None
    pinned: str | None = None
    was_promoted: bool = False
    production_withdrawn: bool = False
    change: Judged | None = None
