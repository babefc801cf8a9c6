"""The naive pipeline from the snapshots on: Feast's stock Postgres stores and local engine, with our feature views."""

import asyncio
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from feast import FeatureStore
from feast.repo_config import RepoConfig
from sqlalchemy import create_engine, text

from bench.measure import Watch
from bench.naive import prepare_tables
from churn.as_of import event_timestamp
from churn.features.column_types import TYPES
from churn.features.store import FEATURE_SERVICE, feature_types
from churn.postgres.database import connect
from churn.postgres.database_url import feast_environment
from churn.training.digest import digest_of
from churn.training.training_set import LABEL
from embedded.postgres_url import with_driver
from feature_repo.definitions import OBJECTS


def prepare(_: Watch, url: str, *_where: object) -> None:
    """Create the schema of an empty database, and register the features."""
    prepare_tables(url)
    definitions: Any = OBJECTS
    open_stock_store(url).apply(definitions)


def open_stock_store(url: str) -> FeatureStore:
    """Open the feature store with Feast's own stores, configured as in its documentation."""
    variables = feast_environment(url)
    server = {
        "type": "postgres",
        "host": variables["CHURN_PGHOST"],
        "port": int(variables["CHURN_PGPORT"]),
        "database": variables["CHURN_PGDATABASE"],
        "user": variables["CHURN_PGUSER"],
        "password": variables["CHURN_PGPASSWORD"],
        "sslmode": variables["CHURN_PGSSLMODE"],
    }
    return FeatureStore(
        config=RepoConfig(
            project="streamflow",
            provider="local",
            entity_key_serialization_version=3,
            registry={
                "registry_type": "sql",
                "path": variables["CHURN_SQLALCHEMY_URL"],
                "cache_ttl_seconds": 60,
                "sqlalchemy_config_kwargs": {"connect_args": {"options": "-c search_path=feast"}},
            },
            offline_store=server,
            online_store={**server, "db_schema": "online"},
        )
    )


def materialize(watch: Watch, url: str, _: Path, as_of: date) -> None:
    instant = event_timestamp(as_of)
    with watch:
        open_stock_store(url).materialize(instant, instant)


def training_set(watch: Watch, url: str, _: Path, as_of: date) -> str:
    """Return the digest of the training set, computed like ours."""
    with connect(url, autocommit=True) as connection:
        # As autovacuum would have done before a training.
        connection.execute("ANALYZE")
    with watch:
        store = open_stock_store(url)
        query = text("SELECT user_id, churn_label FROM snapshots.labels_snapshots WHERE as_of = :as_of")
        with create_engine(with_driver(url, "psycopg2")).connect() as connection:
            entities = pd.read_sql(query, connection, params={"as_of": as_of})
        entities["event_timestamp"] = event_timestamp(as_of)
        service = store.get_feature_service(FEATURE_SERVICE)
        found = store.get_historical_features(entity_df=entities, features=service).to_df()
    types = feature_types(service)
    columns = {
        "user_id": pa.array(found["user_id"], pa.string()),
        "as_of": pa.array([as_of] * len(found), pa.date32()),
        LABEL: pa.array(found[LABEL], pa.bool_()),
        **{name: pa.array(found[name], TYPES[types[name]][1], from_pandas=True) for name in types},
    }
    asyncio.run(store.close())
    return digest_of(pa.table(columns).sort_by("user_id"))
