"""Feast's Spark offline store on the Parquet snapshots, with an equality join as in features/offline_store.py.

Feast's own query sorts and self-joins every feature view; on two real drops it takes thirty times as long.

Feast's registry names the tables in Postgres as sources of the feature views, whatever CHURN_OFFLINE says: the online
store and drift read these, serving needs no Spark, and switching applies nothing. Here the temporary view of the same
name is read in place of each, see views.py.
"""

from typing import Any

from feast import FeatureView
from feast.infra.offline_stores.contrib.spark_offline_store.spark import (
    SparkOfflineStore,
    SparkOfflineStoreConfig,
    SparkRetrievalJob,
)
from feast.infra.offline_stores.offline_utils import get_feature_view_query_context
from feast.infra.registry.base_registry import BaseRegistry
from feast.repo_config import RepoConfig
from psycopg import sql
from pyspark.sql import DataFrame

from churn.features.column_types import UnsupportedView
from churn.features.offline_store import EVER, is_snapshot
from churn.postgres.database import compose


class ParquetOfflineStoreConfig(SparkOfflineStoreConfig):
    """The settings of Feast's Spark offline store, and where the Parquet snapshots are.

    Attributes:
        location: SNAPSHOTS_URL.
    """

    type: str = "churn.spark.offline_store.ParquetOfflineStore"
    location: str


class ParquetOfflineStore(SparkOfflineStore):
    """Feast's Spark store for feature views whose sources are snapshots."""

    @staticmethod
    def get_historical_features(
        config: RepoConfig,
        feature_views: list[FeatureView],
        feature_refs: list[str],
        entity_df: DataFrame | Any,
        registry: BaseRegistry,
        project: str,
        full_feature_names: bool = False,
        filter_by_created_timestamp: bool = False,  # noqa: ARG004 — Feast passes it
        **named: Any,  # noqa: ARG004
    ) -> SparkRetrievalJob:
        """Return the job that joins the features of the views to the entities, within the session of these.

        Args:
            entity_df: a data frame of Spark with event_timestamp and the views' join key; further columns are passed
                on.

        Raises:
            UnsupportedView: the source of a view is no snapshot.
        """
        if odd := [view.name for view in feature_views if not is_snapshot(view)]:
            raise UnsupportedView(f"{', '.join(odd)}: Spark joins views whose sources are snapshots")
        sources = {view.projection.name_to_use(): view.batch_source for view in feature_views}
        entity_df.createOrReplaceTempView("entities")
        features, joins = [], []
        for view in get_feature_view_query_context(feature_refs, feature_views, registry, project, (EVER, EVER)):
            source = sources[view.name]
            assert source is not None
            features += [f"{view.name}.{name}" for name in view.features]
            joins.append(
                compose(
                    "spark/join_view",
                    source=sql.SQL(source.name),
                    view=sql.SQL(view.name),
                    join_key=sql.SQL(view.entities[0]),
                    timestamp=sql.SQL(view.timestamp_field),
                    ttl=sql.Literal(view.ttl),
                )
            )
        query = compose("spark/join", features=sql.SQL(", ".join(features)), views=sql.SQL("\n").join(joins))
        return SparkRetrievalJob(entity_df.sparkSession, query.as_string(None), full_feature_names, config)
