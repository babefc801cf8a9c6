"""The steps of the pipeline, called like its tasks."""

import asyncio
import shutil
from datetime import date
from pathlib import Path

from bench.measure import Watch
from churn.drops.landing import find_drop
from churn.drops.loading import load
from churn.drops.snapshots import build_snapshots
from churn.drops.validation import validate
from churn.drops.watch import find_loaded
from churn.features.materialization import materialize
from churn.features.store import FEATURE_SERVICES, apply_definitions, open_store
from churn.postgres.migrate import migrate
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


def read_training_set(url: str, as_of: date) -> TrainingSet:
    store = open_store(url)
    try:
        return build_training_set(store, FEATURE_SERVICES, as_of, url)
    finally:
        asyncio.run(store.close())
