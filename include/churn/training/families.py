"""The families of models that a candidate is chosen from, and the settings that each is tried with: the one place.

They are in the order in which they are preferred where they do equally well: the simpler one first.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sklearn.base import ClassifierMixin
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression


@dataclass(frozen=True)
class Family:
    """A classifier of scikit-learn, and what it is tried with.

    Attributes:
        make: returns the classifier, given the number of rows that it will be fitted on, a random state, and settings.
        grid: the settings to choose from.
        in_folds: settings that replace those of the grid while it is being chosen, where that saves time.
        scaled: it wants features of mean 0 and variance 1.
    """

    make: Callable[..., ClassifierMixin]
    grid: tuple[Mapping[str, Any], ...]
    in_folds: Mapping[str, Any] = field(default_factory=dict)
    scaled: bool = False


def _logistic_regression(_rows: int, random_state: int, **settings: Any) -> ClassifierMixin:
    return LogisticRegression(max_iter=1000, random_state=random_state, **settings)


def _boosted_trees(_rows: int, random_state: int, **settings: Any) -> ClassifierMixin:
    # Without early stopping, which would hold back a tenth of the rows, by row and not by customer.
    return HistGradientBoostingClassifier(
        learning_rate=0.1, max_iter=100, early_stopping=False, random_state=random_state, **settings
    )


def _forest(rows: int, random_state: int, **settings: Any) -> ClassifierMixin:
    return RandomForestClassifier(
        # Rows a tree sees at most: the same customers recur on every labelled date, and more rows teach little (4,500
        # instead of 3,000: AUC out of fold within 0.0003 on generated and real drops, for a third more time).
        max_samples=min(3_000, rows),
        class_weight="balanced",
        # What runs at once is the fits.
        n_jobs=1,
        random_state=random_state,
        **settings,
    )


FAMILIES: Mapping[str, Family] = {
    # What is said of settings here is AUC out of fold, of customers outside of the gate cohort. The penalty makes no
    # difference beyond 1 on 5,000 rows; at 0.01 the real drops lose 0.003.
    "logistic regression": Family(_logistic_regression, ({"C": 0.1}, {"C": 1.0}), scaled=True),
    # Trees of few leaves generalize best here: 4 leaves are 0.003 to 0.007 above 15, in half the time.
    "boosted trees": Family(_boosted_trees, ({"max_leaf_nodes": 4}, {"max_leaf_nodes": 10})),
    # Leaves of ten smooth the probabilities (0.823 against 0.815 with leaves of one on the real drop of 2024-01-31) and
    # make the model five times smaller. A sixth of the trees tells how it compares (0.001 lower).
    "random forest": Family(_forest, ({"n_estimators": 300, "min_samples_leaf": 10},), in_folds={"n_estimators": 50}),
}
