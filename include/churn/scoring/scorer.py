"""From features to a probability: the one way, which serving answers with, the gate tries out, and versions are graded
by."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from feast import FeatureService
from sklearn.pipeline import Pipeline

from churn.training.recipe import score
from churn.training.training_set import TrainingSet, to_frame


def score_online(pipeline: Pipeline, rows: Sequence[Mapping[str, Any]], service: FeatureService) -> np.ndarray:
    """Return the probability of churn of each row of online features, a mapping with every feature of the service.

    Raises:
        ValueError, KeyError: the pipeline wants other features than the service has.
    """
    return score(pipeline, to_frame(rows, service))


class Scorer(Protocol):
    """Turns features into probabilities: a compiled pipeline (churn.scoring.compiled), or the pipeline itself."""

    def probabilities(self, rows: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """Return the probability of churn of each row, a mapping with every feature of the service."""


@dataclass(frozen=True)
class PipelineScorer:
    """The pipeline itself, for one that is not compiled."""

    pipeline: Pipeline
    service: FeatureService

    def probabilities(self, rows: Sequence[Mapping[str, Any]]) -> np.ndarray:
        return score_online(self.pipeline, rows, self.service)


def score_rows(pipeline: Pipeline, training_set: TrainingSet, rows: np.ndarray) -> np.ndarray:
    """Return the probability of churn of those rows of a training set; equal selections have scores equal to the bit.

    Raises:
        ValueError, KeyError: the pipeline wants other features than the training set has.
    """
    return np.concatenate([np.empty(0), *(score(pipeline, block) for block in training_set.features_in_blocks(rows))])
