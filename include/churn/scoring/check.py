"""Which scorer a version gets: the compiled one where it answers as the pipeline does, or else the pipeline.

That is tried on the version's golden rows and on variations of them: NULLs and unknown values, which the encoder would
give itself away on.
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
"""By how much probabilities of one row may differ; its label must not."""

Row = Mapping[str, Any]


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


def choose_scorer(
    name: str, pipeline: Pipeline, service: FeatureService, golden: Sequence[Row], threshold: float
) -> Scorer:
    """Return the scorer of a version: serving, the gate and lists of scores get the same one for the same version.

    Args:
        name: what a log calls the version.
        golden: see prove(); a version that was registered by hand has none.
    """
    plain = PipelineScorer(pipeline, service)
    if not golden:
        log.warning("%s is scored by its pipeline, which is slower: it keeps no golden rows", name)
        return plain
    try:
        compiled = compile_pipeline(pipeline, service)
        proof = prove(compiled, pipeline, service, golden, threshold)
    except NotCompilable as error:
        log.warning("%s is scored by its pipeline, which is slower: %s", name, error)
        return plain
    except Exception:
        # Whatever scikit-learn did otherwise than the compiler knows, the pipeline itself can answer.
        log.exception("%s is scored by its pipeline, which is slower: it could not be compiled", name)
        return plain
    if not proof.holds:
        log.error("%s is scored by its pipeline: compiled, it would answer otherwise: %s", name, proof)
        return plain
    log.info("%s is compiled: %s", name, proof)
    return compiled


def prove(
    scorer: CompiledScorer, pipeline: Pipeline, service: FeatureService, golden: Sequence[Row], threshold: float
) -> Proof:
    """Compare the scorer with the pipeline that it was compiled from.

    Args:
        golden: rows with every feature of the service; one row or more. They are scored together with their
            variations, as a batch is, and each alone.
        threshold: the probability from which on the label is churn.
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
    """Return the golden rows, which have every feature of these Feast types, and variations of them: each feature NULL
    in turn, as online each may be, each known value of a category, unknown ones, and texts that are nearly a known
    one."""
    rows = list(golden)
    known = {code.name: list(code.columns) for code in scorer.encoder.codes}
    for name, dtype in types.items():
        values: list[Any] = [None, *known.get(name, ())] if dtype in (Bool, String) else [None]
        if dtype == String:
            texts = [text for text in values if text is not None]
            values += ["", "unseen", *(near for text in texts for near in (f"{text} ", text.swapcase(), text[:-1]))]
        rows += [{**row, name: value} for value in values for row in golden]
    return rows
