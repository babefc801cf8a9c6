"""Feast's Postgres offline store, with a join of its own for snapshots, straight into Arrow.

Feast's query looks for the latest row of each customer up to an instant: it sorts and joins every feature view with
itself. A snapshot has one row for each customer at midnight UTC, so that there the latest row within less than a day is
the one of that midnight, and the join is one on equality. Sources say that they are snapshots by the tag SNAPSHOT; for
others, and for entities that are a data frame, Feast's query is run.
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
"""The tag of a source that has one row per customer and midnight UTC, and no others."""

SESSION = (
    "SET search_path = snapshots, public",
    "SET timezone = 'UTC'",
    "SET work_mem = '128MB'",
    # Compiling the plan takes longer than running it.
    "SET jit = off",
    # Of a fresh snapshot, or of Feast's subqueries, Postgres may not know how many rows it has: taking a thousand for
    # one it would loop over them (2,500 customers: minutes instead of 0.2 seconds).
    "SET enable_nestloop = off",
    # Entities and features are of one moment, whatever is rebuilt meanwhile.
    "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
)


class SnapshotOfflineStoreConfig(PostgreSQLOfflineStoreConfig):
    """Where the snapshots are; the settings are those of Feast's own store."""

    type: str = "churn.features.offline_store.SnapshotOfflineStore"  # type: ignore[assignment]


class SnapshotOfflineStore(PostgreSQLOfflineStore):
    """Feast's Postgres store but for historical features; see the module."""

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
            entity_df: as a query it has the columns event_timestamp and the views' join key.
        """
        on_demand = OnDemandFeatureView.get_requested_odfvs(feature_refs, project, registry)
        if isinstance(entity_df, str) and not on_demand and all(map(_is_snapshot, feature_views)):
            views = get_feature_view_query_context(feature_refs, feature_views, registry, project, (_EVER, _EVER))
            return _SnapshotJob(config, views, entity_df, full_feature_names)
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


def _is_snapshot(view: FeatureView) -> bool:
    source = view.batch_source
    return (
        isinstance(source, PostgreSQLSource)
        and SNAPSHOT.items() <= source.tags.items()
        and view.ttl is not None
        and timedelta(0) < view.ttl < timedelta(days=1)
        and len(view.join_keys) == 1
        # Other names than the source's are left to Feast.
        and not source.field_mapping
        and not view.projection.join_key_map
    )


_EVER = datetime.max.replace(tzinfo=UTC)
"""Feast bounds its query by the entities' instants, which it would ask for first. Ours finds them on the way."""


class _SnapshotJob(RetrievalJob):
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
        with _session(self._config) as cursor:
            # A table of its own tells the planner how many entities there are.
            cursor.execute(_compose("offline/entities", entity_query=sql.SQL(self._entity_query)))
            cursor.execute(statement("offline/analyze"))
            cursor.execute(statement("offline/days"))
            first, last = cursor.fetchone()
            cursor.execute(self._join(first, last))
            return cursor.fetch_arrow_table()

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
    """Columns instead of a Python object for each value: ADBC."""
    at = config.offline_store
    conninfo = make_conninfo(host=at.host, port=at.port, dbname=at.database, user=at.user, password=at.password)
    with dbapi.connect(conninfo) as connection, connection.cursor() as cursor:
        for setting in SESSION:
            cursor.execute(setting)
        yield cursor


def _compose(name: str, **parts: sql.Composable) -> str:
    return sql.SQL(statement(name)).format(**parts).as_string(None)
