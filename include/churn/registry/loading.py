"""Loading the model of a version: its files are opened only where their hashes are recorded."""

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
"""Characters of why a model is not loaded. It quotes the model's file, and becomes a tag, a log and an answer."""


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
    except Exception as error:  # whatever is wrong with a file that a person may have written
        raise ModelNotLoadable(f"its MLmodel cannot be read: {type(error).__name__}: {error}") from error
    return signature if isinstance(signature, ModelSignature) else None
