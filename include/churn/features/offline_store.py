"""Feast's Postgres offline store with an equality join for snapshots, read directly into Arrow.

Feast's query finds the latest row of each customer before an instant, by sorting and self-joining every feature view. A
snapshot has one row per customer at midnight UTC. With a TTL under a day, the latest row is the row of that midnight,
so an equality join gives the same result. Sources declare this by the tag SNAPSHOT. Other sources, and entities given
as a data frame, use Feast's query.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pyarrow as pa
from adbc_driver_postgresql import dbapi
from feast import FeatureView, OnDemandFeatureView
from feast.infra.offline_stores.contrib.postgres_offline_store.postgres import (
    PostgreSQLOfflineStore,
    PostgreSQLOfflineStoreConfig,
)
from feast.infra.offline_stores.contrib.postgres_offline_store.postgres_source import PostgreSQLSource
from feast.infra.offline_stores.offline_store import RetrievalJob
from feast.infra.offline_stores.offline_utils import FeatureViewQueryContext, get_feature_view_query_context
from feast.infra.registry.base_registry import BaseRegistry
from feast.repo_config import RepoConfig
from psycopg import sql
from psycopg.conninfo import make_conninfo

from churn.postgres.database import statement

SNAPSHOT = {"snapshot": "daily"}
"""The tag of a source with exactly one row per customer and midnight UTC."""

SESSION = (
    "SET search_path = snapshots, public",
    "SET timezone = 'UTC'",
    "SET work_mem = '128MB'",
    # JIT compilation takes longer than the query.
    "SET jit = off",
    # Postgres underestimates the rows of fresh snapshots and of Feast's subqueries; a nested loop over them takes
    # minutes.
    "SET enable_nestloop = off",
    # Entities and features are read from one state of the database.
    "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
)


class SnapshotOfflineStoreConfig(PostgreSQLOfflineStoreConfig):
    """The settings of Feast's Postgres offline store."""

    type: str = "churn.features.offline_store.SnapshotOfflineStore"  # type: ignore[assignment]


class SnapshotOfflineStore(PostgreSQLOfflineStore):
    """Feast's Postgres store, except for historical features of snapshots."""

    @staticmethod
    def get_historical_features(
        config: RepoConfig,
        feature_views: list[FeatureView],
        feature_refs: list[str],
        entity_df: pd.DataFrame | str | None,
        registry: BaseRegistry,
        project: str,
        full_feature_names: bool = False,
        filter_by_created_timestamp: bool = False,
        **named: Any,
    ) -> RetrievalJob:
        """Return the job that joins the features of the views to the entities.

        Args:
            entity_df: a query with the columns event_timestamp and the views' join key, or a data frame.
        """
        on_demand = OnDemandFeatureView.get_requested_odfvs(feature_refs, project, registry)
        if isinstance(entity_df, str) and not on_demand and all(map(is_snapshot, feature_views)):
            views = get_feature_view_query_context(feature_refs, feature_views, registry, project, (EVER, EVER))
            return SnapshotJob(config, views, entity_df, full_feature_names)
        return PostgreSQLOfflineStore.get_historical_features(
            config,
            feature_views,
            feature_refs,
            entity_df,
            registry,
            project,
            full_feature_names,
            filter_by_created_timestamp,
            **named,
        )


def is_snapshot(view: FeatureView) -> bool:
    """Tell whether an equality join finds the features of a view."""
    source = view.batch_source
    return (
        isinstance(source, PostgreSQLSource)
        and SNAPSHOT.items() <= source.tags.items()
        and view.ttl is not None
        and timedelta(0) < view.ttl < timedelta(days=1)
        and len(view.join_keys) == 1
        # Renamed columns are left to Feast.
        and not source.field_mapping
        and not view.projection.join_key_map
    )


EVER = datetime.max.replace(tzinfo=UTC)
"""Stands in for the entities' time range, which Feast would query first; SnapshotJob reads it itself."""


class SnapshotJob(RetrievalJob):
    """A retrieval whose result can be streamed."""

    def __init__(
        self, config: RepoConfig, views: list[FeatureViewQueryContext], entity_query: str, full_feature_names: bool
    ) -> None:
        self._config = config
        self._views = views
        self._entity_query = entity_query
        self._full_feature_names = full_feature_names

    @property
    def full_feature_names(self) -> bool:
        return self._full_feature_names

    @property
    def on_demand_feature_views(self) -> list[OnDemandFeatureView]:
        return []

    def _to_df_internal(self, timeout: int | None = None) -> pd.DataFrame:
        return self._to_arrow_internal(timeout).to_pandas()

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:
        with self._joined() as cursor:
            return cursor.fetch_arrow_table()

    def to_batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the result in batches of some megabytes, all of one state of the database."""
        with self._joined() as cursor, cursor.fetch_record_batch() as reader:
            yield from reader

    @contextmanager
    def _joined(self) -> Iterator[dbapi.Cursor]:
        with _session(self._config) as cursor:
            # ANALYZE on a temporary table tells the planner the number of entities.
            cursor.execute(_compose("offline/entities", entity_query=sql.SQL(self._entity_query)))
            cursor.execute(statement("offline/analyze"))
            cursor.execute(statement("offline/days"))
            first, last = cursor.fetchone()
            cursor.execute(self._join(first, last))
            yield cursor

    def _join(self, first: datetime, last: datetime) -> str:
        features, joins = [], []
        for view in self._views:
            alias = sql.Identifier(view.name)
            for name in view.features:
                shown = f"{view.name}__{name}" if self._full_feature_names else name
                features.append(sql.SQL("{}.{} AS {}").format(alias, sql.Identifier(name), sql.Identifier(shown)))
            joins.append(
                sql.SQL(statement("offline/join_view")).format(
                    source=sql.SQL(view.table_subquery),
                    view=alias,
                    join_key=sql.Identifier(*view.entities),
                    timestamp=sql.Identifier(view.timestamp_field),
                    ttl=sql.Literal(timedelta(seconds=view.ttl)),
                    first=sql.Literal(first),
                    last=sql.Literal(last),
                )
            )
        return _compose("offline/join", features=sql.SQL(", ").join(features), views=sql.SQL("\n").join(joins))


@contextmanager
def _session(config: RepoConfig) -> Iterator[dbapi.Cursor]:
    """Open an ADBC cursor, which returns Arrow columns without a Python object per value."""
    at = config.offline_store
    conninfo = make_conninfo(host=at.host, port=at.port, dbname=at.database, user=at.user, password=at.password)
    with dbapi.connect(conninfo) as connection, connection.cursor() as cursor:
        for setting in SESSION:
            cursor.execute(setting)
        yield cursor


def _compose(name: str, **parts: sql.Composable) -> str:
    return sql.SQL(statement(name)).format(**parts).as_string(None)
