"""Feast's compute engine for snapshots: in the database of the online store, Postgres copies them by itself.

Anything else, and a range of instants, is left to Feast's local engine, which brings the rows here and hands them to
the online store.
"""

from typing import Any, Literal

from feast import FeatureView
from feast.infra.common.materialization_job import MaterializationJobStatus, MaterializationTask
from feast.infra.compute_engines.local.compute import LocalComputeEngine, LocalComputeEngineConfig
from feast.infra.compute_engines.local.job import LocalMaterializationJob
from feast.infra.offline_stores.contrib.postgres_offline_store.postgres_source import PostgreSQLSource
from feast.infra.registry.base_registry import BaseRegistry
from feast.repo_config import RepoConfig
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from churn.as_of import as_of_of
from churn.database import connect, execute
from churn.offline_store import SnapshotOfflineStoreConfig
from churn.online_store import SnapshotOnlineStoreConfig
from churn.online_tables import build_being_written, build_table_of, join_key_of


class SnapshotEngineConfig(LocalComputeEngineConfig):
    """No settings of its own."""

    type: Literal["churn.compute_engine.SnapshotEngine"] = "churn.compute_engine.SnapshotEngine"  # type: ignore[assignment]


class SnapshotEngine(LocalComputeEngine):
    """See the module."""

    def _materialize_one(
        self, registry: BaseRegistry, task: MaterializationTask, **arguments: Any
    ) -> LocalMaterializationJob:
        if task.start_time != task.end_time or not _in_one_database(self.repo_config, task.feature_view):
            return super()._materialize_one(registry, task, **arguments)
        _copy(self.repo_config, task.feature_view, task)
        return LocalMaterializationJob(f"{task.feature_view.name}-{task.end_time}", MaterializationJobStatus.SUCCEEDED)


def _in_one_database(config: RepoConfig, view: FeatureView) -> bool:
    offline, online = config.offline_store, config.online_store
    if not (
        isinstance(offline, SnapshotOfflineStoreConfig)
        and isinstance(online, SnapshotOnlineStoreConfig)
        and isinstance(view.batch_source, PostgreSQLSource)
        # A query, other names or repeated rows are more than a copy.
        and not view.batch_source.get_table_query_string().startswith("(")
        and not view.batch_source.field_mapping
        and not view.batch_source.created_timestamp_column
    ):
        return False
    there = conninfo_to_dict(online.database_url)
    address = (str(there.get("host") or "localhost"), int(there.get("port") or 5432), there.get("dbname"))
    return address == (offline.host, offline.port, offline.database)


def _copy(config: RepoConfig, view: FeatureView, task: MaterializationTask) -> None:
    source = view.batch_source
    assert source is not None
    features = [sql.Identifier(field.name) for field in view.features]
    with connect(config.online_store.database_url) as connection:
        build = build_being_written(connection, as_of_of(task.end_time))
        execute(
            connection,
            "online/copy_snapshot",
            {"build": build, "event_timestamp": task.end_time},
            table=build_table_of(view, build),
            join_key=sql.Identifier(join_key_of(view)),
            timestamp=sql.Identifier(source.timestamp_field),
            features=sql.SQL(", ").join(features),
            source=sql.Identifier(*source.get_table_query_string().split(".")),
        )
