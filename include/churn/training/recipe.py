"""The recipe: the pipeline, how it is fitted and calibrated, and its decision threshold."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from feast.types import Bool, Float64, Int64, String
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.metrics import precision_recall_curve
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, StandardScaler

from churn.features.store import FEATURE_SERVICES
from churn.training.families import FAMILIES
from churn.training.profit import most_profitable_threshold
from churn.value import Value


@dataclass(frozen=True)
class Parameters:
    """The parameters of a training; with data and code they determine the candidate."""

    families: tuple[str, ...] = tuple(FAMILIES)
    # Simplest first; the last one has the features of all.
    feature_services: tuple[str, ...] = FEATURE_SERVICES
    folds: int = 3
    # Customers of each class that a date needs for learning or grading: ten per fold.
    least_customers: int = 30
    # Maximum rows for comparing recipes, of customers drawn at random. At 100,000 the standard error of an AUC of 0.8
    # is 0.002, and that of paired differences is far smaller.
    selection_rows: int = 100_000
    # Rows to learn from at most, about; more are sampled by customer. None: all.
    training_rows: int | None = None
    random_state: int = 20240131
    # What the threshold is chosen by; None: F1.
    value: Value | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the record of the parameters. A parameter that is None is left out, so that the record of a training
        without it does not change when a parameter is added."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def parameters_of(record: Mapping[str, Any]) -> Parameters:
    """Return the parameters of a record, see Parameters.to_json()."""
    given: dict[str, Any] = {name: tuple(each) if isinstance(each, list) else each for name, each in record.items()}
    if "value" in given:
        given["value"] = Value.of(given["value"])
    return Parameters(**given)


@dataclass(frozen=True)
class Recipe:
    """A family with its settings, and whether its probabilities are calibrated."""

    family: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    calibrated: bool = False

    def __str__(self) -> str:
        settings = ", ".join(f"{name} {value}" for name, value in self.settings.items())
        return f"{self.family} ({settings})" + (", calibrated" if self.calibrated else "")


@dataclass(frozen=True)
class Rows:
    """Training rows: features, labels, customers, and a mask of the newest labelled date."""

    features: pd.DataFrame
    labels: np.ndarray
    users: np.ndarray
    newest: np.ndarray

    def take(self, rows: np.ndarray) -> "Rows":
        return Rows(self.features[rows], self.labels[rows], self.users[rows], self.newest[rows])

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def bytes(self) -> int:
        """The size of a copy; texts are shared."""
        features = int(self.features.memory_usage(index=False).sum())
        return features + self.labels.nbytes + self.users.nbytes + self.newest.nbytes

    def forward_in_time(self, parameters: Parameters) -> bool:
        """Tell whether the newest date and the earlier ones both have enough customers of each class to grade models
        of the earlier dates on the newest."""
        return all(
            len(set(self.users[part & (self.labels == left)])) >= parameters.least_customers
            for part in (self.newest, ~self.newest)
            for left in (True, False)
        )


def make_pipeline(recipe: Recipe, types: Mapping[str, Any], parameters: Parameters, rows: int) -> Pipeline:
    """Return an unfitted pipeline over features of these Feast types, for a training set of that many rows.

    NULLs are informative: numbers get the median and a missing indicator, booleans a third category. For a linear model
    counts are taken by arcsinh, a logarithm that takes 0: the tenth month says less than the first one.
    """
    names = {dtype: [name for name, of in types.items() if of == dtype] for dtype in (Int64, Float64, Bool, String)}
    preprocess = ColumnTransformer([
        ("numbers", SimpleImputer(strategy="median", add_indicator=True), names[Int64] + names[Float64]),
        ("booleans", OrdinalEncoder(
            categories=[[False, True]] * len(names[Bool]), handle_unknown="use_encoded_value", unknown_value=-1,
            encoded_missing_value=-1,
        ), names[Bool]),
        ("texts", OneHotEncoder(handle_unknown="ignore", sparse_output=False), names[String]),
    ])  # fmt: skip
    family = FAMILIES[recipe.family]
    # The counts are the first columns.
    arcsinh = ("counts", FunctionTransformer(np.arcsinh), slice(0, len(names[Int64])))
    return Pipeline([
        ("preprocess", preprocess),
        ("arcsinh", ColumnTransformer([arcsinh], remainder="passthrough") if family.linear else "passthrough"),
        ("scale", StandardScaler() if family.linear else "passthrough"),
        ("classifier", family.make(rows, parameters.random_state, **recipe.settings)),
    ])  # fmt: skip


def fit(recipe: Recipe, rows: Rows, types: Mapping[str, Any], parameters: Parameters) -> Pipeline:
    """Return the recipe's fitted pipeline over the features in `types`; the rows may have others too.

    Calibration is Platt's (Advances in Large Margin Classifiers, 1999): a sigmoid over the scores of unseen customers.
    """
    pipeline = make_pipeline(recipe, types, parameters, len(rows))
    # Without a copy where the features are those of the rows.
    features = rows.features if list(rows.features) == list(types) else rows.features[list(types)]
    if not recipe.calibrated:
        return pipeline.fit(features, rows.labels)
    fold = assign_folds(rows.labels, rows.users, parameters)
    splits = [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(parameters.folds)]
    smallest = min(len(learn) for learn, _ in splits)
    base = make_pipeline(recipe, types, parameters, smallest)[-1]
    pipeline.set_params(classifier=CalibratedClassifierCV(base, method="sigmoid", cv=splits, ensemble=False))
    pipeline.fit(features, rows.labels)
    # The fold indices are not part of the model.
    return pipeline.set_params(classifier__cv=None)


def assign_folds(labels: np.ndarray, users: np.ndarray, parameters: Parameters) -> np.ndarray:
    """Return each row's fold, grouped by customer and stratified by whether the customer ever left.

    scikit-learn's StratifiedGroupKFold is too slow: a minute for a million customers.
    """
    names, customer = np.unique(users, return_inverse=True)
    left = np.zeros(len(names), dtype=bool)
    left[customer[labels]] = True
    shuffled = np.random.default_rng(parameters.random_state).random(len(names))
    fold = np.empty(len(names), dtype=np.int64)
    fold[np.lexsort((shuffled, left))] = np.arange(len(names)) % parameters.folds
    return fold[customer]


def choose_threshold(labels: np.ndarray, scores: np.ndarray, value: Value | None = None) -> float:
    """Return the threshold with the highest expected profit. Without a value, the one with the highest F1, which weighs
    a missed leaver and a false alarm equally."""
    if value:
        return most_profitable_threshold(labels, scores, value)
    precision, recall, thresholds = precision_recall_curve(labels, scores)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    return float(thresholds[np.argmax(f1[:-1])])
