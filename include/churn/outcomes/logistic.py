"""Logistic regression of labels on the log odds of scores: how far probabilities are off, in one number or two.

Newton's method takes a second for a million rows, and gives the covariance of its two parameters.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, logit

CLIP = 1e-4
"""Forests answer 0 and 1. No version has rows enough to tell a rarer churn from this one, and a row further out would
outweigh hundreds of others."""

STEPS = 100
"""Newton's method needs about 8, and some more for labels that are almost separated."""

TOLERANCE = 1e-10
"""Of the last step, in the parameters of the centred and scaled log odds."""


@dataclass(frozen=True)
class Line:
    """log odds of churn = intercept + slope * log odds of the score, and the covariance of the two."""

    intercept: float
    slope: float
    intercept_variance: float
    slope_variance: float
    covariance: float


def log_odds(scores: np.ndarray) -> np.ndarray:
    """Return the log odds of scores that are clipped to CLIP … 1 - CLIP."""
    clipped: np.ndarray = logit(np.clip(scores, CLIP, 1 - CLIP))
    return clipped


def fit_intercept(labels: np.ndarray, scores: np.ndarray) -> float | None:
    """Return the intercept with slope 1 (calibration in the large), None with a single class.

    Above 0: more customers left than the scores said.
    """
    if _one_class(labels):
        return None
    x, rate = log_odds(scores), labels.mean()

    def excess(intercept: float) -> float:
        return float(expit(x + intercept).mean() - rate)

    # With the highest score for all too few leave, with the lowest for all too many. 1 is above all rounding.
    low, high = logit(rate) - x.max() - 1, logit(rate) - x.min() + 1
    return float(brentq(excess, low, high, xtol=1e-12))


def fit_line(labels: np.ndarray, scores: np.ndarray) -> Line | None:
    """Return the line of the greatest likelihood (Cox, Biometrika 45, 1958), None where no finite one exists.

    That is so with a single class, a single score, or a score that separates the classes.
    """
    x = log_odds(scores)
    if _one_class(labels) or _separated(labels, x):
        return None
    centre, spread = float(x.mean()), float(x.std())
    columns = np.column_stack([np.ones(len(x)), (x - centre) / spread])
    found = _newton(labels, columns)
    if found is None:
        return None
    back = np.array([[1, -centre / spread], [0, 1 / spread]])
    (intercept, slope), spreads = back @ found[0], back @ found[1] @ back.T
    return Line(float(intercept), float(slope), float(spreads[0, 0]), float(spreads[1, 1]), float(spreads[0, 1]))


def _one_class(labels: np.ndarray) -> bool:
    return bool(labels.all() or not labels.any())


def _separated(labels: np.ndarray, x: np.ndarray) -> bool:
    """Return whether no row lies strictly among those of the other class (Albert and Anderson, Biometrika 71, 1984)."""
    left, stayed = x[labels], x[~labels]
    return bool(left.min() >= stayed.max() or left.max() <= stayed.min())


def _newton(labels: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the parameters and their covariance, None if it does not converge. The first column is constant."""
    parameters = np.array([logit(labels.mean()), 0.0])
    loss = _loss(labels, columns @ parameters)
    for _ in range(STEPS):
        chances = expit(columns @ parameters)
        information = (columns * (chances * (1 - chances))[:, None]).T @ columns
        # Rounding makes the information of almost separated labels singular.
        if not np.linalg.det(information) > 0:
            return None
        step = np.linalg.solve(information, columns.T @ (labels - chances))
        if np.abs(step).max() <= TOLERANCE * (1 + np.abs(parameters).max()):
            return parameters + step, np.linalg.inv(information)
        # A full step can overshoot where few rows decide.
        while (new := _loss(labels, columns @ (parameters + step))) > loss and np.abs(step).max() > TOLERANCE:
            step = step / 2
        parameters, loss = parameters + step, new
    return None


def _loss(labels: np.ndarray, linear: np.ndarray) -> float:
    """Return the mean negative log likelihood."""
    return float(np.mean(np.logaddexp(0, linear) - labels * linear))
