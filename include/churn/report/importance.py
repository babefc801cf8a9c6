"""Permutation importance: the AUC that a model loses when a feature is shuffled among customers."""

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
"""Maximum rows: with 1,400, the importance of a relevant feature is several times its spread."""

REPEATS = 3
"""Shuffles of each feature."""


@dataclass(frozen=True)
class Importance:
    """Mean and standard deviation of the AUC lost for each feature, over `repeats` shuffles of `rows` rows."""

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
    """Return the permutation importance (Breiman, Machine Learning 45, 2001) of each feature, None if there is only one
    class. More than ROWS rows are sampled with a fixed seed."""
    if len(labels) > ROWS:
        drawn = np.sort(np.random.default_rng(0).choice(len(labels), ROWS, replace=False))
        features, labels = features.iloc[drawn].reset_index(drop=True), labels[drawn]
    if len(np.unique(labels)) < 2:
        return None
    # One thread: on a busy machine, boosted trees wait for their threads at every tree.
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
