"""Feast's compute engine for snapshots: the online store copies them directly within the shared database.

Time ranges and other sources use Feast's local engine, which passes rows through Python to the online store.
"""

from typing import Any, Literal

from feast import FeatureView
from feast.infra.common.materialization_job import MaterializationJobStatus, MaterializationTask
from feast.infra.compute_engines.local.compute import LocalComputeEngine, LocalComputeEngineConfig
from feast.infra.compute_engines.local.job import LocalMaterializationJob
from feast.infra.offline_stores.contrib.postgres_offline_store.postgres_source import PostgreSQLSource
from feast.infra.registry.base_registry import BaseRegistry
from feast.repo_config import RepoConfig
from psycopg.conninfo import conninfo_to_dict

from churn.features.offline_store import SnapshotOfflineStoreConfig
from churn.features.one_as_of_store import OneAsOfStore, OneAsOfStoreConfig


class SnapshotEngineConfig(LocalComputeEngineConfig):
    """No settings of its own."""

    type: Literal["churn.features.compute_engine.SnapshotEngine"] = "churn.features.compute_engine.SnapshotEngine"  # type: ignore[assignment]


class SnapshotEngine(LocalComputeEngine):
    """Feast's local engine, except for snapshots of a single instant."""

    def _materialize_one(
        self, registry: BaseRegistry, task: MaterializationTask, **arguments: Any
    ) -> LocalMaterializationJob:
        if task.start_time != task.end_time or not _in_one_database(self.repo_config, task.feature_view):
            return super()._materialize_one(registry, task, **arguments)
        online = self.online_store
        assert isinstance(online, OneAsOfStore)
        online.copy_snapshot(self.repo_config, task.feature_view, task.end_time)
        return LocalMaterializationJob(f"{task.feature_view.name}-{task.end_time}", MaterializationJobStatus.SUCCEEDED)


def _in_one_database(config: RepoConfig, view: FeatureView) -> bool:
    offline, online = config.offline_store, config.online_store
    if not (
        isinstance(offline, SnapshotOfflineStoreConfig)
        and isinstance(online, OneAsOfStoreConfig)
        and isinstance(view.batch_source, PostgreSQLSource)
        # A plain copy cannot evaluate a query, rename columns or deduplicate rows.
        and not view.batch_source.get_table_query_string().startswith("(")
        and not view.batch_source.field_mapping
        and not view.batch_source.created_timestamp_column
    ):
        return False
    there = conninfo_to_dict(online.database_url)
    address = (str(there.get("host") or "localhost"), int(there.get("port") or 5432), there.get("dbname"))
    return address == (offline.host, offline.port, offline.database)
