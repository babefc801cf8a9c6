"""Trial of the candidate: loads it like serving, and scores its golden rows."""

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from feast import FeatureService
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from churn.features.store import feature_types
from churn.gate.evidence import Loading, Signature
from churn.registry.loading import load_model
from churn.registry.model_version import ModelNotLoadable, ModelVersion
from churn.registry.signature import columns_of
from churn.scoring.check import choose_scorer
from churn.scoring.scorer import Scorer

TIMED_ROWS = 10


def try_out(
    candidate: ModelVersion, golden: pa.Table, service: FeatureService, database_url: str
) -> tuple[Loading, Signature, Pipeline | None]:
    """Load the candidate like serving, and score its golden rows, in a batch and one by one. Return the result, its
    signature, and the pipeline if it could score them."""
    try:
        pipeline, signature = load_model(candidate.version, database_url)
        threshold = candidate.threshold
    except ModelNotLoadable as error:
        return Loading(problem=str(error)), [], None
    columns = columns_of(signature)
    rows = golden.select(list(feature_types(service))).to_pylist()
    if not rows:
        return Loading(problem="its golden rows were of customers who were erased: run its AS_OF again"), columns, None
    try:
        scorer = choose_scorer(f"version {candidate.version}", pipeline, service, rows, threshold)
        # The timing must not include the synchronization of threads.
        with threadpool_limits(1):
            found = scorer.probabilities(rows)
            milliseconds = [_time(scorer, row) for row in rows[:TIMED_ROWS]]
    except (ValueError, KeyError) as error:
        return Loading(problem=f"it cannot score its golden rows: {error}"), columns, None
    difference = float(np.abs(found - golden["score"].to_numpy()).max())
    return Loading(None, difference, min(milliseconds)), columns, pipeline


def _time(scorer: Scorer, row: Mapping[str, Any]) -> float:
    started = time.perf_counter()
    scorer.probabilities([row])
    return (time.perf_counter() - started) * 1000
