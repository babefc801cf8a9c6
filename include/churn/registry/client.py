"""The client of the model registry: which versions there are, and which one stage Production holds.

It imports no scikit-learn. churn.registry.loading loads a version's model.
"""

import warnings
from collections.abc import Mapping

import mlflow
from mlflow import MlflowClient
from mlflow.entities import LifecycleStage
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode

from churn.registry.model_version import (
    CHAMPION,  # noqa: F401 — whoever asks the registry finds the names here
    MODEL_NAME,
    PRODUCTION,
    STAGING,  # noqa: F401
    ModelVersion,
)

# MLflow says at every call that stages are deprecated. The design is built on them, and the lock decides when they go.
warnings.filterwarnings("ignore", message=".*stages will be removed", category=FutureWarning)

EXPERIMENT = "streamflow"

NO_TAGS: Mapping[str, str] = {}

PAGE = 1000
"""How many versions MLflow is asked for at once."""


class ExperimentDeleted(RuntimeError):
    """The experiment that versions are logged to was deleted in MLflow. A person restores it."""


def is_missing(error: Exception) -> bool:
    """Tell whether MLflow answered that what was asked for does not exist."""
    return isinstance(error, MlflowException) and error.error_code == ErrorCode.Name(RESOURCE_DOES_NOT_EXIST)


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
        if is_missing(error):
            return None
        raise
    return _to_version(max(found, key=lambda each: int(each.version))) if found else None


def find_versions(client: MlflowClient, tags: Mapping[str, str]) -> list[ModelVersion]:
    """Return the versions that carry all of these tags, the newest first."""
    return [_to_version(each) for each in list_versions(client, tags)][::-1]


def list_versions(
    client: MlflowClient, tags: Mapping[str, str] = NO_TAGS
) -> list[mlflow.entities.model_registry.ModelVersion]:
    """Return the versions that carry all of these tags, the oldest first, with all that MLflow says of them."""
    conditions = [f"name = '{MODEL_NAME}'", *(f"tag.`{name}` = '{value}'" for name, value in tags.items())]
    found, token = [], None
    while True:
        # Ascending, so that one that is registered meanwhile comes last and shifts no page.
        page = client.search_model_versions(" and ".join(conditions), PAGE, ["version_number ASC"], token)
        found += [*page]
        token = page.token
        if not token:
            return found


def get_version(client: MlflowClient, version: int) -> ModelVersion:
    """Return that version of the model."""
    return _to_version(client.get_model_version(MODEL_NAME, str(version)))


def find_version(client: MlflowClient, version: int) -> ModelVersion:
    """Return that version, without run and tags where it was deleted: then nothing is known of it."""
    try:
        return get_version(client, version)
    except MlflowException as error:
        if is_missing(error):
            return ModelVersion(version, "", "None", {})
        raise


def _to_version(found: mlflow.entities.model_registry.ModelVersion) -> ModelVersion:
    return ModelVersion(int(found.version), found.run_id or "", found.current_stage or "None", dict(found.tags))
