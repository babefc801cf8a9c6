"""Scoring of features, shared by serving, the list, the gate and grading."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from feast import FeatureService
from sklearn.pipeline import Pipeline

from churn.features.store import feature_types
from churn.scoring.frame import to_frame, to_model_types

Row = Mapping[str, Any]

Replace = Callable[[str, Sequence[Any]], np.ndarray]
"""From a feature and values for it to the probabilities (values, rows) of rows with each value in that feature."""


def score(pipeline: Pipeline, features: pd.DataFrame) -> np.ndarray:
    """Return the probability of churn of each row of model input, see churn.scoring.frame."""
    return pipeline.predict_proba(features)[:, 1]


def score_online(pipeline: Pipeline, rows: Sequence[Row], service: FeatureService) -> np.ndarray:
    """Return the probability of churn of each row of online features, a mapping with every feature of the service.

    Raises:
        ValueError, KeyError: the pipeline needs features that the service lacks.
    """
    return score(pipeline, to_frame(rows, service))


class Scorer(ABC):
    """Turns features into probabilities: a compiled pipeline (churn.scoring.compiled), or the pipeline itself."""

    @abstractmethod
    def probabilities(self, rows: Sequence[Row]) -> np.ndarray:
        """Return the probability of churn of each row, a mapping with every feature of the service."""

    def probabilities_of(self, table: pa.Table | pa.RecordBatch) -> np.ndarray:
        """Return the probability of churn of each row of a table with every feature of the service as a column."""
        return self.probabilities(table.to_pylist())

    def replace(self, rows: Sequence[Row]) -> Replace:
        """Return the function that scores these rows with another value in one feature."""
        return lambda name, values: self.probabilities(
            [{**row, name: value} for value in values for row in rows]
        ).reshape(len(values), len(rows))


@dataclass(frozen=True)
class PipelineScorer(Scorer):
    """Scores by the pipeline itself, if it is not compiled."""

    pipeline: Pipeline
    service: FeatureService

    def probabilities(self, rows: Sequence[Row]) -> np.ndarray:
        return score_online(self.pipeline, rows, self.service)

    def probabilities_of(self, table: pa.Table | pa.RecordBatch) -> np.ndarray:
        types = feature_types(self.service)
        return score(self.pipeline, to_model_types(table.select(list(types)).to_pandas(), types))
