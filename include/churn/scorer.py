"""From online features to a probability: the one way, which serving answers with and the gate tries out."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from feast import FeatureService
from sklearn.pipeline import Pipeline

from churn.recipe import score
from churn.training_set import to_frame


def score_online(pipeline: Pipeline, rows: Sequence[Mapping[str, Any]], service: FeatureService) -> np.ndarray:
    """Return the probability of churn of each row of online features, a mapping with every feature of the service.

    Raises:
        ValueError, KeyError: the pipeline wants other features than the service has.
    """
    return score(pipeline, to_frame(rows, service))
