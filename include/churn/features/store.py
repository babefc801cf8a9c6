"""The feature store: open it, apply its definitions, and read online features."""

import importlib
import importlib.util
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from string import Template
from typing import Any

import pyarrow as pa
import yaml
from feast import FeatureService, FeatureStore, FeatureView
from feast.protos.feast.serving.ServingService_pb2 import FieldStatus
from feast.repo_config import RepoConfig

from churn.as_of import as_of_of
from churn.code import step_digest
from churn.features.offline_store import SnapshotJob
from churn.outcome import DONE, UNCHANGED, Outcome
from churn.postgres.database import connect, lock_session
from churn.postgres.database_url import feast_environment
from churn.settings import SPARK, offline, redis_url, required_snapshots_url

FEATURE_REPO = Path(__file__).parents[2] / "feature_repo"
FEATURE_SERVICES = ("churn_v1", "churn_v2")
"""The feature services that training compares, simplest first. The last one has the features of all. A model version
names its own in a tag."""
FEATURE_SERVICE = FEATURE_SERVICES[-1]

UNCHANGED_BY_THIS_CODE = Outcome(UNCHANGED, "the definitions were applied by this code")

PARQUET = "churn.spark.offline_store.ParquetOfflineStore"
"""Feast's offline store with CHURN_OFFLINE=spark. Named as Feast names it, because it needs pyspark."""

STORE_LOCK = "feature store"
"""The lock for writing Feast's registry or the online store."""


def open_store(database_url: str) -> FeatureStore:
    """Open the feature store of the database at `database_url`; the online store is Redis if CHURN_REDIS_URL is set.

    Raises:
        psycopg.OperationalError: the database cannot be reached.
    """
    return _open(database_url, None)


def open_offline_store(database_url: str) -> FeatureStore:
    """Open the same store for training sets and scores: they are joined by Spark from the Parquet snapshots if
    CHURN_OFFLINE says so, else by Postgres.

    Raises:
        psycopg.OperationalError: the database cannot be reached.
        SettingError: CHURN_OFFLINE is an unknown word, or SNAPSHOTS_URL is not set with it.
    """
    return _open(database_url, {"type": PARQUET, "location": required_snapshots_url()} if offline() == SPARK else None)


def joins_by_spark(store: FeatureStore) -> bool:
    """Tell whether the store's historical features come from Spark."""
    return store.config.offline_store.type == PARQUET


def of_spark(module: str) -> Any:
    """Return a module of churn.spark.

    Imported by name, so that the code of a step does not include it: results are equal to those of Postgres, and a
    change there, or in what reads drops, trains nothing again.
    """
    return importlib.import_module(f"churn.spark.{module}")


def _open(database_url: str, offline_store: Mapping[str, str] | None) -> FeatureStore:
    """Open the store of the database, with another offline store than the configured one if given."""
    redis, variables = redis_url(), feast_environment(database_url)
    if redis:
        variables["CHURN_REDIS_URL"] = redis
    name = "feature_store.redis.yaml" if redis else "feature_store.yaml"
    config = _fill_in(yaml.safe_load((FEATURE_REPO / name).read_text(encoding="utf-8")), variables)
    if offline_store:
        config["offline_store"] = offline_store
    store = FeatureStore(config=RepoConfig(**config, repo_path=FEATURE_REPO))
    with connect(database_url, autocommit=True) as connection:
        # Feast creates its registry's tables at first use; concurrent creation fails.
        lock_session(connection, "feature registry")
        _ = store.registry
    return store


def _fill_in(value: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _fill_in(each, variables) for key, each in value.items()}
    return Template(value).substitute(variables) if isinstance(value, str) else value


def apply_definitions(database_url: str) -> Outcome:
    """Register the definitions of feature_repo/ and create the online tables, if the code or the online store changed.

    Objects that are no longer defined are kept: a version in Production may still use their feature service.
    """
    definitions = load_definitions()
    services = [each for each in definitions if isinstance(each, FeatureService)]
    # Checked before the lock too: a materialization may hold it for long.
    store = open_store(database_url)
    if _applied(store, services):
        return UNCHANGED_BY_THIS_CODE
    with connect(database_url, autocommit=True) as connection:
        lock_session(connection, STORE_LOCK)
        if _applied(store, services):
            return UNCHANGED_BY_THIS_CODE
        store.apply(definitions)
        # The tags mark completion, so they are applied last: Feast registers objects before it creates their tables.
        for service in services:
            service.tags.update(_applied_by(store))
        store.apply([*services])
    return Outcome(DONE, f"applied {len(definitions)} definitions", {"names": [each.name for each in definitions]})


def _applied(store: FeatureStore, services: Iterable[FeatureService]) -> bool:
    by, registered = _applied_by(store), {service.name: service.tags for service in store.list_feature_services()}
    return all(by.items() <= registered.get(service.name, {}).items() for service in services)


def _applied_by(store: FeatureStore) -> dict[str, str]:
    """Return the tags that mark the definitions as applied, by this code and to this online store."""
    return {"code_digest": step_digest(__package__), "online_store": store.config.online_store.type}


def load_definitions() -> list[Any]:
    """Return the objects of include/feature_repo/definitions.py."""
    spec = importlib.util.spec_from_file_location("feature_repo_definitions", FEATURE_REPO / "definitions.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.OBJECTS


def feature_types(service: FeatureService) -> dict[str, Any]:
    """Return {feature: Feast type}, in the order of the feature service."""
    return {field.name: field.dtype for view in service.feature_view_projections for field in view.features}


def views_of(store: FeatureStore) -> list[FeatureView]:
    """Return every feature view that is served online."""
    return [view for view in store.list_feature_views() if view.online]


def stream_features(store: FeatureStore, service: FeatureService, entity_query: str) -> Iterator[pa.RecordBatch]:
    """Yield the entities of a query and their features by Feast's point-in-time join, in batches that fit into memory.

    Args:
        entity_query: SQL with the columns user_id and event_timestamp; further columns are passed on.
    """
    job = store.get_historical_features(entity_df=entity_query, features=service)
    yield from job.to_batches() if isinstance(job, SnapshotJob) else job.to_arrow().to_batches()


@dataclass(frozen=True)
class OnlineFeatures:
    """A customer's served features.

    Attributes:
        values: {feature: value} in the service's order; None is a legitimate NULL.
        missing: the features whose view lacks the customer.
        as_of: the served AS_OF, None if no view has the customer.
    """

    values: Mapping[str, Any]
    missing: tuple[str, ...]
    as_of: date | None


def read_online(store: FeatureStore, service: FeatureService, user_ids: list[str]) -> list[OnlineFeatures]:
    """Return the online features of each user, in the order of `user_ids`."""
    response = store.get_online_features(features=service, entity_rows=[{"user_id": user} for user in user_ids]).proto
    names = list(response.metadata.feature_names.val)
    vectors = {name: vector for name, vector in zip(names, response.results, strict=True) if name != "user_id"}
    return [
        _one_customer([(name, vectors[name]) for name in feature_types(service)], index)
        for index in range(len(user_ids))
    ]


def _one_customer(vectors: Iterable[tuple[str, Any]], index: int) -> OnlineFeatures:
    values, missing, as_of = {}, [], None
    for name, vector in vectors:
        if vector.statuses[index] != FieldStatus.PRESENT:
            missing.append(name)
            continue
        value = vector.values[index]
        field = value.WhichOneof("val")
        values[name] = getattr(value, field) if field else None
        as_of = as_of_of(datetime.fromtimestamp(vector.event_timestamps[index].seconds, UTC))
    return OnlineFeatures(values, tuple(missing), as_of)
