"""Loading a model version, with the checks that it must pass before it is served."""

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
from churn.scoring.scorer import PipelineScorer
from serving.features import OnlineStore
from serving.served import Features, ServedModel

PLAIN = {Int64: 0, Float64: 0.0, Bool: False, String: ""}
"""Feature values of the trial row for a version without golden rows."""


class VersionRefused(RuntimeError):
    """A version that must not be served: it is not the trained model, or its features do not match its signature."""


def load(held: ModelVersion, store: OnlineStore, database_url: str) -> ServedModel:
    """Load a version, check its signature and the scores of its golden rows, compile it, and warm it up.

    Args:
        database_url: the database `churn`, which holds the hashes of trusted model files.

    Raises:
        VersionRefused, ModelNotLoadable: it must not or cannot be served.
        serving.problems.Problem: the feature store cannot look up the version's features.
    """
    as_of, threshold = held.as_of, held.threshold
    lookup = store.lookup(held.feature_service)
    pipeline, signature = load_model(held.version, database_url)
    _use_one_thread(pipeline)
    _check_signature(held, signature, lookup.service)
    golden, expected = _golden_rows(held, list(feature_types(lookup.service)))
    plain = PipelineScorer(pipeline, lookup.service)
    tried = golden or [{name: PLAIN[dtype] for name, dtype in feature_types(lookup.service).items()}]
    try:
        scores = plain.probabilities(tried)
    except (ValueError, KeyError) as error:
        raise VersionRefused(f"it cannot score the features of {held.feature_service}: {error}") from error
    # `not <=` also catches NaN.
    if golden and not (difference := float(np.abs(scores - expected).max())) <= ALLOWED:
        raise VersionRefused(f"the scores of its golden rows differ from training by {difference:.3g}")
    scorer = choose_scorer(f"version {held.version}", pipeline, lookup.service, golden, threshold)
    scorer.probabilities(tried[:1])
    return ServedModel(held.version, held.run_id, as_of, threshold, lookup, scorer, golden)


def _use_one_thread(pipeline: Pipeline) -> None:
    """Set n_jobs to 1: threads slow down the scoring of a single row."""
    several = {name for name, value in pipeline.get_params().items() if name.endswith("n_jobs") and value}
    pipeline.set_params(**dict.fromkeys(several, 1))


def _check_signature(held: ModelVersion, signature: ModelSignature | None, service: FeatureService) -> None:
    """Check the signature if there is one; a version registered by hand may have none."""
    found = columns_of(signature)
    wanted = columns_of(signature_of(feature_types(service)))
    if found and found != wanted:
        odd = sorted({name for name, _ in set(found) ^ set(wanted)}) or ["their order"]
        raise VersionRefused(f"its signature differs from {held.feature_service} in {', '.join(odd)}")


def _golden_rows(held: ModelVersion, names: list[str]) -> tuple[list[Features], np.ndarray]:
    """Return the golden rows of its run and their scores in training; empty for a version registered by hand."""
    if not keeps_evidence(held.run_id):
        return [], np.empty(0)
    golden = read_evidence(held.run_id, "golden")
    return golden.select(names).to_pylist(), golden["score"].to_numpy()
