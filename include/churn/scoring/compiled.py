"""Compiled pipelines: the same probabilities in a fraction of the time, independent of the batch.

The encoder replaces the data frame and the preprocessing steps; the classifier is scikit-learn's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from feast import FeatureService
from sklearn.pipeline import Pipeline

from churn.features.store import feature_types
from churn.scoring.classifiers import Compute, compile_classifier
from churn.scoring.encoder import Encoder, compile_encoder
from churn.scoring.known import NotCompilable, require, require_type
from churn.scoring.scorer import Replace, Scorer

__all__ = ["CompiledScorer", "NotCompilable", "compile_pipeline"]


@dataclass(frozen=True)
class CompiledScorer(Scorer):
    """A pipeline's preprocessing and classifier; thread-safe."""

    encoder: Encoder
    probability: Compute

    def probabilities(self, rows: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """Return the probability of churn (rows,) of each row of online features, a mapping with every feature. A row's
        result is independent of the other rows, to the bit.

        Raises:
            KeyError: a row lacks a feature.
            ValueError: a number is infinite, or too large for the classifier.
        """
        return self.probability(self.encoder.encode(rows)) if rows else np.empty(0)

    def probabilities_of(self, table: pa.Table | pa.RecordBatch) -> np.ndarray:
        """Return what probabilities() returns for the same rows, to the bit."""
        return self.probability(self.encoder.encode_table(table)) if len(table) else np.empty(0)

    def replace(self, rows: Sequence[Mapping[str, Any]]) -> Replace:
        encoded = self.encoder.encode(rows)

        def probabilities(name: str, values: Sequence[Any]) -> np.ndarray:
            places = self.encoder.places[name]
            cells = self.encoder.encode([{**rows[0], name: value} for value in values])[:, places]
            # Column by column in memory: a linear model adds whole columns.
            columns = np.empty((self.encoder.width, len(values), len(rows)))
            columns[:] = encoded.T[:, np.newaxis]
            columns[places] = cells.T[:, :, np.newaxis]
            return self.probability(columns.reshape(self.encoder.width, -1).T).reshape(len(values), len(rows))

        return probabilities


def compile_pipeline(pipeline: Any, service: FeatureService) -> CompiledScorer:
    """Compile a fitted pipeline over the features of a feature service.

    Raises:
        NotCompilable: its parts are not those that churn.training.recipe uses.
    """
    require_type(pipeline, Pipeline)
    steps = dict(pipeline.steps)
    # Versions from before 0.2.0 have no step `arcsinh`.
    known = (["preprocess", "arcsinh", "scale", "classifier"], ["preprocess", "scale", "classifier"])
    require([*steps] in known, "a pipeline with other steps")
    encoder = compile_encoder(
        steps["preprocess"], steps.get("arcsinh", "passthrough"), steps["scale"], feature_types(service)
    )
    return CompiledScorer(encoder, compile_classifier(steps["classifier"], encoder.width))
