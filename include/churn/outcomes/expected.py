"""What a list is expected to achieve before its labels come: confidence-based performance estimation (CBPE).

Each row counts as churned with its calibrated probability p, and as not churned with 1 - p. Sources: Garg et al.
(Leveraging Unlabeled Data to Predict Out-of-Distribution Performance, ICLR 2022) and NannyML's CBPE. It holds while
customers with a score leave as often as when the calibration was fitted. It cannot see that relation turn: believed()
holds the last expectation against what came.

The interval is that of the realized figure, so it has two parts:

- Which customers leave is chance. Row i moves the figure by its influence g_i (delta method), hence the variance
  Σ p_i (1 - p_i) g_i². The scores of the list are known, and vary no more.
- The calibration is fitted on few rows. The gradient Σ g_i ∂p_i/∂θ carries the covariance of its two parameters over.

Both are sums of the same influences: exact for the Brier score and the churn rate, and no draws for the AUC.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

import numpy as np
from scipy.special import expit

from churn.outcomes.logistic import Line, fit_line, log_odds
from churn.statistics import Estimate

MIN_EACH_CLASS = 30
"""The gate's minimum. The covariance of the calibration is that of many rows: with fewer of a class it is too small."""


@dataclass(frozen=True)
class Calibration:
    """Platt scaling on the log odds of the scores, and how many rows it was fitted on. asdict() of it is JSON.

    Two parameters have the covariance that the interval needs. Isotonic regression has none, and promises too much
    where rows are few.
    """

    line: Line
    rows: int
    churned: int


@dataclass(frozen=True)
class Expected:
    """The figures that are expected of a list, with the standard errors of the realized ones.

    Attributes:
        auc: None where fewer than MIN_EACH_CLASS of either class are expected.
    """

    auc: Estimate | None
    brier: Estimate
    churn_rate: Estimate


class Checked(NamedTuple):
    """An expectation and what came of it, both of one figure, such as the AUC."""

    as_of: date
    expected: Estimate
    realized: Estimate


def fit_calibration(labels: np.ndarray, scores: np.ndarray) -> Calibration | None:
    """Fit the calibration; None with fewer than MIN_EACH_CLASS rows of a class, or scores without a finite line.

    Args:
        labels: booleans of customers and dates that the version did not learn from.
        scores: their churn_probability by the version.
    """
    rows, churned = len(labels), int(labels.sum())
    line = fit_line(labels, scores) if min(churned, rows - churned) >= MIN_EACH_CLASS else None
    return Calibration(line, rows, churned) if line else None


def expect(scores: np.ndarray, calibration: Calibration) -> Expected | None:
    """Return what is expected of the rows with these scores; None without rows."""
    if len(scores) == 0:
        return None
    rows, x, line = len(scores), log_odds(scores), calibration.line
    chances = expit(line.intercept + line.slope * x)
    enough = min(chances.sum(), rows - chances.sum()) >= MIN_EACH_CLASS

    def estimate(value: float, influences: np.ndarray) -> Estimate:
        return Estimate(value, _error(influences, chances, x, line))

    return Expected(
        auc=estimate(*_auc(chances, scores)) if enough else None,
        brier=estimate(float(np.mean(scores**2 + chances * (1 - 2 * scores))), (1 - 2 * scores) / rows),
        churn_rate=estimate(float(chances.mean()), np.full(rows, 1 / rows)),
    )


def believed(track: Sequence[Checked]) -> tuple[bool, str]:
    """Return whether the expectation of a figure is to be believed, and why.

    The last AS_OF with labels decides, in whatever order labels came. Without one the expectation is shown as believed,
    and its reason says that nothing was held against it yet.

    Args:
        track: the expectations that were made before, each with the realized figure of the same rows. The interval of
            an expectation already is that of the realized figure, so the latter's own error does not count.
    """
    if not track:
        return True, "no expectation could be held against labels yet"
    as_of, expected, realized = max(track, key=lambda each: each[0])
    low, high = expected.interval()
    inside = low <= realized.value <= high
    where = f"{'within' if inside else 'outside of'} the {low:.3f} to {high:.3f} that were expected"
    return inside, f"{realized.value:.3f} came at {as_of}, {where}"


def _auc(chances: np.ndarray, scores: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the expected AUC of scores, ties counting half, and the influence of each row's label on it."""
    _, place = np.unique(scores, return_inverse=True)
    churned, stayed = np.bincount(place, chances), np.bincount(place, 1 - chances)
    # Of each distinct score: the share of those who stay below it, and of those who leave above it.
    below = (np.cumsum(stayed) - stayed / 2) / stayed.sum()
    above = 1 - (np.cumsum(churned) - churned / 2) / churned.sum()
    value = float(churned @ below / churned.sum())
    return value, ((below - value) / churned.sum() - (above - value) / stayed.sum())[place]


def _error(influences: np.ndarray, chances: np.ndarray, x: np.ndarray, line: Line) -> float:
    """Return the standard error of a realized figure: chance of the labels, and uncertainty of the calibration."""
    variances = chances * (1 - chances)
    by_intercept = float((influences * variances).sum())
    by_slope = float((influences * variances * x).sum())
    of_labels = float((influences**2 * variances).sum())
    of_calibration = (
        by_intercept**2 * line.intercept_variance
        + by_slope**2 * line.slope_variance
        + 2 * by_intercept * by_slope * line.covariance
    )
    return float(np.sqrt(max(of_labels + of_calibration, 0.0)))
