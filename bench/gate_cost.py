"""The cost of the task `gate` at the size of a large drop, from the registry to the recorded decision."""

from datetime import date
from pathlib import Path

import mlflow
from mlflow import MlflowClient

from bench import ours
from bench.figures import Row
from bench.measure import Watch
from churn.gate.grading import grade
from churn.gate.promotion import promote
from churn.registry.client import get_version
from churn.registry.model_version import MODEL_NAME
from churn.training.train import train

MONTHS = 2


def prepare(_: Watch, url: str, tracking_uri: str, landing: Path, dates: list[date]) -> int:
    """Create a Production, an anchor and a candidate, serve the candidate's features, and return the candidate.

    The anchor is the version of the first month, and Production is the same model registered again, so that the gate
    scores two versions of the chosen family.
    """
    _talk_to(tracking_uri)
    ours.prepare(Watch(), url)
    for as_of in dates:
        ours.load_and_validate(Watch(), url, landing, as_of)
        ours.snapshot(Watch(), url, landing, as_of)
        ours.materialize_online(Watch(), url, landing, as_of)
    earlier, now = dates
    anchor = int(train(earlier, url).figures["version"])
    registered = MlflowClient().get_model_version(MODEL_NAME, str(anchor))
    assert registered.source is not None
    promote(anchor, None, "the first", url, superior=True)
    again = mlflow.register_model(registered.source, MODEL_NAME, tags=registered.tags)
    promote(int(again.version), anchor, "the same again", url)
    return int(train(now, url).figures["version"])


def grade_candidate(watch: Watch, url: str, tracking_uri: str, candidate: int) -> Row:
    """Decide on the candidate, and return the decision and the number of rows."""
    _talk_to(tracking_uri)
    with watch:
        decided = grade(candidate, url)
    run = MlflowClient().get_run(get_version(MlflowClient(), candidate).run_id)
    return {**decided.figures, "recipe": run.data.params["recipe"], "cohort_rows": int(run.data.metrics["cohort_rows"])}


def _talk_to(tracking_uri: str) -> None:
    mlflow.set_tracking_uri(tracking_uri)
    mlflow.set_registry_uri(tracking_uri)
