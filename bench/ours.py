"""The steps of the pipeline, called like its tasks."""

import asyncio
import shutil
from datetime import date
from pathlib import Path

from mlflow import MlflowClient

from bench.measure import Watch
from churn.drops.landing import find_drop
from churn.drops.loading import load
from churn.drops.snapshots import build_snapshots
from churn.drops.validation import validate
from churn.drops.watch import find_loaded
from churn.features.materialization import materialize
from churn.features.store import FEATURE_SERVICES, apply_definitions, open_store
from churn.gate.grading import grade
from churn.outcomes.judgement_step import judge_outcomes
from churn.postgres.migrate import migrate
from churn.registry.client import find_versions
from churn.registry.model_version import MODEL_NAME, PRODUCTION
from churn.scores.scoring_step import score_customers
from churn.settings import training_rows
from churn.training.recipe import Parameters
from churn.training.train import train
from churn.training.training_set import TrainingSet, build_training_set


def prepare(_: Watch, url: str, *_where: object) -> None:
    """Create the schema of an empty database, and register the features."""
    migrate(url)
    apply_definitions(url)


def load_and_validate(watch: Watch, url: str, landing: Path, as_of: date) -> None:
    archive = landing.parent / "archive"
    drop = find_drop(landing, as_of)
    assert drop is not None
    # An empty archive, since files of an earlier repetition would not be written again.
    if not find_loaded(url):
        shutil.rmtree(archive, ignore_errors=True)
    with watch:
        load(validate(drop, url, archive), url, archive)


def snapshot(watch: Watch, url: str, _: Path, as_of: date) -> None:
    with watch:
        build_snapshots(as_of, url)


def materialize_online(watch: Watch, url: str, _: Path, as_of: date) -> None:
    with watch:
        materialize(as_of, url)


def training_set(watch: Watch, url: str, _: Path, as_of: date) -> str:
    """Return the digest of the training set."""
    with watch:
        found = read_training_set(url, as_of)
    return found.digest


def train_version(watch: Watch, url: str, _: Path, as_of: date) -> None:
    if find_versions(MlflowClient(), {}):
        # Of an earlier repetition, whose database is gone: training would return it as UNCHANGED.
        MlflowClient().delete_registered_model(MODEL_NAME)
    with watch:
        train(as_of, url, Parameters(training_rows=training_rows()))


def decide(watch: Watch, url: str, _: Path, __: date) -> None:
    """Grade the version that was trained, which is in Production from then on."""
    (version,) = (each.version for each in find_versions(MlflowClient(), {}))
    with watch:
        grade(version, url)
    MlflowClient().transition_model_version_stage(MODEL_NAME, str(version), PRODUCTION)


def score(watch: Watch, url: str, landing: Path, as_of: date) -> None:
    with watch:
        score_customers(as_of, url, str(landing.parent / "scores"), 0.10)


def judge(watch: Watch, url: str, _: Path, as_of: date) -> None:
    with watch:
        judge_outcomes(as_of, url)


def read_training_set(url: str, as_of: date) -> TrainingSet:
    store = open_store(url)
    try:
        return build_training_set(store, FEATURE_SERVICES, as_of, url, most_rows=training_rows())
    finally:
        asyncio.run(store.close())
