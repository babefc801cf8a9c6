"""What the gate decides on: figures and arrays, gathered by gathering.py, judged by checks.py."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

import numpy as np

from churn.statistics import Estimate
from churn.training.learned_from import Learned

Signature = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Graded:
    """A version that is compared on the graded rows.

    Attributes:
        scores: its own for the graded rows, in their order; the candidate's are those of its recipe: where there were
            earlier dates, of the twin that was fitted without the grading date. None: `problem` says why.
        shipped: the scores of the candidate as it ships, where a version that it is compared with learned from the
            grading date; None where no such version needs them, or where `scores` are those.
        learned: the labelled dates that it learned from.
        out_of_fold_auc: what it had on customers outside of the cohort whom it did not see.
        out_of_fold_differs: why `out_of_fold_auc` says nothing of these rows; None where it is of their date and basis.
        trained_on_cohort: how many customers of the gate cohort were among those that it was given; None: not known.
        cohort_salt: of the gate cohort that it was trained without.
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
    """How the candidate did where serving loads it.

    Attributes:
        problem: why it does not load, None if it does.
        golden_difference: the largest between its golden rows' scores there and in training.
        latency_ms: the least that one customer took: what else the machine does is not the candidate's doing.
    """

    problem: str | None = None
    golden_difference: float = 0.0
    latency_ms: float = 0.0


@dataclass(frozen=True)
class Audit:
    """The audit cohort on the grading date, opened for a promotion: labels, and the scores of both models, on the basis
    of their comparison on the gate cohort."""

    labels: np.ndarray
    candidate: np.ndarray
    production: np.ndarray | None = None


@dataclass(frozen=True)
class Evidence:
    """What the gate decides on.

    Attributes:
        labels: of the gate cohort's rows of `graded_on`, in one order.
        slices: which of the rows each slice holds.
        train_rows, train_churned: what the candidate was fitted on, and how many of these rows had left.
        online_problem: why the served features are not ready for the candidate's feature service, None if they are.
        pinned: who pinned Production and why, None where nobody did.
        was_promoted: the candidate was in Production once and was taken out of it.
        production_withdrawn: the drop of Production's AS_OF was withdrawn, and none of that AS_OF came since.
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
