"""Loading a version: what must be true of it before it answers for anybody."""

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
"""A customer who tries out a version that keeps no golden rows."""


class VersionRefused(RuntimeError):
    """A version that must not answer: it is not what was trained, or takes other features than it says."""


def load(held: ModelVersion, store: OnlineStore, database_url: str) -> ServedModel:
    """Load a version, see that it takes the features of its feature service and scores its golden rows as it did in
    training, compile it, and warm it up.

    Args:
        database_url: the database `churn`, which knows the hashes of the files that may be loaded.

    Raises:
        VersionRefused, ModelNotLoadable: it must not or cannot be served.
        serving.problems.Problem: the feature store cannot be asked what the version's features are.
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
    # NaN is no small difference.
    if golden and not (difference := float(np.abs(scores - expected).max())) <= ALLOWED:
        raise VersionRefused(f"its golden rows score {difference:.3g} away from what they did in training")
    scorer = choose_scorer(f"version {held.version}", pipeline, lookup.service, golden, threshold)
    scorer.probabilities(tried[:1])
    return ServedModel(held.version, held.run_id, as_of, threshold, lookup, scorer, golden)


def _use_one_thread(pipeline: Pipeline) -> None:
    """One customer is nothing to share among threads, whatever the model was trained with."""
    several = {name for name, value in pipeline.get_params().items() if name.endswith("n_jobs") and value}
    pipeline.set_params(**dict.fromkeys(several, 1))


def _check_signature(held: ModelVersion, signature: ModelSignature | None, service: FeatureService) -> None:
    """A version that was registered by hand may have no signature; that it can score is tried in any case."""
    found = columns_of(signature)
    wanted = columns_of(signature_of(feature_types(service)))
    if found and found != wanted:
        odd = sorted({name for name, _ in set(found) ^ set(wanted)}) or ["their order"]
        raise VersionRefused(f"its signature is not that of {held.feature_service}, different in {', '.join(odd)}")


def _golden_rows(held: ModelVersion, names: list[str]) -> tuple[list[Features], np.ndarray]:
    """Return the rows that its run keeps, and how they scored in training; none of one that was registered by hand."""
    if not keeps_evidence(held.run_id):
        return [], np.empty(0)
    golden = read_evidence(held.run_id, "golden")
    return golden.select(names).to_pylist(), golden["score"].to_numpy()
