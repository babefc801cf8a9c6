"""Log a candidate to MLflow: one run, a nested run for each contender, and a registered version."""

import json
import logging
import time
from collections.abc import Mapping
from contextlib import redirect_stderr
from dataclasses import asdict
from importlib.metadata import version
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param
from mlflow.entities.model_registry import ModelVersion
from mlflow.models import Model, ModelSignature
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from churn.code import git_commit
from churn.features.store import feature_types
from churn.postgres.database import connect
from churn.registry import provenance
from churn.registry.client import EXPERIMENT
from churn.registry.model_file import TRUSTED_TYPES
from churn.registry.model_version import MODEL_NAME
from churn.registry.signature import signature_of
from churn.training.candidate import Candidate
from churn.training.cohort import SALT
from churn.training.learned_from import LEARNED_FROM, to_tag
from churn.training.lineage import lineage_of, log_lineage
from churn.training.recipe import Parameters
from churn.training.regime import REGIME_CHANGE
from churn.training.selection import Selection
from churn.training.training_set import TrainingSet

log = logging.getLogger(__name__)

PIP_REQUIREMENTS = [f"{name}=={version(name)}" for name in ("scikit-learn", "skops", "numpy", "pandas")]


def register(
    candidate: Candidate,
    training_set: TrainingSet,
    parameters: Parameters,
    identity: Mapping[str, str],
    revisions: Mapping[str, Any],
    *,
    database_url: str,
) -> tuple[int, str]:
    """Log the candidate to MLflow and register its model with its tags; return the version and the run id.

    Args:
        revisions: the drops of the training set, see read_revisions().
        database_url: the database `churn`, which records the hashes of the model's files.
    """
    types = feature_types(candidate.service)
    chosen = candidate.selection.recipe
    mlflow.set_experiment(EXPERIMENT)
    with mlflow.start_run(run_name=f"{training_set.as_of}") as run:
        mlflow.log_params({
            "as_of": identity["as_of"],
            "labelled_dates": len(candidate.learned_from),
            "random_state": parameters.random_state,
            "folds": parameters.folds,
            "recipe": str(chosen),
            "feature_service": candidate.service.name,
            "model_type": chosen.family,
            "calibrated": chosen.calibrated,
            **chosen.settings,
            **(asdict(parameters.value) if parameters.value else {}),
        })  # fmt: skip
        mlflow.log_metrics(dict(candidate.metrics))
        mlflow.log_dict({name: str(dtype) for name, dtype in types.items()}, "feature_schema.json")
        MlflowClient().log_inputs(run.info.run_id, [_dataset(training_set, candidate, identity["data_digest"])])
        _log_contenders(run.info.experiment_id, run.info.run_id, candidate.selection)
        candidate.evidence.log(run.info.run_id)
        lineage = lineage_of(candidate, training_set, parameters, identity, revisions)
        log_lineage(run.info.run_id, lineage, training_set)
        model_uri, hashes = _log_model(candidate, signature_of(types))
    # Before the registration: a version without recorded hashes cannot be loaded, yet is returned as UNCHANGED.
    with connect(database_url) as connection:
        why = f"trained at AS_OF {training_set.as_of}"
        provenance.append(connection, hashes, run.info.run_id, who="training", why=why)
    registered = _register_model(
        model_uri,
        MODEL_NAME,
        tags={
            **identity,
            "feature_service": candidate.service.name,
            "cohort_salt": SALT,
            "threshold": repr(candidate.threshold),
            "git_commit": git_commit(),
            LEARNED_FROM: to_tag(candidate.learned_from),
            "graded_on": candidate.graded_on.isoformat(),
            "graded_digest": training_set.cohort_digest(candidate.graded_on, candidate.service),
            "graded_out_of_time": str(candidate.out_of_time),
            **({REGIME_CHANGE: candidate.change.to_tag()} if candidate.change else {}),
        },
    )
    return int(registered.version), run.info.run_id


def _log_model(candidate: Candidate, signature: ModelSignature) -> tuple[str, dict[str, str]]:
    """Log the pipeline to the current run; return its URI and the hashes of its files. They are hashed before the
    upload, since files in MLflow may be replaced."""
    hashes: dict[str, str] = {}

    def save_model(path: str, **arguments: Any) -> None:
        mlflow.sklearn.save_model(path=path, **arguments)
        hashes.update(provenance.hashes_in(Path(path)))

    # Like mlflow.sklearn.log_model(), but hashes the files before the upload.
    logged = Model.log(
        artifact_path=None,
        name="model",
        flavor=SimpleNamespace(__name__="mlflow.sklearn", save_model=save_model),
        sk_model=candidate.pipeline,
        signature=signature,
        input_example=candidate.golden.head(3).drop(columns="score"),
        serialization_format="skops",
        skops_trusted_types=list(TRUSTED_TYPES),
        pip_requirements=PIP_REQUIREMENTS,
    )
    return logged.model_uri, hashes


def _register_model(uri: str, name: str, tags: Mapping[str, str]) -> ModelVersion:
    # MLflow reports to stderr, which Airflow logs as errors.
    with redirect_stderr(StringIO()) as said:
        registered = mlflow.register_model(uri, name, tags=dict(tags))
    log.info(" ".join(said.getvalue().split()))
    return registered


def _log_contenders(experiment: str, parent: str, selection: Selection) -> None:
    """Log each contender as a nested run."""
    client, now = MlflowClient(), int(time.time() * 1000)
    for each in selection.contenders:
        name = f"{each.recipe}, {each.service}"
        run = client.create_run(experiment, tags={MLFLOW_PARENT_RUN_ID: parent}, run_name=name)
        figures = {"out_of_fold_brier": each.brier}
        if each.auc:
            figures |= {"out_of_fold_auc": each.auc.value, "out_of_fold_auc_error": each.auc.error}
        said = {
            "model_type": each.recipe.family,
            "feature_service": each.service,
            "calibrated": each.recipe.calibrated,
            "chosen": (each.recipe, each.service) == (selection.recipe, selection.service),
            **each.recipe.settings,
        }
        client.log_batch(
            run.info.run_id,
            metrics=[Metric(name, value, now, 0) for name, value in figures.items()],
            params=[Param(name, str(value)) for name, value in said.items()],
        )
        client.set_terminated(run.info.run_id)


def _dataset(training_set: TrainingSet, candidate: Candidate, digest: str) -> DatasetInput:
    """Describe the training rows. The schema is given, because MLflow would infer it from every value."""
    schema = signature_of(feature_types(training_set.service)).inputs
    dataset = Dataset(
        name=f"churn training set of {training_set.as_of}",
        digest=digest[:32],
        source_type="code",
        source=json.dumps({"tags": {"joined_with": training_set.service.name, "git_commit": git_commit()}}),
        schema=json.dumps({"mlflow_colspec": schema.to_dict()}),
        profile=json.dumps({"num_rows": int(candidate.metrics["train_rows"])}),
    )
    return DatasetInput(dataset, [InputTag("mlflow.data.context", "training"), InputTag("data_digest", digest)])
