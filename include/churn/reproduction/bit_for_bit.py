"""Comparison of a reproduced model version with the recorded one, to the last bit."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
from mlflow import MlflowClient

from churn.registry.evidence import read_evidence
from churn.registry.loading import load_pipeline
from churn.registry.model_version import ModelNotLoadable, ModelVersion
from churn.scoring.scorer import score
from churn.training.candidate import Candidate
from churn.training.digest import digest_of
from churn.training.lineage import read_kept_set
from churn.training.selection import run_at_once
from churn.training.training_set import TrainingSet

Check = tuple[str, str | None]
"""The subject of a comparison, and the difference in words; None if equal."""


def set_difference(found: ModelVersion, training_set: TrainingSet) -> str | None:
    """Return how a training set differs from the version's: digests, and the first value if the run keeps the set."""
    table, then, now = training_set.table, found.tags["data_digest"], training_set.digest
    if then == now:
        return None
    said = f"the training set of {found.as_of} had the sha256 {then[:12]}…, has {now[:12]}…"
    kept = read_kept_set(found.run_id)
    if kept is None:
        return said
    if len(kept) != len(table) or kept.column_names != table.column_names:
        return f"{said}: {len(kept)} rows of {kept.column_names}, now {len(table)} of {table.column_names}"
    for name in table.column_names:
        for row, (old, new) in enumerate(zip(kept[name].to_pylist(), table[name].to_pylist(), strict=True)):
            if repr(old) != repr(new):
                of = f"{table['user_id'][row]} at {table['as_of'][row]}"
                return f"{said}: {name} of {of} was {old!r}, is {new!r}"
    return f"{said}, although the kept set is equal"


def compare(
    found: ModelVersion,
    lineage: Mapping[str, Any],
    candidate: Candidate,
    training_set: TrainingSet,
    database_url: str,
) -> Iterator[Check]:
    """Yield each comparison of a candidate with the recorded version."""
    chosen = json.loads(json.dumps(asdict(candidate.selection.recipe)))
    yield f"recipe, {candidate.selection.recipe}", _changed(lineage["recipe"], chosen)
    yield f"features, those of {candidate.service.name}", _changed(found.feature_service, candidate.service.name)
    yield "threshold", _changed(found.threshold, candidate.threshold)
    yield from _compare_metrics(found, lineage["metrics"], candidate)
    yield from _compare_evidence(found, candidate)
    yield _compare_predictions(found, candidate, training_set, database_url)


def _changed(then: Any, now: Any) -> str | None:
    """Return how two values differ; floats with equal repr() are equal to the bit."""
    return None if repr(then) == repr(now) else f"was {then!r}, is {now!r}"


def _compare_metrics(found: ModelVersion, names: Iterable[str], candidate: Candidate) -> Iterator[Check]:
    """Compare the named metrics only: the gate logs others to the same run, and later code may add some."""
    recorded = MlflowClient().get_run(found.run_id).data.metrics
    names = sorted(names)
    for name in names:
        if difference := _changed(recorded.get(name), candidate.metrics.get(name)):
            yield f"metric {name}", difference
    yield f"{len(names)} metrics", None


def _compare_evidence(found: ModelVersion, candidate: Candidate) -> Iterator[Check]:
    for name, new in vars(candidate.evidence).items():
        old = read_evidence(found.run_id, name)
        same = old.schema.equals(new.schema) and digest_of(old) == digest_of(new)
        yield f"{name}, {len(new)} rows", None if same else f"evidence/{name}.parquet has other rows"


def _compare_predictions(
    found: ModelVersion, candidate: Candidate, training_set: TrainingSet, database_url: str
) -> Check:
    what = f"{len(training_set.table)} predictions of the registered model"
    try:
        registered = load_pipeline(found.version, database_url)
    except ModelNotLoadable as error:
        return what, str(error)
    features = training_set.of(candidate.service).features(np.ones(len(training_set.table), dtype=bool))
    pipelines = (registered, candidate.pipeline)
    then, now = run_at_once([partial(score, pipeline, features) for pipeline in pipelines])
    if then.tobytes() == now.tobytes():
        return what, None
    differing = np.flatnonzero(then.view(np.int64) != now.view(np.int64))
    row = int(differing[0])
    user, as_of = training_set.table["user_id"][row], training_set.table["as_of"][row]
    return what, f"{len(differing)} differ; that of {user} at {as_of} was {then[row]!r}, is {now[row]!r}"
