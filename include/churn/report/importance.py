"""What a model looks at: the AUC that it loses when the values of a feature are shuffled among customers."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.inspection import permutation_importance
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from churn.scoring.scorer import score

ROWS = 2_000
"""Rows at most: the importance of a feature that matters is several times its spread on 1,400."""

REPEATS = 3
"""How often a feature is shuffled: each time the model scores every row, the forest in a tenth of a second."""


@dataclass(frozen=True)
class Importance:
    """For each feature the mean and standard deviation of the AUC lost, over `repeats` shuffles of `rows` rows."""

    features: tuple[str, ...]
    mean: tuple[float, ...]
    spread: tuple[float, ...]
    rows: int
    repeats: int
    auc: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "Importance":
        lists = {name: tuple(found[name]) for name in ("features", "mean", "spread")}
        return cls(**{**found, **lists})


def importance_of(pipeline: Pipeline, features: pd.DataFrame, labels: np.ndarray) -> Importance | None:
    """Return the permutation importance (Breiman, Machine Learning 45, 2001) of each feature, None where the labels
    are all of one class; of many rows, of some drawn at random, the same every time."""
    if len(labels) > ROWS:
        drawn = np.sort(np.random.default_rng(0).choice(len(labels), ROWS, replace=False))
        features, labels = features.iloc[drawn].reset_index(drop=True), labels[drawn]
    if len(np.unique(labels)) < 2:
        return None
    # One thread: boosted trees wait for their threads at every tree, for seconds where other tasks want the cores.
    with threadpool_limits(1):
        found = permutation_importance(
            pipeline, features, labels, scoring="roc_auc", n_repeats=REPEATS, random_state=0, n_jobs=1
        )
        auc = roc_auc_score(labels, score(pipeline, features))
    return Importance(
        features=tuple(features.columns),
        mean=tuple(map(float, found.importances_mean)),
        spread=tuple(map(float, found.importances_std)),
        rows=len(labels),
        repeats=REPEATS,
        auc=float(auc),
    )
