"""Files that runs and versions keep in MLflow: listed and fetched from this deployment's store and from nowhere else.

Whoever may write to the registry says where the files of a version or of an experiment lie, and MLflow's client goes
wherever that leads: to a stranger's bucket with its credentials, or to the disk of the machine that it runs on. Behind
a tracking server every file is handed out by that server, so that another address is refused; without one, as in tests,
files lie where the database says.
"""

from pathlib import Path
from urllib.parse import urlsplit

import mlflow
from mlflow import MlflowClient
from mlflow.store.artifact.artifact_repo import ArtifactRepository
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

LARGEST = 256 * 1024 * 1024
"""Bytes of a file that is fetched. A forest of 300 trees has 10 MB; the customers whom a
version was trained on, a million, take 20 MB."""


class ArtifactRefused(RuntimeError):
    """A file that is not fetched: it lies elsewhere, or is too large."""


def at(address: str) -> ArtifactRepository:
    """Return the files at an address that the registry names; raises ArtifactRefused where it leads elsewhere."""
    found = urlsplit(address)
    behind_a_server = urlsplit(mlflow.get_tracking_uri()).scheme in {"http", "https"}
    if behind_a_server and (found.scheme != "mlflow-artifacts" or found.netloc):
        raise ArtifactRefused(
            f"its files lie at {found.scheme or 'a path'}://{found.hostname or ''}, not in the store of the MLflow "
            "server, which has to serve artifacts (its default): register it through the server"
        )
    return get_artifact_repository(address)


def of_run(run_id: str) -> ArtifactRepository:
    """Return the files of a run.

    Raises:
        ArtifactRefused: they lie elsewhere.
        mlflow.exceptions.MlflowException: MLflow cannot be asked, or knows no such run.
    """
    return at(MlflowClient().get_run(run_id).info.artifact_uri)


def of_version(name: str, version: int) -> ArtifactRepository:
    """Return the files of a registered version; raises what of_run() does."""
    client = MlflowClient()
    address = client.get_model_version_download_uri(name, str(version))
    if urlsplit(address).scheme == "models":
        address = client.get_logged_model(address.rsplit("/", 1)[1]).artifact_location
    return at(address)


def sizes(repository: ArtifactRepository, folder: str | None = None) -> dict[str, int]:
    """Return the bytes of each file of a folder, by its path."""
    return {each.path: each.file_size or 0 for each in repository.list_artifacts(folder) if not each.is_dir}


def fetch(repository: ArtifactRepository, path: str, directory: Path, largest: int = LARGEST) -> Path | None:
    """Copy a file below `directory` and return where it is now; None where there is no such file.

    Raises:
        ArtifactRefused: it has more than `largest` bytes.
        mlflow.exceptions.MlflowException: MLflow cannot be asked.
    """
    folder, _, _ = path.rpartition("/")
    size = sizes(repository, folder or None).get(path)
    if size is None:
        return None
    _check(path, size, largest)
    found = Path(repository.download_artifacts(path, str(directory)))
    # Since it was listed another may have taken its place.
    _check(path, found.stat().st_size, largest)
    return found


def _check(path: str, size: int, largest: int) -> None:
    if size > largest:
        raise ArtifactRefused(f"{path} has {size} bytes, and may have {largest}")
