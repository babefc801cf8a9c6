"""train: a candidate from the training set of an AS_OF, logged to MLflow and registered.

No version ever trains on a customer of the gate cohort. What ships is the recipe fitted on all labelled dates; where
there are two or more, the recipe is graded out of time, by a twin that was fitted without the newest.
"""

import json
import logging
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
from feast.types import Bool, Float64, Int64, String
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, Schema, TensorSpec
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score
from sklearn.pipeline import Pipeline

from churn import recipe
from churn.code import code_digest, git_commit
from churn.cohort import SALT
from churn.database import connect, lock
from churn.features import FEATURE_SERVICE, feature_types, open_store
from churn.outcome import DONE, UNCHANGED, Outcome
from churn.registry import EXPERIMENT, MODEL_NAME, TRUSTED_TYPES, find_versions
from churn.superseded import DROPS, renew, to_tag
from churn.training_set import LABEL, TrainingSet, build_training_set, digest_of, drops_of

log = logging.getLogger(__name__)

GRADES = "grading.parquet"
"""The artifact that holds how the recipe scored the gate cohort on the grading date: user_id, churn_label, score."""

MLFLOW_TYPES = {Int64: DataType.long, Float64: DataType.double, Bool: DataType.boolean, String: DataType.string}

PIP_REQUIREMENTS = [f"{name}=={version(name)}" for name in ("scikit-learn", "skops", "numpy", "pandas")]


def train(as_of: date, database_url: str) -> Outcome:
    """Fit, log and register the candidate of `as_of`, and return its version and figures.

    A version of the same AS_OF with the same data digest, code and parameters exists: UNCHANGED, and it is the
    candidate.

    Raises:
        NothingToLearn: no date up to `as_of` has both labels and a snapshot.
        NotEnoughToLearn: the training rows are all of one class, or of too few customers to fold.
        DropsChanged: the drops that the training set is made of changed while it was read.
    """
    with connect(database_url) as connection:
        # Of two that train the same AS_OF at once, the second finds the version that the first registered.
        lock(connection, "train", as_of.isoformat())
        return _train(as_of, database_url)


def _train(as_of: date, database_url: str) -> Outcome:
    training_set, drops = _read_training_set(as_of, database_url)
    parameters = recipe.Parameters()
    identity = {
        "as_of": as_of.isoformat(),
        "data_digest": training_set.digest,
        "code_digest": code_digest(),
        "parameters": json.dumps(parameters.to_json(), sort_keys=True),
    }
    same = [
        each
        for each in find_versions(MlflowClient(), {"as_of": identity["as_of"]})
        if identity.items() <= each.tags.items()
    ]
    if same:
        found = same[0]
        renew(as_of, training_set.digest, drops, database_url)
        return Outcome(
            UNCHANGED,
            f"version {found.version} was trained on this data by this code",
            {"version": found.version, "run_id": found.run_id},
        )
    candidate = fit_candidate(training_set, parameters)
    version, run_id = _register(candidate, training_set, parameters, {**identity, DROPS: to_tag(drops)})
    renew(as_of, training_set.digest, drops, database_url)
    auc = candidate.metrics.get("cohort_auc")
    reason = f"version {version}: cohort AUC {'undefined' if auc is None else f'{auc:.3f}'} on {candidate.graded_on}"
    return Outcome(DONE, reason, {"version": version, "run_id": run_id, **candidate.metrics})


class DropsChanged(RuntimeError):
    """Drops that changed while a training set of them was read, so that it may mix two states; a retry reads one."""


def _read_training_set(as_of: date, database_url: str) -> tuple[TrainingSet, dict[date, str]]:
    """Return the training set and the drops that it is made of. Feast reads each date by a connection of its own, so
    that they are compared before and after."""
    drops = _drops_now(as_of, database_url)
    training_set = build_training_set(open_store(database_url), FEATURE_SERVICE, as_of, database_url)
    if _drops_now(as_of, database_url) != drops:
        raise DropsChanged(f"drops up to {as_of} changed while its training set was read: run the task again")
    return training_set, drops


def _drops_now(as_of: date, database_url: str) -> dict[date, str]:
    with connect(database_url) as connection:
        return drops_of(connection, [as_of])[as_of]


class NotEnoughToLearn(RuntimeError):
    """A training set that no model can be fitted on or chosen a threshold with."""


@dataclass(frozen=True)
class Candidate:
    """A fitted recipe with what it was graded on."""

    pipeline: Pipeline
    threshold: float
    graded_on: date
    out_of_time: bool
    grades: pa.Table
    metrics: Mapping[str, float]


def fit_candidate(training_set: TrainingSet, parameters: recipe.Parameters) -> Candidate:
    """Fit the recipe on every row outside of the gate cohort, and grade it on the cohort's rows of the newest date."""
    types = feature_types(training_set.service)
    cohort = training_set.cohort
    learn = ~cohort
    features, labels, users = training_set.features(learn), training_set.labels(learn), training_set.users(learn)
    _require_enough(labels, users, parameters)
    _warn_of_constants(features)
    started = time.monotonic()
    pipeline = recipe.fit(features, labels, types, parameters)
    seconds = time.monotonic() - started
    out_of_fold = recipe.score_out_of_fold(features, labels, users, types, parameters)
    threshold = recipe.choose_threshold(labels, out_of_fold)

    newest = training_set.dates[-1]
    grade = cohort & training_set.on(newest)
    earlier = learn & ~training_set.on(newest)
    graded = pipeline
    # Earlier dates may hold no more than the leavers who were reported late: nothing can be learned from one class.
    out_of_time = len(np.unique(training_set.labels(earlier))) == 2
    if out_of_time:
        graded = recipe.fit(training_set.features(earlier), training_set.labels(earlier), types, parameters)
    grades = _grade(graded, training_set, grade)
    metrics = {
        **_metrics("cohort", grades[LABEL].to_numpy(), grades["score"].to_numpy(), threshold),
        **_metrics("out_of_fold", labels, out_of_fold, threshold),
        "train_seconds": seconds,
        "train_rows": float(learn.sum()),
        "cohort_rows": float(grade.sum()),
    }
    return Candidate(pipeline, threshold, newest, out_of_time, grades, metrics)


def _require_enough(labels: np.ndarray, users: np.ndarray, parameters: recipe.Parameters) -> None:
    for churned in (True, False):
        customers = len(set(users[labels == churned]))
        if customers < parameters.folds:
            raise NotEnoughToLearn(
                f"{customers} customers outside of the gate cohort have the label {churned}, {parameters.folds} folds "
                "need one each: load drops with more labels"
            )


def _warn_of_constants(features: pd.DataFrame) -> None:
    for name in features.columns[features.nunique(dropna=False) <= 1]:
        log.warning("the feature %s has one value in the whole training set: it carries no information", name)


def _grade(pipeline: Pipeline, training_set: TrainingSet, rows: np.ndarray) -> pa.Table:
    scores = recipe.score(pipeline, training_set.features(rows)) if rows.any() else np.empty(0)
    return pa.table({"user_id": training_set.users(rows), LABEL: training_set.labels(rows), "score": scores})


def _metrics(name: str, labels: np.ndarray, scores: np.ndarray, threshold: float) -> dict[str, float]:
    """Return AUC, F1 and accuracy; without both classes an AUC is not defined and is left out."""
    if len(labels) == 0:
        return {}
    said = scores >= threshold
    metrics = {
        f"{name}_f1": f1_score(labels, said, zero_division=0.0),
        f"{name}_accuracy": accuracy_score(labels, said),
    }
    if len(np.unique(labels)) == 2:
        metrics[f"{name}_auc"] = roc_auc_score(labels, scores)
    return {key: float(value) for key, value in metrics.items()}


def signature_of(types: Mapping[str, Any]) -> ModelSignature:
    """Return the signature of a model over features of these Feast types."""
    inputs: list[ColSpec | TensorSpec] = [ColSpec(MLFLOW_TYPES[dtype], name) for name, dtype in types.items()]
    return ModelSignature(Schema(inputs), Schema([ColSpec(DataType.boolean)]))


def _register(
    candidate: Candidate, training_set: TrainingSet, parameters: recipe.Parameters, identity: Mapping[str, str]
) -> tuple[int, str]:
    """Log the candidate to MLflow as one run and register its model with its tags; return version and run."""
    types = feature_types(training_set.service)
    mlflow.set_experiment(EXPERIMENT)
    with mlflow.start_run(run_name=f"{training_set.as_of}") as run:
        mlflow.log_params(
            {"as_of": identity["as_of"], "labelled_dates": len(training_set.dates), **parameters.to_json()}
        )
        mlflow.log_metrics(dict(candidate.metrics))
        mlflow.log_dict({name: str(dtype) for name, dtype in types.items()}, "feature_schema.json")
        example = training_set.features(np.arange(len(training_set.table)) < 3)
        MlflowClient().log_inputs(run.info.run_id, [_dataset(training_set, identity["data_digest"])])
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / GRADES
            pyarrow.parquet.write_table(candidate.grades, path)
            mlflow.log_artifact(str(path))
        logged = mlflow.sklearn.log_model(
            candidate.pipeline,
            name="model",
            signature=signature_of(types),
            input_example=example,
            serialization_format="skops",
            skops_trusted_types=list(TRUSTED_TYPES),
            pip_requirements=PIP_REQUIREMENTS,
        )
    registered = mlflow.register_model(
        logged.model_uri,
        MODEL_NAME,
        tags={
            **identity,
            "feature_service": training_set.service.name,
            "cohort_salt": SALT,
            "threshold": repr(candidate.threshold),
            "git_commit": git_commit(),
            "graded_on": candidate.graded_on.isoformat(),
            "graded_digest": digest_of(training_set.cohort_rows(candidate.graded_on)),
            "graded_out_of_time": str(candidate.out_of_time),
        },
    )
    return int(registered.version), run.info.run_id


def _dataset(training_set: TrainingSet, digest: str) -> DatasetInput:
    """Describe the rows that were learned from. The schema is known: MLflow would infer it from every value."""
    schema = signature_of(feature_types(training_set.service)).inputs
    dataset = Dataset(
        name=f"churn training set of {training_set.as_of}",
        digest=digest[:32],
        source_type="code",
        source=json.dumps({"tags": {"feature_service": training_set.service.name, "git_commit": git_commit()}}),
        schema=json.dumps({"mlflow_colspec": schema.to_dict()}),
        profile=json.dumps({"num_rows": int((~training_set.cohort).sum())}),
    )
    return DatasetInput(dataset, [InputTag("mlflow.data.context", "training"), InputTag("data_digest", digest)])


def read_grades(run_id: str) -> pa.Table:
    """Return how the recipe of that run scored the gate cohort: user_id, churn_label, score."""
    with tempfile.TemporaryDirectory() as directory:
        path = mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path=GRADES, dst_path=directory)
        return pyarrow.parquet.read_table(path)
