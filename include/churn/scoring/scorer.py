"""Scoring of features, shared by serving, the gate and grading."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd
from feast import FeatureService
from sklearn.pipeline import Pipeline

from churn.scoring.frame import to_frame


def score(pipeline: Pipeline, features: pd.DataFrame) -> np.ndarray:
    """Return the probability of churn of each row of model input, see churn.scoring.frame."""
    return pipeline.predict_proba(features)[:, 1]


def score_online(pipeline: Pipeline, rows: Sequence[Mapping[str, Any]], service: FeatureService) -> np.ndarray:
    """Return the probability of churn of each row of online features, a mapping with every feature of the service.

    Raises:
        ValueError, KeyError: the pipeline needs features that the service lacks.
    """
    return score(pipeline, to_frame(rows, service))


class Scorer(Protocol):
    """Turns features into probabilities: a compiled pipeline (churn.scoring.compiled), or the pipeline itself."""

    def probabilities(self, rows: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """Return the probability of churn of each row, a mapping with every feature of the service."""


@dataclass(frozen=True)
class PipelineScorer:
    """Scores by the pipeline itself, if it is not compiled."""

    pipeline: Pipeline
    service: FeatureService

    def probabilities(self, rows: Sequence[Mapping[str, Any]]) -> np.ndarray:
        return score_online(self.pipeline, rows, self.service)
