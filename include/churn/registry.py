"""The model registry: what a version says of itself, which one stage Production holds, and loading one safely."""

import itertools
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import skops.io
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import Pipeline

# MLflow says at every call that stages are deprecated. The design is built on them, and the lock decides when they go.
warnings.filterwarnings("ignore", message=".*stages will be removed", category=FutureWarning)

MODEL_NAME = "streamflow_churn"
EXPERIMENT = "streamflow"
PRODUCTION = "Production"
STAGING = "Staging"
CHAMPION = "champion"

PAGE = 1000
"""How many versions MLflow is asked for at once."""

TRUSTED_TYPES = (
    "numpy.dtype",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.tree._tree.Tree",
)
"""What a model file may hold beside what skops trusts itself, reviewed: a dtype names a type; a Tree is arrays of
numbers, which scikit-learn checks when it restores them; a TreePredictor is one that it does not check, so that
load_pipeline() does; the two of a calibration hold estimators and two numbers, and run nothing when they are made."""


class ModelNotLoadable(RuntimeError):
    """A version whose model is not a scikit-learn pipeline that may be loaded."""


@dataclass(frozen=True)
class ModelVersion:
    """A registered version of the model, and what its tags say."""

    version: int
    run_id: str
    stage: str
    tags: Mapping[str, str]

    @property
    def as_of(self) -> date:
        """The AS_OF that it was trained at."""
        return date.fromisoformat(self._tag("as_of"))

    @property
    def threshold(self) -> float:
        """The probability from which on it says churn."""
        return float(self._tag("threshold"))

    @property
    def feature_service(self) -> str:
        """The feature service whose features it takes."""
        return self._tag("feature_service")

    def _tag(self, name: str) -> str:
        if name in self.tags:
            return self.tags[name]
        raise ModelNotLoadable(
            f"version {self.version} of {MODEL_NAME} has no tag {name}: the pipeline sets it; a version that was "
            "registered by hand needs the tags as_of, threshold and feature_service"
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


def load_pipeline(version: int) -> Pipeline:
    """Load a version's pipeline; see load_model()."""
    return load_model(version)[0]


def load_model(version: int) -> tuple[Pipeline, ModelSignature | None]:
    """Load a version's pipeline, and its signature if it has one. Nothing of the file is executed: skops builds
    reviewed types only.

    Raises:
        ModelNotLoadable: it is not saved by skops, holds a type that is not in TRUSTED_TYPES, or is no pipeline.
    """
    with tempfile.TemporaryDirectory() as directory:
        uri = f"models:/{MODEL_NAME}/{version}"
        files = _download(uri, directory)
        # Asked for by itself, MLflow would fetch it a second time and leave it behind.
        signature = Model.load(str(files)).signature
        file = files / "model.skops"
        if not file.is_file():
            raise ModelNotLoadable(f"{uri} has no model.skops: register scikit-learn models in the skops format")
        try:
            pipeline = skops.io.load(file, trusted=list(TRUSTED_TYPES))
        except Exception as error:  # whatever keeps the file's content from becoming a model
            raise ModelNotLoadable(f"{uri} cannot be restored: {type(error).__name__}: {error}") from error
    if not isinstance(pipeline, Pipeline):
        raise ModelNotLoadable(f"{uri} is a {type(pipeline).__name__}, not a scikit-learn Pipeline")
    if not _walkable(pipeline[-1]):
        raise ModelNotLoadable(f"{uri} has a tree that leads outside of itself: it was not made by scikit-learn")
    return pipeline, signature


def _walkable(classifier: Any) -> bool:
    """Tell whether boosted trees lead from each node to later ones and ask for features that there are. scikit-learn
    follows them without looking, into foreign memory if that is where they point."""
    if isinstance(classifier, CalibratedClassifierCV):
        return all(_walkable(each.estimator) for each in classifier.calibrated_classifiers_)
    if not isinstance(classifier, HistGradientBoostingClassifier):
        return True
    for tree in itertools.chain.from_iterable(classifier._predictors):
        inner = np.flatnonzero(tree.nodes["is_leaf"] == 0)
        nodes = tree.nodes[inner]
        children = np.concatenate([nodes["left"], nodes["right"]])
        forward = (children > np.tile(inner, 2)) & (children < len(tree.nodes))
        # Categories are compared by bit sets of their own, which this project's trees have none of.
        asked = (nodes["feature_idx"] < classifier.n_features_in_) & (nodes["is_categorical"] == 0)
        if not len(tree.nodes) or not forward.all() or not asked.all():
            return False
    return True


def _download(uri: str, directory: str) -> Path:
    """Fetch the model's files. That they are not there is a finding; that MLflow is not there is for a retry."""
    try:
        return Path(mlflow.artifacts.download_artifacts(uri, dst_path=directory))
    except MlflowException as error:
        if error.error_code == ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
            raise ModelNotLoadable(f"{uri} has no files: {error}") from error
        raise
