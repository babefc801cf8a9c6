"""The review of a model that a file was made into, before anything is asked of it: is it what fitting makes?

What a file says of an estimator becomes its attributes, whatever it is, and scikit-learn does not look at them again.
In Python a wrong one raises; compiled code follows it into foreign memory, reads what is there, or writes. Whatever
leads there is looked at here: lengths, indices, and which object stands where another is expected. No estimator is
asked anything meanwhile.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from sklearn._loss.loss import HalfBinomialLoss
from sklearn.calibration import CalibratedClassifierCV, _CalibratedClassifier, _SigmoidCalibration
from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.ensemble._hist_gradient_boosting.binning import _BinMapper
from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier
from sklearn.tree._tree import TREE_LEAF, Tree

STEPS = (
    CalibratedClassifierCV, ColumnTransformer, DecisionTreeClassifier, DummyClassifier, HistGradientBoostingClassifier,
    LogisticRegression, MissingIndicator, OneHotEncoder, OrdinalEncoder, Pipeline, RandomForestClassifier,
    SimpleImputer, StandardScaler,
)  # fmt: skip
"""What may be a step of a pipeline. Bins and bare trees may not: they believe what they are given."""


def review(model: Any) -> str | None:
    """Return which part of a model fitting does not make, and why; None where all may be asked.

    Whatever this raises says the same of a model that lacks what is looked at.
    """
    for part in _objects(model, set()):
        owner = type(part)
        # It would take the place of a method, with a type, which is called, or with a check that does nothing.
        hidden = [name for name in vars(part) if hasattr(owner, name)]
        if hidden:
            return f"the attribute {hidden[0]} of its {owner.__name__} hides what the class defines"
        if owner in PARTS and any(type(each) not in allowed for found, allowed in PARTS[owner](part) for each in found):
            return f"its {owner.__name__} has a part of another type in the place of its own"
        if owner in LEADS_OUTSIDE and LEADS_OUTSIDE[owner](part):
            return f"its {owner.__name__} leads outside of itself"
    return None


def _objects(part: Any, seen: set[int]) -> Iterator[Any]:
    """Yield every object of scikit-learn in a model that has attributes, wherever it is."""
    if id(part) in seen:
        return
    seen.add(id(part))
    if isinstance(part, dict):
        parts = [*part.values()]
    elif isinstance(part, list | tuple):
        parts = [*part]
    elif isinstance(part, np.ndarray):
        parts = [*part.ravel()] if part.dtype == object else []
    elif type(part).__module__.startswith("sklearn.") and hasattr(part, "__dict__"):
        yield part
        parts = [*vars(part).values()]
    else:
        parts = []
    for each in parts:
        yield from _objects(each, seen)


# What a model keeps of how it was set up, copies of which were fitted, has none of what fitting makes.
PARTS: Mapping[type, Callable[[Any], list[tuple[Any, tuple[type, ...]]]]] = {
    Pipeline: lambda part: [([step for _, step in part.steps], (*STEPS, str, type(None)))],
    ColumnTransformer: lambda part: [([each for _, each, _ in getattr(part, "transformers_", [])], (*STEPS, str))],
    SimpleImputer: lambda part: [([getattr(part, "indicator_", None)], (MissingIndicator, type(None)))],
    CalibratedClassifierCV: lambda part: [(getattr(part, "calibrated_classifiers_", []), (_CalibratedClassifier,))],
    _CalibratedClassifier: lambda part: [([part.estimator], STEPS), (part.calibrators, (_SigmoidCalibration,))],
    RandomForestClassifier: lambda part: [(getattr(part, "estimators_", []), (DecisionTreeClassifier,))],
    DecisionTreeClassifier: lambda part: [([part.tree_] if hasattr(part, "tree_") else [], (Tree,))],
    HistGradientBoostingClassifier: lambda part: [
        ([each for trees in getattr(part, "_predictors", []) for each in trees], (TreePredictor,)),
        ([part._bin_mapper] if hasattr(part, "_predictors") else [], (_BinMapper,)),
        ([part._loss] if hasattr(part, "_predictors") else [], (HalfBinomialLoss,)),
    ],
}
"""What each part hands data to when it is asked, and the types that its own fit puts there."""


def _one_hot_leads_outside(part: OneHotEncoder) -> bool:
    """Tell whether a value would be given a column beyond those of its feature: scipy writes where it is told to."""
    if not hasattr(part, "_n_features_outs"):
        return False
    widths = part._n_features_outs
    return (
        (type(part.categories_), type(widths)) != (list, list)
        or widths != [len(each) for each in part.categories_]
        or not all(map(_are_in_order, part.categories_))
        # Columns that are left out or put together are counted in another way.
        or part.drop_idx_ is not None
        or part._drop_idx_after_grouping is not None
        or part._infrequent_enabled is not False
        or part.sparse_output is not False
    )


def _are_in_order(categories: Any) -> bool:
    """Tell whether the place of each category can be searched for: they are in ascending order, NaN the last, and none
    is there twice. Objects are not searched for but looked up."""
    if type(categories) is not np.ndarray or categories.ndim != 1 or not len(categories):
        return False
    return categories.dtype == object or np.array_equal(
        categories, np.unique(categories), equal_nan=categories.dtype.kind == "f"
    )


def _forest_leads_outside(part: RandomForestClassifier) -> bool:
    # What it is asked about has as many columns as it says, and it hands that on without another look.
    return any(not _are_columns(part, tree.n_features_in_) for tree in getattr(part, "estimators_", []))


def _tree_leads_outside(part: DecisionTreeClassifier) -> bool:
    if not hasattr(part, "tree_"):
        return False
    tree = part.tree_
    inner = tree.children_left != TREE_LEAF
    return not _are_columns(part, tree.n_features) or _is_odd(
        inner, tree.children_left, tree.children_right, tree.feature, part.n_features_in_
    )


def _boosted_lead_outside(part: HistGradientBoostingClassifier) -> bool:
    if not hasattr(part, "_predictors"):
        return False
    # While it is fitted, it does not look at what it is given; what prepares categories could give it fewer columns
    # than it says.
    unseen = getattr(part, "_in_fit", False) or part._preprocessor is not None or not _are_columns(part)
    return unseen or any(
        # Categories are compared by bit sets of their own.
        nodes["is_categorical"].any()
        or _is_odd(nodes["is_leaf"] == 0, nodes["left"], nodes["right"], nodes["feature_idx"], part.n_features_in_)
        for trees in part._predictors
        for nodes in (tree.nodes for tree in trees)
    )


LEADS_OUTSIDE: Mapping[type, Callable[[Any], bool]] = {
    OneHotEncoder: _one_hot_leads_outside,
    RandomForestClassifier: _forest_leads_outside,
    DecisionTreeClassifier: _tree_leads_outside,
    HistGradientBoostingClassifier: _boosted_lead_outside,
}
"""Whether an estimator that hands its attributes to compiled code leads anywhere but to what is its own."""


def _are_columns(part: Any, *others: Any) -> bool:
    """Tell whether an estimator says how many columns it wants: scikit-learn compares with whatever is there, and with
    an array without elements everything is in agreement."""
    return type(part.n_features_in_) is int and all(other == part.n_features_in_ for other in others)


def _is_odd(inner: np.ndarray, left: np.ndarray, right: np.ndarray, feature: np.ndarray, width: int) -> bool:
    """Tell whether nodes lead anywhere but to later ones, or ask for features that there are not."""
    at = np.flatnonzero(inner)
    children = np.concatenate([left[at], right[at]]).astype(np.int64)
    forward = (children > np.tile(at, 2)) & (children < len(inner))
    asked = (feature[at] >= 0) & (feature[at] < width)
    return not (len(inner) and forward.all() and asked.all())
