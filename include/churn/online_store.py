"""Feast's online store, in Postgres: typed rows, and one AS_OF that is served, for all feature views at once.

Feast's own Postgres store keeps whatever was written last, so a backfill serves January over February. Here a
materialization writes a *build*, a table for each view, beside the served one; churn.materialization attaches them and
then moves one pointer, for all views at once. A read of several feature views is one statement, hence of one build.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from threading import Lock
from typing import Any, Literal

import pyarrow as pa
from feast import Entity, FeatureView, utils
from feast.infra.online_stores.online_store import OnlineStore
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.repo_config import FeastConfigBaseModel, RepoConfig
from psycopg import sql

from churn.as_of import as_of_of
from churn.copy import copy_rows
from churn.database import connect, execute
from churn.online_reader import OnlineReader, ReadRow
from churn.online_tables import build_being_written, build_table_of, join_key_of, key_value, table_of, type_of

WriteRow = tuple[EntityKey, dict[str, Value], datetime, datetime | None]


class SnapshotOnlineStoreConfig(FeastConfigBaseModel):
    """Where the online store is: a libpq URI; how many connections a process may hold to it; how long a read waits for
    one, and then for the answer."""

    type: Literal["churn.online_store.SnapshotOnlineStore"] = "churn.online_store.SnapshotOnlineStore"
    database_url: str
    max_connections: int = 8
    connection_timeout_seconds: float = 0.7


class SnapshotOnlineStore(OnlineStore):
    """One table per feature view, a partition for each build; see the module."""

    def __init__(self) -> None:
        self._open: OnlineReader | None = None
        self._opening = Lock()

    def update(
        self,
        config: RepoConfig,
        tables_to_delete: Sequence[FeatureView],
        tables_to_keep: Sequence[FeatureView],
        entities_to_delete: Sequence[Entity],
        entities_to_keep: Sequence[Entity],
        partial: bool,
    ) -> None:
        """Make the views' tables, and the columns that a view gained. Nothing that is served is dropped."""
        with connect(config.online_store.database_url) as connection:
            for view in tables_to_keep:
                join_key = sql.Identifier(join_key_of(view))
                execute(connection, "online/create_table", table=table_of(view.name), join_key=join_key)
                for field in view.features:
                    execute(
                        connection,
                        "online/add_column",
                        table=table_of(view.name),
                        column=sql.Identifier(field.name),
                        type=sql.SQL(type_of(view, field)[0]),
                    )

    def teardown(self, config: RepoConfig, tables: Sequence[FeatureView], entities: Sequence[Entity]) -> None:
        with connect(config.online_store.database_url) as connection:
            for view in tables:
                execute(connection, "online/drop_table", table=table_of(view.name))

    def online_write_batch(
        self,
        config: RepoConfig,
        table: FeatureView,
        data: list[WriteRow],
        progress: Callable[[int], Any] | None,
    ) -> None:
        """Append one AS_OF's rows of a view to the build that is being written for that AS_OF.

        Raises:
            ValueError: the rows are of several AS_OFs.
        """
        if not data:
            return
        timestamps = {utils.make_tzaware(row[2]) for row in data}
        if len(timestamps) > 1:
            raise ValueError(
                f"{table.name}: rows of {len(timestamps)} event timestamps, {min(timestamps)} to {max(timestamps)}: "
                "materialize one AS_OF at a time, from its event_timestamp to the same"
            )
        event_timestamp = timestamps.pop()
        with connect(config.online_store.database_url) as connection:
            build = build_being_written(connection, as_of_of(event_timestamp))
            copy_rows(connection, build_table_of(table, build), [_to_arrow(table, data, build, event_timestamp)])
        if progress:
            progress(len(data))

    def online_read(
        self,
        config: RepoConfig,
        table: FeatureView,
        entity_keys: list[EntityKey],
        requested_features: list[str] | None = None,
    ) -> list[ReadRow]:
        features = tuple(requested_features or [field.name for field in table.features])
        return self.reader(config).read(((table, features),), [key_value(key) for key in entity_keys])[0]

    def _read_features_per_fv(
        self,
        config: RepoConfig,
        grouped_refs: list,
        join_key_values: dict,
        entity_name_to_join_key_map: dict,
        online_features_response: Any,
        full_feature_names: bool,
        include_feature_view_version_metadata: bool,
    ) -> None:
        """Read all views of a request in one statement. Feast's own way is a statement for each view."""
        first = grouped_refs[0][0]
        entities, indexes, output_length = utils._get_unique_entities(
            first, join_key_values, entity_name_to_join_key_map
        )
        keys = [key_value(key) for key in utils._get_entity_key_protos(entities)]
        request = tuple((view, tuple(features)) for view, features in grouped_refs)
        for (view, features), rows in zip(request, self.reader(config).read(request, keys), strict=True):
            utils._populate_response_from_feature_data(
                list(features),
                rows,
                indexes,
                online_features_response,
                full_feature_names,
                view,
                output_length,
                include_feature_view_version_metadata,
            )

    async def close(self) -> None:
        """Close the connections; the next read opens new ones."""
        with self._opening:
            if self._open is not None:
                self._open.close()
                self._open = None

    def reader(self, config: RepoConfig) -> OnlineReader:
        """Return what reads this store; it is opened once, and not before it is asked for."""
        # Opened at the first read: a pool has threads, which a fork would not take along.
        with self._opening:
            if self._open is None:
                store = config.online_store
                self._open = OnlineReader(store.database_url, store.max_connections, store.connection_timeout_seconds)
            return self._open


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
