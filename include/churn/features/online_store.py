"""Feast's online store in Postgres: typed columns, and one served AS_OF for all feature views.

Feast's own Postgres store keeps the last write, so a backfill would serve January over February. Here a materialization
writes a *build*, one table per view, beside the served one. churn.features.materialization attaches the tables and
moves one pointer for all views. A read of several views is one statement, so it sees one build.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

import pyarrow as pa
from feast import Entity, FeatureView
from feast.repo_config import RepoConfig
from psycopg import sql

from churn.as_of import as_of_of
from churn.features.build import build_being_written
from churn.features.builds import build_table_of, table_of
from churn.features.column_types import columns_of, join_key_of, key_value, type_of
from churn.features.one_as_of_store import OneAsOfStore, OneAsOfStoreConfig, WriteRow, source_of
from churn.features.reader import OnlineReader
from churn.postgres.copy import copy_rows
from churn.postgres.database import connect, execute


class SnapshotOnlineStoreConfig(OneAsOfStoreConfig):
    """Builds and features are in the same database."""

    type: Literal["churn.features.online_store.SnapshotOnlineStore"] = "churn.features.online_store.SnapshotOnlineStore"


class SnapshotOnlineStore(OneAsOfStore):
    """One table per feature view, with one partition per build."""

    def update(
        self,
        config: RepoConfig,
        tables_to_delete: Sequence[FeatureView],
        tables_to_keep: Sequence[FeatureView],
        entities_to_delete: Sequence[Entity],
        entities_to_keep: Sequence[Entity],
        partial: bool,
    ) -> None:
        """Create missing tables and columns. Nothing is dropped."""
        with connect(config.online_store.database_url) as connection:
            for view in tables_to_keep:
                join_key = sql.Identifier(join_key_of(view))
                execute(connection, "online/create_table", table=table_of(view.name), join_key=join_key)
                for feature, column_type in columns_of(view).items():
                    execute(
                        connection,
                        "online/add_column",
                        table=table_of(view.name),
                        column=sql.Identifier(feature),
                        type=sql.SQL(column_type),
                    )

    def teardown(self, config: RepoConfig, tables: Sequence[FeatureView], entities: Sequence[Entity]) -> None:
        with connect(config.online_store.database_url) as connection:
            for view in tables:
                execute(connection, "online/drop_table", table=table_of(view.name))

    def open_reader(self, config: RepoConfig) -> OnlineReader:
        store = config.online_store
        return OnlineReader(store.database_url, store.max_connections, store.connection_timeout_seconds)

    def copy_snapshot(self, config: RepoConfig, view: FeatureView, event_timestamp: datetime) -> None:
        """Copy within the server, by INSERT … SELECT."""
        with connect(config.online_store.database_url) as connection:
            build, _ = build_being_written(connection, as_of_of(event_timestamp))
            execute(
                connection,
                "online/copy_snapshot",
                {"build": build, "event_timestamp": event_timestamp},
                table=build_table_of(view.name, build),
                features=sql.SQL(", ").join(map(sql.Identifier, columns_of(view))),
                **source_of(view),
            )

    def write(self, config: RepoConfig, view: FeatureView, rows: list[WriteRow], event_timestamp: datetime) -> None:
        with connect(config.online_store.database_url) as connection:
            build, _ = build_being_written(connection, as_of_of(event_timestamp))
            copy_rows(connection, build_table_of(view.name, build), [_to_arrow(view, rows, build, event_timestamp)])


def _to_arrow(view: FeatureView, data: list[WriteRow], build: int, event_timestamp: datetime) -> pa.Table:
    columns = {
        join_key_of(view): pa.array([key_value(row[0]) for row in data], pa.string()),
        "build": pa.repeat(build, len(data)),
        "event_timestamp": pa.repeat(pa.scalar(event_timestamp, pa.timestamp("us", "UTC")), len(data)),
    }
    for field in view.features:
        _, arrow_type, value_field = type_of(view, field)
        values = [row[1].get(field.name) for row in data]
        columns[field.name] = pa.array(
            [getattr(v, value_field) if v is not None and v.WhichOneof("val") else None for v in values],
            arrow_type,
        )
    return pa.table(columns)
