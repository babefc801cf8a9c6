"""The classifiers of the families, without scikit-learn: from columns to probabilities."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
from scipy.special import expit
from sklearn._loss.loss import HalfBinomialLoss
from sklearn.calibration import CalibratedClassifierCV, _CalibratedClassifier, _SigmoidCalibration
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier

from churn.scoring.known import NotCompilable, require, require_settings, require_type
from churn.scoring.trees import Tree, Trees, flatten

Compute = Callable[[np.ndarray], np.ndarray]
"""From columns (rows, width) to a figure for each row (rows,)."""


@dataclass(frozen=True)
class Compiled:
    """A classifier.

    Attributes:
        probability: that of churn.
        response: what a calibration takes: the decision function where scikit-learn's classifier has one, or else the
            probability.
        trees: what it is made of, None if it is not made of trees.
    """

    probability: Compute
    response: Compute
    trees: Trees | None = None


def compile_classifier(classifier: Any, width: int) -> Compiled:
    """Return a fitted classifier over that many columns.

    Raises:
        NotCompilable: it is none of the families, or not over those columns or labels that are False and True.
    """
    compilers = {
        LogisticRegression: _logistic_regression,
        RandomForestClassifier: _forest,
        HistGradientBoostingClassifier: _boosted_trees,
        CalibratedClassifierCV: _calibrated,
    }
    if type(classifier) not in compilers:
        raise NotCompilable(f"the classifier {type(classifier).__name__}")
    require(classifier.classes_.tolist() == [False, True], f"labels {classifier.classes_.tolist()}")
    require(classifier.n_features_in_ == width, f"a classifier over {classifier.n_features_in_} columns")
    return compilers[type(classifier)](classifier, width)


def _logistic_regression(classifier: Any, width: int) -> Compiled:
    coefficients, intercept = np.array(classifier.coef_.T), np.array(classifier.intercept_)
    require(coefficients.shape == (width, 1) and intercept.shape == (1,), "coefficients of another shape")

    def decide(columns: np.ndarray) -> np.ndarray:
        return (columns @ coefficients + intercept)[:, 0]

    return Compiled(lambda columns: expit(decide(columns)), decide)


def _forest(classifier: Any, width: int) -> Compiled:
    trees = flatten([_tree_of_forest(each) for each in classifier.estimators_], width)

    def probability(columns: np.ndarray) -> np.ndarray:
        # scikit-learn compares single precision with thresholds in double precision.
        single = columns.astype(np.float32)
        if not np.isfinite(single).all():
            raise ValueError("a number among the features is too large for a forest")
        return trees.sums(single.astype(np.float64)) / trees.count

    return Compiled(probability, probability, trees)


def _tree_of_forest(estimator: Any) -> Tree:
    require_type(estimator, DecisionTreeClassifier)
    found = estimator.tree_
    require(found.value.shape[1:] == (1, 2), f"leaves of shape {found.value.shape[1:]}")
    return Tree(found.children_left, found.children_right, found.feature, found.threshold, found.value[:, 0, 1])


def _boosted_trees(classifier: Any, width: int) -> Compiled:
    require_type(classifier._loss, HalfBinomialLoss)
    require(classifier._preprocessor is None, "boosting over categories")
    predictors = list(chain.from_iterable(classifier._predictors))
    require(classifier.n_trees_per_iteration_ == 1 and len(predictors) > 0, "other than one tree in each iteration")
    first, *others = map(_boosted_tree, predictors)
    # scikit-learn adds one tree after the other to the baseline.
    first = replace(first, value=classifier._baseline_prediction.item() + first.value)
    trees = flatten([first, *others], width)
    return Compiled(lambda columns: expit(trees.sums(columns)), trees.sums, trees)


def _boosted_tree(predictor: Any) -> Tree:
    require_type(predictor, TreePredictor)
    nodes = predictor.nodes
    require(not nodes["is_categorical"].any(), "splits by category")
    left, right = (np.where(nodes["is_leaf"], -1, nodes[side].astype(np.int64)) for side in ("left", "right"))
    return Tree(left, right, nodes["feature_idx"], nodes["num_threshold"], nodes["value"])


def _calibrated(classifier: Any, width: int) -> Compiled:
    require_settings(classifier, {"method": "sigmoid", "ensemble": False})
    require(len(classifier.calibrated_classifiers_) == 1, "a mean of calibrated classifiers")
    (pair,) = classifier.calibrated_classifiers_
    require_type(pair, _CalibratedClassifier)
    require(pair.method == "sigmoid" and len(pair.calibrators) == 1, "another calibration than one sigmoid")
    (sigmoid,) = pair.calibrators
    require_type(sigmoid, _SigmoidCalibration)
    require(type(pair.estimator) is not CalibratedClassifierCV, "a calibration of a calibration")
    base = compile_classifier(pair.estimator, width)
    slope, intercept = float(sigmoid.a_), float(sigmoid.b_)

    def probability(columns: np.ndarray) -> np.ndarray:
        return expit(-(slope * base.response(columns) + intercept))

    return Compiled(probability, probability, base.trees)
