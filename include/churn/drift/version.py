"""The reference of a version: the profiles of what it was trained on, frozen in drift.version_references.

It is made when the version is first compared, hours after its training, from the snapshots of the dates that it learned
from. So training knows nothing of drift, versions from before this table have a reference too, and nobody who may write
to MLflow can change one. A drop that changed since the training is noticed by the tag `drops`: then there is no
reference, and a superseded version is replaced soon.
"""

import json
from datetime import date

import numpy as np
import pyarrow as pa
from feast import FeatureStore
from mlflow import MlflowClient
from psycopg.types.json import Jsonb

from churn.as_of import event_timestamp
from churn.drift.reading import SCORE, read_features, sampled_below
from churn.drift.reference import Profile, Profiles, profiles_of
from churn.features.store import feature_types
from churn.postgres.database import Connection, execute
from churn.registry.client import find_version
from churn.registry.model_version import ModelNotLoadable, ModelVersion
from churn.registry.version_scorer import VersionRefused, load_scorer
from churn.scores.run import Run
from churn.training.cohort import cohorts
from churn.training.learned_from import learned_of
from churn.training.uses import DROPS


class NoReference(RuntimeError):
    """What the version was trained on is not known any more; the message says why."""


def reference_of(connection: Connection, store: FeatureStore, run: Run, database_url: str) -> Profiles:
    """Return the reference of the version that wrote a list; at its first use, make and freeze it.

    Raises:
        NoReference: there is none and none can be made.
    """
    key = {"model_version": run.model_version, "model_run_id": run.model_run_id}
    if not execute(connection, "drift/version_reference", key).fetchone():
        version = _find(run)
        dates = _learned_dates(connection, version)
        profiles = profiles_of(_columns(connection, store, version, dates, database_url))
        said = Jsonb({name: profile.to_json() for name, profile in profiles.items()})
        execute(connection, "drift/freeze", {**key, "learned_from": [*dates], "profiles": said})
    # Read also by whoever made it: a concurrent run may have been first.
    found = execute(connection, "drift/version_reference", key).fetchone()
    assert found is not None
    return {name: Profile.from_json(said) for name, said in found[0].items()}


def _find(run: Run) -> ModelVersion:
    version = find_version(MlflowClient(), run.model_version)
    if version.run_id != run.model_run_id:
        raise NoReference(f"version {run.model_version} was deleted from MLflow")
    return version


def _learned_dates(connection: Connection, version: ModelVersion) -> dict[date, int]:
    """Return the customers of each date that the version learned from, if their drops are those of the training."""
    days = learned_of(version.tags, None).dates
    if not days:
        raise NoReference(f"the tags of version {version.version} do not say which dates it learned from")
    builds = {as_of: rest for as_of, *rest in execute(connection, "drift/trained_on", {"dates": [*days]})}
    drops = _drops(version)
    for day in sorted(days):
        digest, is_expired, _ = builds.get(day, (None, False, 0))
        if is_expired:
            raise NoReference(f"retention removed the snapshot of {day} that version {version.version} learned from")
        if digest is None or digest != drops.get(day.isoformat()):
            raise NoReference(f"the drop of {day} is not the one that version {version.version} was trained on")
    return {day: builds[day][2] for day in sorted(days)}


def _drops(version: ModelVersion) -> dict[str, str]:
    try:
        return dict(json.loads(version.tags.get(DROPS, "{}")))
    except (TypeError, ValueError):
        raise NoReference(f"the tag {DROPS} of version {version.version} is unreadable") from None


def _columns(
    connection: Connection, store: FeatureStore, version: ModelVersion, dates: dict[date, int], database_url: str
) -> dict[str, pa.ChunkedArray]:
    """Return the features of the labelled customers, and the scores of those in the cohorts."""
    try:
        service, known = store.get_feature_service(version.feature_service), version.as_of
        scorer = load_scorer(version, service, database_url).scorer
    except (ModelNotLoadable, VersionRefused) as error:
        raise NoReference(f"version {version.version} cannot be loaded: {error}") from error
    below = sampled_below(sum(dates.values()))
    table = pa.concat_tables(
        read_features(connection, store, service, "drift/labelled_entities", {
            "event_timestamp": event_timestamp(day), "labelled": day, "known": known, "below": below,
        })
        for day in dates
    )  # fmt: skip
    columns = {name: table[name] for name in feature_types(service)}
    unseen = table.filter(pa.array(np.logical_or(*cohorts(table["user_id"].to_pylist()))))
    scores = [scorer.probabilities_of(batch) for batch in unseen.to_batches()]
    return {**columns, SCORE: pa.chunked_array([pa.array(each) for each in scores], pa.float64())}
