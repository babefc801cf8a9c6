"""Client of the model registry: lists versions and finds the one in stage Production.

It does not import scikit-learn; churn.registry.loading loads models.
"""

import warnings
from collections.abc import Iterator, Mapping

import mlflow
from mlflow import MlflowClient
from mlflow.entities import LifecycleStage, Run, ViewType
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode

from churn.registry.model_version import MODEL_NAME, PRODUCTION, ModelVersion

# MLflow warns at every call that stages are deprecated. The design uses them, and MLflow's version is locked.
warnings.filterwarnings("ignore", message=".*stages will be removed", category=FutureWarning)

EXPERIMENT = "streamflow"

NO_TAGS: Mapping[str, str] = {}

PAGE = 1000
"""Versions or runs per page of a search."""


class ExperimentDeleted(RuntimeError):
    """The experiment was deleted in MLflow; a person must restore it."""


def is_missing(error: Exception) -> bool:
    """Tell whether MLflow reports that the requested entity does not exist."""
    return isinstance(error, MlflowException) and error.error_code == ErrorCode.Name(RESOURCE_DOES_NOT_EXIST)


def require_experiment(client: MlflowClient) -> None:
    """Check that a run can be logged, before hours are spent on a fit. The first run creates the experiment.

    Raises:
        ExperimentDeleted: the experiment is deleted.
    """
    found = client.get_experiment_by_name(EXPERIMENT)
    if found is not None and found.lifecycle_stage == LifecycleStage.DELETED:
        raise ExperimentDeleted(
            f"the MLflow experiment {EXPERIMENT!r} (id {found.experiment_id}) was deleted, so no run can be logged to "
            f"it: mlflow experiments restore --experiment-id {found.experiment_id} brings it back with its runs; then "
            "clear the task train"
        )


def production(client: MlflowClient) -> ModelVersion | None:
    """Return the version in stage Production, None if there is none; of several the highest number, like MLflow."""
    try:
        found = client.get_latest_versions(MODEL_NAME, stages=[PRODUCTION])
    except MlflowException as error:
        if is_missing(error):
            return None
        raise
    return _to_version(max(found, key=lambda each: int(each.version))) if found else None


def find_versions(client: MlflowClient, tags: Mapping[str, str]) -> list[ModelVersion]:
    """Return the versions with all of these tags, newest first."""
    return [_to_version(each) for each in list_versions(client, tags)][::-1]


def list_versions(
    client: MlflowClient, tags: Mapping[str, str] = NO_TAGS
) -> list[mlflow.entities.model_registry.ModelVersion]:
    """Return the versions with all of these tags as MLflow entities, oldest first."""
    conditions = [f"name = '{MODEL_NAME}'", *(f"tag.`{name}` = '{value}'" for name, value in tags.items())]
    found, token = [], None
    while True:
        # Ascending, so that a version registered meanwhile is appended and does not shift pages.
        page = client.search_model_versions(" and ".join(conditions), PAGE, ["version_number ASC"], token)
        found += [*page]
        token = page.token
        if not token:
            return found


def list_runs(client: MlflowClient) -> Iterator[Run]:
    """Yield every run of the experiment: active and deleted ones, nested ones included. None without the experiment."""
    experiment, token = client.get_experiment_by_name(EXPERIMENT), None
    while experiment:
        # Ascending, so that a run logged meanwhile is appended and does not shift pages.
        page = client.search_runs(
            [experiment.experiment_id], "", ViewType.ALL, PAGE, ["attributes.start_time ASC"], token
        )
        yield from page
        token = page.token
        if not token:
            return


def get_version(client: MlflowClient, version: int) -> ModelVersion:
    return _to_version(client.get_model_version(MODEL_NAME, str(version)))


def find_version(client: MlflowClient, version: int) -> ModelVersion:
    """Return that version; if it was deleted, without run and tags."""
    try:
        return get_version(client, version)
    except MlflowException as error:
        if is_missing(error):
            return ModelVersion(version, "", "None", {})
        raise


def _to_version(found: mlflow.entities.model_registry.ModelVersion) -> ModelVersion:
    return ModelVersion(int(found.version), found.run_id or "", found.current_stage or "None", dict(found.tags))
