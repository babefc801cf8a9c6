"""The model registry: what a version says of itself, which one stage Production holds, and loading one safely."""

import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.entities import LifecycleStage
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode
from sklearn.pipeline import Pipeline

from churn.registry import artifacts, provenance
from churn.registry.artifacts import ArtifactRefused
from churn.registry.model_file import read_pipeline
from churn.registry.model_version import (
    CHAMPION,  # noqa: F401 — whoever asks the registry finds the names here
    MODEL_NAME,
    PRODUCTION,
    STAGING,  # noqa: F401
    ModelNotLoadable,
    ModelVersion,
)

# MLflow says at every call that stages are deprecated. The design is built on them, and the lock decides when they go.
warnings.filterwarnings("ignore", message=".*stages will be removed", category=FutureWarning)

EXPERIMENT = "streamflow"

PAGE = 1000
"""How many versions MLflow is asked for at once."""

LONGEST_REASON = 500
"""Characters of why a model is not loaded. It quotes the model's file, and becomes a tag, a log and an answer."""


class ExperimentDeleted(RuntimeError):
    """The experiment that versions are logged to was deleted in MLflow. A person restores it."""


def require_experiment(client: MlflowClient) -> None:
    """Check that a run can be logged, before hours are spent on fitting one. An experiment that does not exist is
    created by the first run.

    Raises:
        ExperimentDeleted: the experiment exists, and is deleted.
    """
    found = client.get_experiment_by_name(EXPERIMENT)
    if found is not None and found.lifecycle_stage == LifecycleStage.DELETED:
        raise ExperimentDeleted(
            f"the MLflow experiment {EXPERIMENT!r} (id {found.experiment_id}) was deleted, so no run can be logged to "
            f"it: mlflow experiments restore --experiment-id {found.experiment_id} brings it back with its runs; then "
            "clear the task train"
        )


def production(client: MlflowClient) -> ModelVersion | None:
    """Return what stage Production holds, None where it is empty; of several versions the newest, as MLflow itself
    does."""
    try:
        found = client.get_latest_versions(MODEL_NAME, stages=[PRODUCTION])
    except MlflowException as error:
        if error.error_code == ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
            return None
        raise
    return _to_version(max(found, key=lambda each: int(each.version))) if found else None


def find_versions(client: MlflowClient, tags: Mapping[str, str]) -> list[ModelVersion]:
    """Return the versions that carry all of these tags, the newest first."""
    conditions = [f"name = '{MODEL_NAME}'", *(f"tag.`{name}` = '{value}'" for name, value in tags.items())]
    found: list[ModelVersion] = []
    token = None
    while True:
        # Ascending, so that one that is registered meanwhile comes last and shifts no page.
        page = client.search_model_versions(" and ".join(conditions), PAGE, ["version_number ASC"], token)
        found += [_to_version(each) for each in page]
        token = page.token
        if not token:
            return found[::-1]


def get_version(client: MlflowClient, version: int) -> ModelVersion:
    """Return that version of the model."""
    return _to_version(client.get_model_version(MODEL_NAME, str(version)))


def find_version(client: MlflowClient, version: int) -> ModelVersion:
    """Return that version, without run and tags where it was deleted: then nothing is known of it."""
    try:
        return get_version(client, version)
    except MlflowException as error:
        if error.error_code == ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
            return ModelVersion(version, "", "None", {})
        raise


def _to_version(found: mlflow.entities.model_registry.ModelVersion) -> ModelVersion:
    return ModelVersion(int(found.version), found.run_id or "", found.current_stage or "None", dict(found.tags))


def load_pipeline(version: int, database_url: str) -> Pipeline:
    """Load a version's pipeline; see load_model()."""
    return load_model(version, database_url)[0]


def load_model(version: int, database_url: str) -> tuple[Pipeline, ModelSignature | None]:
    """Load a version's pipeline, and its signature if it has one. Its files are opened only where their hashes are
    recorded in the database `churn`. MLflow's own loader is not used: it unpickles, and imports what MLmodel names.

    Raises:
        NotTrusted: a file's sha256 is not recorded.
        ModelNotLoadable: it has no model.skops, or one that may not be loaded, or its files lie elsewhere.
    """
    try:
        with fetched(version) as directory:
            provenance.require_recorded(version, directory, database_url)
            return read_pipeline(directory / provenance.MODEL), _signature(directory / provenance.DESCRIPTION)
    except ModelNotLoadable as error:
        raise type(error)(f"models:/{MODEL_NAME}/{version}: {str(error)[:LONGEST_REASON]}") from error


@contextmanager
def fetched(version: int) -> Iterator[Path]:
    """Copy a version's two files into a directory that is gone when the block ends. That they are not there is a
    finding; that MLflow is not there is for a retry.

    Raises:
        ModelNotLoadable: they are not there, lie elsewhere or are too large.
    """
    with tempfile.TemporaryDirectory() as directory:
        try:
            files = artifacts.of_version(MODEL_NAME, version)
            found = [artifacts.fetch(files, name, Path(directory)) for name in provenance.FILES]
        except ArtifactRefused as error:
            raise ModelNotLoadable(str(error)) from error
        except MlflowException as error:
            if error.error_code == ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
                raise ModelNotLoadable(f"it has no files: {error}") from error
            raise
        if None in found:
            raise ModelNotLoadable(
                "it has no model.skops: register scikit-learn pipelines in the skops format (docs/security.md)"
            )
        yield Path(directory)


def _signature(described: Path) -> ModelSignature | None:
    try:
        signature = Model.load(str(described)).signature
    except Exception as error:  # whatever is wrong with a file that a person may have written
        raise ModelNotLoadable(f"its MLmodel cannot be read: {type(error).__name__}: {error}") from error
    return signature if isinstance(signature, ModelSignature) else None
