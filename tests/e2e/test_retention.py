"""Retention through the MLflow server, which alone can reach the artifacts, as in a cluster."""

import time
from pathlib import Path

import mlflow
import psycopg
from sklearn.dummy import DummyClassifier
from sklearn.pipeline import make_pipeline

from churn.registry.evidence import EVIDENCE
from churn.registry.model_version import MODEL_NAME
from churn.retention.versions import expire_versions
from tests.conftest import mlflow_at


def test_a_version_and_its_large_files_are_removed_through_the_server(stack):
    artifacts = Path(stack.settings["CHURN_HOME"]) / "mlflow" / "artifacts"
    before = {path for path in artifacts.rglob("*") if path.is_file()}
    with mlflow_at(stack.settings["MLFLOW_TRACKING_URI"]):
        mlflow.set_experiment("streamflow")
        pipeline = make_pipeline(DummyClassifier(strategy="prior")).fit([[0]] * 4, [0, 0, 0, 1])
        with mlflow.start_run():
            mlflow.log_text("x" * 1000, f"{EVIDENCE}/trained_on.parquet")
            mlflow.log_dict({}, "lineage.json")
            model = mlflow.sklearn.log_model(pipeline, name="model", pip_requirements=["scikit-learn"])
        version = mlflow.register_model(model.model_uri, MODEL_NAME).version
        with psycopg.connect(stack.settings["CHURN_DATABASE_URL"].replace("/churn?", "/mlflow?")) as connection:
            old = int((time.time() - 40 * 86400) * 1000)
            connection.execute("UPDATE model_versions SET creation_time = %s WHERE version = %s", [old, version])
        url = stack.settings["CHURN_DATABASE_URL"]
        tried = expire_versions(30, url, dry_run=True)
        done = expire_versions(30, url)
    assert done.figures["versions"] == tried.figures["versions"] == [int(version)]
    assert done.figures["bytes"] == tried.figures["bytes"] > 1000
    left = {path for path in artifacts.rglob("*") if path.is_file()} - before
    assert [path.name for path in left] == ["lineage.json"]
