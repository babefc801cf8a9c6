"""That a compiled pipeline answers as the pipeline does, shown on rows that are made to find a difference. They are a
sample, at the trees' splits too (churn.scoring.proof_rows): what they find is what goes wrong as a rule."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from feast import FeatureService
from sklearn.pipeline import Pipeline

from churn.features.store import feature_types
from churn.scoring.compiled import CompiledScorer
from churn.scoring.proof_rows import proof_rows
from churn.scoring.scorer import score_online

ALLOWED = 1e-6
"""By how much probabilities of one row may differ; its label must not."""


@dataclass(frozen=True)
class Proof:
    """A comparison with the pipeline: of how many rows, the largest difference between two probabilities of a row, and
    how many rows got different labels."""

    rows: int
    largest_difference: float
    different_labels: int

    @property
    def holds(self) -> bool:
        """Tell whether the answers are the same."""
        # NaN is no small difference.
        return self.rows > 0 and self.largest_difference <= ALLOWED and self.different_labels == 0

    def __str__(self) -> str:
        return (
            f"{self.rows} rows compared, probabilities differ by {self.largest_difference:.3g} at most, "
            f"{self.different_labels} labels differ"
        )


def prove(
    scorer: CompiledScorer,
    pipeline: Pipeline,
    service: FeatureService,
    golden: Sequence[Mapping[str, Any]],
    threshold: float,
) -> Proof:
    """Compare the scorer with the pipeline that it was compiled from.

    Args:
        golden: rows with every feature of the service; one row or more. They are scored together with their
            variations, as a batch is, and each alone.
        threshold: the probability from which on the label is churn.
    """
    rows = proof_rows(scorer, golden, feature_types(service))
    alone = [scorer.probabilities([row]) for row in golden]
    found = np.concatenate([*alone, scorer.probabilities(rows)])
    together = score_online(pipeline, rows, service)
    expected = np.concatenate([together[: len(golden)], together])
    return Proof(
        rows=len(rows),
        largest_difference=float(np.abs(found - expected).max()),
        different_labels=int(((found >= threshold) != (expected >= threshold)).sum()),
    )
