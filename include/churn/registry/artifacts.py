"""Artifacts of runs and versions, fetched only from the store of this deployment's MLflow server.

A user with write access to the registry can set an artifact URI, and MLflow's client follows it: to a foreign bucket
with its credentials, or to the local disk. With a tracking server, only URIs that the server serves are accepted.
Without one, as in tests, the URI of the database is used.
"""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repo import ArtifactRepository
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from churn.registry.client import is_missing

LARGEST = 256 * 1024 * 1024
"""Maximum bytes of a fetched file. A forest of 300 trees has 10 MB; the ids of a million training customers, 20 MB."""


class ArtifactRefused(RuntimeError):
    """The file is outside the MLflow server's store, or too large."""


def at(address: str) -> ArtifactRepository:
    """Return the artifacts at a URI of the registry; raises ArtifactRefused if the server does not serve it."""
    found = urlsplit(address)
    behind_a_server = urlsplit(mlflow.get_tracking_uri()).scheme in {"http", "https"}
    if behind_a_server and (found.scheme != "mlflow-artifacts" or found.netloc):
        raise ArtifactRefused(
            f"its files lie at {found.scheme or 'a path'}://{found.hostname or ''}, not in the store of the MLflow "
            "server, which must serve artifacts (its default): register it through the server"
        )
    return get_artifact_repository(address)


def of_run(run_id: str) -> ArtifactRepository:
    """Return the artifacts of a run.

    Raises:
        ArtifactRefused: the MLflow server does not serve them.
        mlflow.exceptions.MlflowException: MLflow is unavailable, or has no such run.
    """
    return at(MlflowClient().get_run(run_id).info.artifact_uri)


def of_version(name: str, version: int) -> ArtifactRepository:
    """Return the artifacts of a registered version; raises the errors of of_run()."""
    client = MlflowClient()
    address = client.get_model_version_download_uri(name, str(version))
    if urlsplit(address).scheme == "models":
        address = client.get_logged_model(address.rsplit("/", 1)[1]).artifact_location
    return at(address)


def of_models(run_id: str) -> list[ArtifactRepository]:
    """Return the artifacts of each model that a run logged, deleted models included; raises the errors of of_run()."""
    client = MlflowClient()
    run = client.get_run(run_id)
    ids = [each.model_id for each in run.outputs.model_outputs] if run.outputs else []
    return [at(_location_of(client, each, run.info.experiment_id)) for each in ids]


def _location_of(client: MlflowClient, model_id: str, experiment_id: str) -> str:
    try:
        return str(client.get_logged_model(model_id).artifact_location)
    except MlflowException as error:
        if not is_missing(error):
            raise
    # It was deleted. Its files may still be there, where MLflow puts those of every model.
    return f"{client.get_experiment(experiment_id).artifact_location.rstrip('/')}/models/{model_id}/artifacts"


def walk(repository: ArtifactRepository, folder: str | None = None) -> Iterator[str]:
    """Yield the path of every file of a folder and its subfolders."""
    for each in repository.list_artifacts(folder):
        if each.is_dir:
            yield from walk(repository, each.path)
        else:
            yield each.path


def sizes(repository: ArtifactRepository, folder: str | None = None) -> dict[str, int]:
    """Return the size of each file of a folder in bytes, by path."""
    return {each.path: each.file_size or 0 for each in repository.list_artifacts(folder) if not each.is_dir}


def fetch(repository: ArtifactRepository, path: str, directory: Path, largest: int = LARGEST) -> Path | None:
    """Download a file into `directory` and return its path there; None if it does not exist.

    Raises:
        ArtifactRefused: it has more than `largest` bytes.
        mlflow.exceptions.MlflowException: MLflow is unavailable.
    """
    folder, _, _ = path.rpartition("/")
    size = sizes(repository, folder or None).get(path)
    if size is None:
        return None
    _check(path, size, largest)
    found = Path(repository.download_artifacts(path, str(directory)))
    # The file may have been replaced after it was listed.
    _check(path, found.stat().st_size, largest)
    return found


def replace(repository: ArtifactRepository, path: str, file: Path) -> None:
    """Upload a file in place of the one at `path`, whose name it must have. It works for a deleted run too."""
    folder, _, name = path.rpartition("/")
    assert file.name == name, f"{file} would be uploaded beside {path}"
    repository.log_artifact(str(file), folder or None)


def _check(path: str, size: int, largest: int) -> None:
    if size > largest:
        raise ArtifactRefused(f"{path} has {size} bytes, and may have {largest}")
