"""The compiled classifiers: from encoded columns to the probability of churn.

A row's score is equal to the bit in a batch of any size. scikit-learn's trees have this property. Its logistic
regression does not: the order in which BLAS adds depends on the number of rows.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import expit
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from churn.scoring.known import NotCompilable, require

MANY_ROWS = 64
"""From so many rows on, a sum column by column is faster than one row by row."""

Compute = Callable[[np.ndarray], np.ndarray]
"""Maps columns (rows, width) to one value per row (rows,)."""


def compile_classifier(classifier: Any, width: int) -> Compute:
    """Return a function for the probability of churn of a fitted classifier over `width` columns.

    Raises:
        NotCompilable: the classifier is of no known family, or its columns or labels (False, True) differ.
    """
    if type(classifier) is not CalibratedClassifierCV:
        return _compile(classifier, width)[0]
    require(len(classifier.calibrated_classifiers_) == 1, "a mean of calibrated classifiers")
    (pair,) = classifier.calibrated_classifiers_
    (calibrator,) = pair.calibrators
    _, response = _compile(pair.estimator, width)
    return lambda columns: calibrator.predict(response(columns))


def _compile(classifier: Any, width: int) -> tuple[Compute, Compute]:
    """Return functions for the probability and for a calibrator's input: the decision function if scikit-learn's
    classifier has one, else the probability."""
    compilers = {
        LogisticRegression: _logistic_regression,
        RandomForestClassifier: _forest,
        HistGradientBoostingClassifier: _boosted_trees,
    }
    if type(classifier) not in compilers:
        raise NotCompilable(f"the classifier {type(classifier).__name__}")
    require(classifier.classes_.tolist() == [False, True], f"labels {classifier.classes_.tolist()}")
    require(classifier.n_features_in_ == width, f"a classifier over {classifier.n_features_in_} columns")
    return compilers[type(classifier)](classifier)


def _logistic_regression(classifier: Any) -> tuple[Compute, Compute]:
    (coefficients,), (intercept,) = classifier.coef_, classifier.intercept_

    def decide(columns: np.ndarray) -> np.ndarray:
        # Both add from left to right, so a row's sum has the same bits; accumulate() is faster for few rows.
        if len(columns) < MANY_ROWS:
            return np.add.accumulate(columns * coefficients, axis=1)[:, -1] + intercept
        total = columns[:, 0] * coefficients[0]
        for column, coefficient in zip(columns.T[1:], coefficients[1:], strict=True):
            total += column * coefficient
        return total + intercept

    return lambda columns: expit(decide(columns)), decide


def _forest(classifier: Any) -> tuple[Compute, Compute]:
    # The forest's predict_proba() starts threads on each call, 30 times slower for one row.
    trees = [(each.tree_.apply, each.tree_.value[:, 0, 1].copy()) for each in classifier.estimators_]

    def probability(columns: np.ndarray) -> np.ndarray:
        single = columns.astype(np.float32, order="C")
        if not np.isfinite(single).all():
            raise ValueError("a number among the features is too large for a forest")
        total = np.zeros(len(columns))
        for leaf, churned in trees:
            total += churned.take(leaf(single))
        return total / len(trees)

    return probability, probability


def _boosted_trees(classifier: Any) -> tuple[Compute, Compute]:
    return lambda columns: classifier.predict_proba(columns)[:, 1], classifier.decision_function
