"""The model families that a candidate is chosen from, with their settings; ties go to the earlier, simpler one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sklearn.base import ClassifierMixin
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression


@dataclass(frozen=True)
class Family:
    """A scikit-learn classifier and its settings.

    Attributes:
        make: returns the classifier for a number of training rows, a random state, and settings.
        grid: the settings to choose from.
        in_folds: settings that replace those of the grid during selection, to save time.
        linear: a sum of features, which need mean 0 and variance 1, and counts by their arcsinh.
    """

    make: Callable[..., ClassifierMixin]
    grid: tuple[Mapping[str, Any], ...]
    in_folds: Mapping[str, Any] = field(default_factory=dict)
    linear: bool = False


def _logistic_regression(_rows: int, random_state: int, **settings: Any) -> ClassifierMixin:
    return LogisticRegression(max_iter=1000, random_state=random_state, **settings)


def _boosted_trees(_rows: int, random_state: int, **settings: Any) -> ClassifierMixin:
    # Early stopping would hold out a tenth of the rows, by row instead of by customer.
    return HistGradientBoostingClassifier(
        learning_rate=0.1, max_iter=100, early_stopping=False, random_state=random_state, **settings
    )


def _forest(rows: int, random_state: int, **settings: Any) -> ClassifierMixin:
    return RandomForestClassifier(
        # The same customers recur on every labelled date, so more rows per tree add time and hardly any AUC.
        max_samples=min(3_000, rows),
        class_weight="balanced",
        # The fits themselves run in parallel.
        n_jobs=1,
        random_state=random_state,
        **settings,
    )


FAMILIES: Mapping[str, Family] = {
    # Settings were chosen by out-of-fold AUC on customers outside the gate cohort. A weaker penalty than C=1 makes no
    # difference; C=0.01 loses AUC.
    "logistic regression": Family(_logistic_regression, ({"C": 0.1}, {"C": 1.0}), linear=True),
    # Small trees generalize best here.
    "boosted trees": Family(_boosted_trees, ({"max_leaf_nodes": 4}, {"max_leaf_nodes": 10})),
    # Leaves of ten rows smooth the probabilities and shrink the model fivefold. 50 trees are enough to compare recipes.
    "random forest": Family(_forest, ({"n_estimators": 300, "min_samples_leaf": 10},), in_folds={"n_estimators": 50}),
}
