"""Loading of a version's model. Its files are opened only if their hashes are recorded."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from sklearn.pipeline import Pipeline

from churn.registry import artifacts, provenance
from churn.registry.artifacts import ArtifactRefused
from churn.registry.client import is_missing
from churn.registry.model_file import read_pipeline
from churn.registry.model_version import MODEL_NAME, ModelNotLoadable

LONGEST_REASON = 500
"""Maximum characters of a loading error: it quotes the model file, and ends up in tags, logs and responses."""


def load_pipeline(version: int, database_url: str) -> Pipeline:
    """Load a version's pipeline; see load_model()."""
    return load_model(version, database_url)[0]


def load_model(version: int, database_url: str) -> tuple[Pipeline, ModelSignature | None]:
    """Load a version's pipeline, and its signature if it has one.

    Its files are opened only if their hashes are recorded in the database `churn`. MLflow's own loader is not used: it
    unpickles, and imports modules that MLmodel names.

    Raises:
        NotTrusted: a file's sha256 is not recorded.
        ModelNotLoadable: model.skops is missing or not allowed, or the MLflow server does not serve the files.
    """
    try:
        with fetched(version) as directory:
            provenance.require_recorded(version, directory, database_url)
            return read_pipeline(directory / provenance.MODEL), _signature(directory / provenance.DESCRIPTION)
    except ModelNotLoadable as error:
        raise type(error)(f"models:/{MODEL_NAME}/{version}: {str(error)[:LONGEST_REASON]}") from error


@contextmanager
def fetched(version: int) -> Iterator[Path]:
    """Download a version's two files into a temporary directory. Missing files raise ModelNotLoadable; an unavailable
    MLflow raises its own error, for a retry.

    Raises:
        ModelNotLoadable: the files are missing, too large, or outside the MLflow server's store.
    """
    with tempfile.TemporaryDirectory() as directory:
        try:
            files = artifacts.of_version(MODEL_NAME, version)
            found = [artifacts.fetch(files, name, Path(directory)) for name in provenance.FILES]
        except ArtifactRefused as error:
            raise ModelNotLoadable(str(error)) from error
        except MlflowException as error:
            if is_missing(error):
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
    except Exception as error:  # a file written by hand can fail in any way
        raise ModelNotLoadable(f"its MLmodel cannot be read: {type(error).__name__}: {error}") from error
    return signature if isinstance(signature, ModelSignature) else None
