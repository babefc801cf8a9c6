"""The candidate tried out: loaded as serving loads it, it answers for its golden rows."""

import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np
import pyarrow as pa
from feast import FeatureService
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from churn.features.store import feature_types
from churn.gate.evidence import Loading, Signature
from churn.registry import versions as registry
from churn.registry.signature import columns_of
from churn.registry.versions import ModelVersion
from churn.scoring.compiled import NotCompilable, compile_pipeline
from churn.scoring.scorer import PipelineScorer, Scorer

TIMED_ROWS = 10


def try_out(
    candidate: ModelVersion, golden: pa.Table, service: FeatureService
) -> tuple[Loading, Signature, Pipeline | None]:
    """Load the candidate as serving does, and let it answer for its golden rows, all at once and one by one; return how
    it did, its signature, and the pipeline where it answered."""
    try:
        pipeline, signature = registry.load_model(candidate.version)
    except registry.ModelNotLoadable as error:
        return Loading(problem=str(error)), [], None
    columns = columns_of(signature)
    scorer: Scorer = PipelineScorer(pipeline, service)
    with suppress(NotCompilable):
        scorer = compile_pipeline(pipeline, service)
    rows = golden.select(list(feature_types(service))).to_pylist()
    try:
        # Threads that wait for each other would be timed, not the model.
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
