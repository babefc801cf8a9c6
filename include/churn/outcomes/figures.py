"""Figures of a list once labels are known: how well it ranks, how true its probabilities are, what a campaign did."""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from churn import statistics
from churn.outcomes.logistic import fit_intercept, fit_line
from churn.statistics import Estimate

Z = float(ndtri(0.975))
"""Of a 95 % interval."""


@dataclass(frozen=True)
class Performance:
    """Scores held against labels. A figure that the rows cannot give is None.

    Attributes:
        auc: with DeLong's standard error; None with fewer than two rows in a class.
        calibration_intercept: with slope 1 (calibration in the large); above 0 more customers left than expected.
        calibration_slope: below 1 the scores are too extreme. None with a single class, a single score, or a score that
            separates the classes.
        lift: churn rate in the top decile of the list ÷ churn rate of the rows.
        capture: share of the leavers that are in the top decile of the list.
    """

    rows: int
    churned: int
    auc: Estimate | None
    brier: float | None
    calibration_intercept: float | None
    calibration_slope: float | None
    mean_probability: float | None
    churn_rate: float | None
    lift: float | None
    capture: float | None
    precision: float | None
    recall: float | None


def measure(labels: np.ndarray, scores: np.ndarray, predictions: np.ndarray, deciles: np.ndarray) -> Performance:
    """Hold the scores of some customers of a list against their labels.

    Args:
        labels: booleans, True for a customer who left.
        scores: churn_probability.
        predictions: booleans, churn_probability ≥ threshold.
        deciles: of the whole list, 1 on top; the rows may be a part of it, such as a cohort. 0 of scores that no
            list ranked.
    """
    rows, churned = len(labels), int(labels.sum())
    top = deciles == 1
    line = fit_line(labels, scores)
    churn_rate, churn_rate_on_top = _ratio(churned, rows), _ratio(labels[top].sum(), top.sum())
    return Performance(
        rows=rows,
        churned=churned,
        auc=statistics.auc(labels, scores),
        brier=_ratio(((scores - labels) ** 2).sum(), rows),
        calibration_intercept=fit_intercept(labels, scores),
        calibration_slope=line.slope if line else None,
        mean_probability=_ratio(scores.sum(), rows),
        churn_rate=churn_rate,
        lift=churn_rate_on_top / churn_rate if churn_rate and churn_rate_on_top is not None else None,
        capture=_ratio(labels[top].sum(), churned) if deciles.any() else None,
        precision=_ratio(labels[predictions].sum(), predictions.sum()),
        recall=_ratio(predictions[labels].sum(), churned),
    )


def effect_of_campaign(
    treated_churned: int, treated_rows: int, control_churned: int, control_rows: int
) -> Estimate | None:
    """Return churn rate of treat - churn rate of control; below 0 the campaign kept customers. None without both arms.

    The interval is Newcombe's (Statistics in Medicine 17, 1998, method 10), made symmetric by its wider side.
    Wald's has no width where nobody left.
    """
    if not (treated_rows and control_rows):
        return None
    treated, control = treated_churned / treated_rows, control_churned / control_rows
    treated_low, treated_high = _wilson(treated, treated_rows)
    control_low, control_high = _wilson(control, control_rows)
    below = np.hypot(treated - treated_low, control_high - control)
    above = np.hypot(treated_high - treated, control - control_low)
    return Estimate(treated - control, float(max(below, above)) / Z)


def _wilson(rate: float, rows: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a rate."""
    centre = (rate + Z**2 / (2 * rows)) / (1 + Z**2 / rows)
    reach = Z / (1 + Z**2 / rows) * np.sqrt(rate * (1 - rate) / rows + Z**2 / (4 * rows**2))
    return float(centre - reach), float(centre + reach)


def _ratio(part: float, whole: int) -> float | None:
    return float(part / whole) if whole else None
