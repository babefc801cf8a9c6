"""A fitted pipeline, compiled: the same probabilities in a fraction of the time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from feast import FeatureService
from sklearn.pipeline import Pipeline

from churn.features.store import feature_types
from churn.scoring.classifiers import Compiled, compile_classifier
from churn.scoring.encoder import Encoder, compile_encoder
from churn.scoring.known import NotCompilable, require, require_type

__all__ = ["CompiledScorer", "NotCompilable", "compile_pipeline"]


@dataclass(frozen=True)
class CompiledScorer:
    """A pipeline's preprocessing and classifier; it may be used by several threads at once."""

    encoder: Encoder
    classifier: Compiled

    def probabilities(self, rows: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """Return the probability of churn (rows,) of each row of online features, a mapping with every feature.

        Raises:
            KeyError: a row lacks a feature.
            ValueError: a number is infinite, or too large for the classifier.
        """
        return self.classifier.probability(self.encoder.encode(rows))


def compile_pipeline(pipeline: Any, service: FeatureService) -> CompiledScorer:
    """Compile a fitted pipeline over the features of a feature service.

    Raises:
        NotCompilable: it is made of anything else than what churn.training.recipe makes pipelines of.
    """
    require_type(pipeline, Pipeline)
    require([name for name, _ in pipeline.steps] == ["preprocess", "scale", "classifier"], "a pipeline of other steps")
    preprocess, scale, classifier = (step for _, step in pipeline.steps)
    encoder = compile_encoder(preprocess, scale, feature_types(service))
    compiled = compile_classifier(classifier, encoder.width)
    require(compiled.trees is None or encoder.scale is None, "trees over scaled columns")
    return CompiledScorer(encoder, compiled)
