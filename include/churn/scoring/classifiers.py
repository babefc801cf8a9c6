"""The classifiers of the families: from encoded columns to the probability of churn.

Each row is scored by itself: its result is the same to the bit in a batch of any size. scikit-learn's trees are so by
themselves. Its logistic regression is not, as BLAS adds in an order that depends on the number of rows.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import expit
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from churn.scoring.known import NotCompilable, require

Compute = Callable[[np.ndarray], np.ndarray]
"""From columns (rows, width) to a figure for each row (rows,)."""


def compile_classifier(classifier: Any, width: int) -> Compute:
    """Return what computes the probability of churn by a fitted classifier over that many columns.

    Raises:
        NotCompilable: it is none of the families, or not over those columns or labels that are False and True.
    """
    if type(classifier) is not CalibratedClassifierCV:
        return _compile(classifier, width)[0]
    require(len(classifier.calibrated_classifiers_) == 1, "a mean of calibrated classifiers")
    (pair,) = classifier.calibrated_classifiers_
    (calibrator,) = pair.calibrators
    _, response = _compile(pair.estimator, width)
    return lambda columns: calibrator.predict(response(columns))


def _compile(classifier: Any, width: int) -> tuple[Compute, Compute]:
    """Return what computes the probability, and what a calibration takes: the decision function where scikit-learn's
    classifier has one, or else the probability."""
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
        # Accumulating adds from left to right, whatever the shape.
        return np.add.accumulate(columns * coefficients, axis=1)[:, -1] + intercept

    return lambda columns: expit(decide(columns)), decide


def _forest(classifier: Any) -> tuple[Compute, Compute]:
    # predict_proba() of the forest prepares threads for each call, which takes 30 times as long as one row needs.
    trees = [(each.tree_.apply, each.tree_.value[:, 0, 1].copy()) for each in classifier.estimators_]

    def probability(columns: np.ndarray) -> np.ndarray:
        single = columns.astype(np.float32)
        if not np.isfinite(single).all():
            raise ValueError("a number among the features is too large for a forest")
        total = np.zeros(len(columns))
        for leaf, churned in trees:
            total += churned.take(leaf(single))
        return total / len(trees)

    return probability, probability


def _boosted_trees(classifier: Any) -> tuple[Compute, Compute]:
    return lambda columns: classifier.predict_proba(columns)[:, 1], classifier.decision_function
