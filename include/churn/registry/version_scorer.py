"""The scorer of a registered version. Serving and the list load it here, so that both give the same scores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from feast import FeatureService
from feast.types import Bool, Float64, Int64, String
from mlflow.models import ModelSignature
from sklearn.pipeline import Pipeline

from churn.features.store import feature_types
from churn.registry.evidence import keeps_evidence, read_evidence
from churn.registry.loading import load_model
from churn.registry.model_version import ModelVersion
from churn.registry.signature import columns_of, signature_of
from churn.scoring.check import ALLOWED, choose_scorer
from churn.scoring.scorer import PipelineScorer, Scorer

PLAIN = {Int64: 0, Float64: 0.0, Bool: False, String: ""}
"""A customer to try a version on that has no golden rows."""

Row = Mapping[str, Any]


class VersionRefused(RuntimeError):
    """A version that must not score: it is not what was trained, or takes other features than its tag says."""


@dataclass(frozen=True)
class VersionScorer:
    """A version's scorer, and the background rows of its explanations: its golden rows."""

    scorer: Scorer
    background: Sequence[Row]


def load_scorer(held: ModelVersion, service: FeatureService, database_url: str) -> VersionScorer:
    """Load a version, check its signature and its golden rows, and compile it.

    Args:
        service: the version's feature service.
        database_url: the database `churn`, which records the hashes of trusted files.

    Raises:
        VersionRefused, ModelNotLoadable: it must not or cannot score.
    """
    pipeline, signature = load_model(held.version, database_url)
    _use_one_thread(pipeline)
    _check_signature(held, signature, service)
    golden, expected = _golden_rows(held, list(feature_types(service)))
    plain = PipelineScorer(pipeline, service)
    tried = golden or [{name: PLAIN[dtype] for name, dtype in feature_types(service).items()}]
    try:
        scores = plain.probabilities(tried)
    except (ValueError, KeyError) as error:
        raise VersionRefused(f"it cannot score the features of {held.feature_service}: {error}") from error
    # `not <=` also catches NaN.
    if golden and not (difference := float(np.abs(scores - expected).max())) <= ALLOWED:
        raise VersionRefused(f"the scores of its golden rows differ from training by {difference:.3g}")
    scorer = choose_scorer(f"version {held.version}", pipeline, service, golden, held.threshold)
    scorer.probabilities(tried[:1])
    return VersionScorer(scorer, golden)


def _use_one_thread(pipeline: Pipeline) -> None:
    """Threads cost more than they save on one customer; workers and blocks run in parallel instead."""
    several = {name for name, value in pipeline.get_params().items() if name.endswith("n_jobs") and value}
    pipeline.set_params(**dict.fromkeys(several, 1))


def _check_signature(held: ModelVersion, signature: ModelSignature | None, service: FeatureService) -> None:
    """A version registered by hand may have no signature; then only scoring tells."""
    found = columns_of(signature)
    wanted = columns_of(signature_of(feature_types(service)))
    if found and found != wanted:
        odd = sorted({name for name, _ in set(found) ^ set(wanted)}) or ["their order"]
        raise VersionRefused(f"its signature differs from {held.feature_service} in {', '.join(odd)}")


def _golden_rows(held: ModelVersion, names: list[str]) -> tuple[list[Row], np.ndarray]:
    """Return the golden rows of its run and their scores in training; none of a version registered by hand."""
    if not keeps_evidence(held.run_id):
        return [], np.empty(0)
    golden = read_evidence(held.run_id, "golden")
    return golden.select(names).to_pylist(), golden["score"].to_numpy()
