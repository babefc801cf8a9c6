"""Choice of a version's scorer: the compiled one if its scores equal the pipeline's, otherwise the pipeline.

Both are compared on the version's golden rows and on variations with NULLs and unknown values, where encoders differ.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from feast import FeatureService
from feast.types import Bool, String
from sklearn.pipeline import Pipeline

from churn.features.store import feature_types
from churn.scoring.compiled import CompiledScorer, NotCompilable, compile_pipeline
from churn.scoring.scorer import PipelineScorer, Scorer, score_online

log = logging.getLogger(__name__)

ALLOWED = 1e-6
"""Tolerance for a row's probability; its label must be equal."""

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Proof:
    """A comparison with the pipeline: row count, largest difference of probabilities, and count of different labels."""

    rows: int
    largest_difference: float
    different_labels: int

    @property
    def holds(self) -> bool:
        """Tell whether the scores are equal within ALLOWED; NaN is not."""
        return self.rows > 0 and self.largest_difference <= ALLOWED and self.different_labels == 0

    def __str__(self) -> str:
        return (
            f"{self.rows} rows compared, probabilities differ by {self.largest_difference:.3g} at most, "
            f"{self.different_labels} labels differ"
        )


def choose_scorer(
    name: str, pipeline: Pipeline, service: FeatureService, golden: Sequence[Row], threshold: float
) -> Scorer:
    """Return the scorer of a version. It is the same in serving, the gate and score lists.

    Args:
        name: the version's name in the log.
        golden: see prove(); empty for a version registered by hand.
    """
    plain = PipelineScorer(pipeline, service)
    if not golden:
        log.warning("%s is scored by its pipeline, which is slower: it has no golden rows", name)
        return plain
    try:
        compiled = compile_pipeline(pipeline, service)
        proof = prove(compiled, pipeline, service, golden, threshold)
    except NotCompilable as error:
        log.warning("%s is scored by its pipeline, which is slower: %s", name, error)
        return plain
    except Exception:
        # If scikit-learn changed in a way the compiler does not know, fall back to the pipeline.
        log.exception("%s is scored by its pipeline, which is slower: it could not be compiled", name)
        return plain
    if not proof.holds:
        log.error("%s is scored by its pipeline: the compiled scores differ: %s", name, proof)
        return plain
    log.info("%s is compiled: %s", name, proof)
    return compiled


def prove(
    scorer: CompiledScorer, pipeline: Pipeline, service: FeatureService, golden: Sequence[Row], threshold: float
) -> Proof:
    """Compare a scorer with the pipeline that it was compiled from.

    Args:
        golden: one or more rows with every feature of the service. They are scored alone, and in a batch with their
            variations.
        threshold: the probability at or above which the label is churn.
    """
    rows = rows_to_prove(scorer, golden, feature_types(service))
    found = np.concatenate([*(scorer.probabilities([row]) for row in golden), scorer.probabilities(rows)])
    together = score_online(pipeline, rows, service)
    expected = np.concatenate([together[: len(golden)], together])
    return Proof(
        rows=len(rows),
        largest_difference=float(np.abs(found - expected).max()),
        different_labels=int(((found >= threshold) != (expected >= threshold)).sum()),
    )


def rows_to_prove(scorer: CompiledScorer, golden: Sequence[Row], types: Mapping[str, Any]) -> list[Row]:
    """Return the golden rows and variations of each feature: NULL, every known category, unknown ones and near misses.

    Args:
        types: Feast type of each feature.
    """
    rows = list(golden)
    known = {code.name: list(code.columns) for code in scorer.encoder.codes}
    for name, dtype in types.items():
        values: list[Any] = [None, *known.get(name, ())] if dtype in (Bool, String) else [None]
        if dtype == String:
            texts = [text for text in values if text is not None]
            values += ["", "unseen", *(near for text in texts for near in (f"{text} ", text.swapcase(), text[:-1]))]
        rows += [{**row, name: value} for value in values for row in golden]
    return rows
