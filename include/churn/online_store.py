"""Feast's online store, in Postgres: typed rows, and one AS_OF that is served, for all feature views at once.

Feast's own Postgres store keeps whatever was written last, so a backfill serves January over February. Here a
materialization writes a *build*, a table for each view, beside the served one; churn.materialization attaches them and
then moves one pointer, for all views at once. A read of several feature views is one statement, hence of one build.
"""

from collections.abc import Callable, Sequence
from datetime import date, datetime
from functools import lru_cache
from threading import Lock
from typing import Any, Literal

import pyarrow as pa
from feast import Entity, FeatureView, utils
from feast.infra.online_stores.online_store import OnlineStore
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.repo_config import FeastConfigBaseModel, RepoConfig
from feast.types import Bool, Float64, Int64, String
from psycopg import OperationalError, sql
from psycopg.rows import TupleRow
from psycopg_pool import ConnectionPool

from churn.as_of import as_of_of
from churn.copy import copy_rows
from churn.database import Connection, connect, execute, statement

WriteRow = tuple[EntityKey, dict[str, Value], datetime, datetime | None]
ReadRow = tuple[datetime | None, dict[str, Value] | None]

# Feast's type: the column's type in Postgres, in Arrow, and the field of Feast's value.
TYPES = {
    Int64: ("bigint", pa.int64(), "int64_val"),
    Float64: ("double precision", pa.float64(), "double_val"),
    Bool: ("boolean", pa.bool_(), "bool_val"),
    String: ("text", pa.string(), "string_val"),
}


class UnsupportedView(ValueError):
    """A feature view that this store cannot hold."""


class SnapshotOnlineStoreConfig(FeastConfigBaseModel):
    """Where the online store is: a libpq URI, and how many connections a process may hold to it."""

    type: Literal["churn.online_store.SnapshotOnlineStore"] = "churn.online_store.SnapshotOnlineStore"
    database_url: str
    max_connections: int = 8
    connection_timeout_seconds: float = 1.0


class SnapshotOnlineStore(OnlineStore):
    """One table per feature view, a partition for each build; see the module."""

    def __init__(self) -> None:
        self._pool: ConnectionPool | None = None
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
                execute(connection, "online/create_table", table=table_of(view), join_key=join_key)
                for field in view.features:
                    execute(
                        connection,
                        "online/add_column",
                        table=table_of(view),
                        column=sql.Identifier(field.name),
                        type=sql.SQL(_type_of(view, field)[0]),
                    )

    def teardown(self, config: RepoConfig, tables: Sequence[FeatureView], entities: Sequence[Entity]) -> None:
        with connect(config.online_store.database_url) as connection:
            for view in tables:
                execute(connection, "online/drop_table", table=table_of(view))

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
        return self._read(config, ((table, features),), [_key_value(key) for key in entity_keys])[0]

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
        keys = [_key_value(key) for key in utils._get_entity_key_protos(entities)]
        request = tuple((view, tuple(features)) for view, features in grouped_refs)
        for (view, features), rows in zip(request, self._read(config, request, keys), strict=True):
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

    def _read(
        self, config: RepoConfig, request: Sequence[tuple[FeatureView, tuple[str, ...]]], keys: list[str]
    ) -> list[list[ReadRow]]:
        """Return for each view its rows of the served build, one per key, in the order of the keys.

        What was planned just before a build was published may not look into that build's tables, and find nobody. So a
        read that misses somebody is made again, by when the build is known.
        """
        query = _read_query(tuple((view.name, join_key_of(view), features) for view, features in request))
        rows = _split(request, self._fetch(config, query, keys))
        if any(timestamp is None for of_view in rows for timestamp, _ in of_view):
            rows = _split(request, self._fetch(config, query, keys))
        return rows

    def _fetch(self, config: RepoConfig, query: bytes, keys: list[str]) -> list[TupleRow]:
        """Run a read; where the server had dropped the connection, on the next one, until every old one was tried."""
        pool = self._connections(config)
        for left in range(pool.max_size, -1, -1):
            with pool.connection() as connection:
                try:
                    return connection.execute(query, {"keys": keys}).fetchall()
                except OperationalError:
                    if not connection.broken or not left:
                        raise
        raise AssertionError("the last attempt returns or raises")

    def _connections(self, config: RepoConfig) -> ConnectionPool:
        # Opened at the first read: a pool has threads, which a fork would not take along.
        with self._opening:
            if self._pool is None:
                self._pool = ConnectionPool(
                    config.online_store.database_url,
                    min_size=1,
                    max_size=config.online_store.max_connections,
                    timeout=config.online_store.connection_timeout_seconds,
                    kwargs={
                        "autocommit": True,
                        # Any key's plan is every key's plan: it is made once for each connection.
                        "options": "-c timezone=UTC -c plan_cache_mode=force_generic_plan -c jit=off",
                        "prepare_threshold": 0,
                        "application_name": "churn online store",
                        "connect_timeout": 5,
                    },
                    # By default a failed attempt to connect is repeated after longer and longer pauses, for minutes.
                    # Given up before a read is, the next read makes the next attempt.
                    reconnect_timeout=config.online_store.connection_timeout_seconds / 2,
                    open=True,
                )
            return self._pool

    async def close(self) -> None:
        """Close the connections; the next read opens new ones."""
        with self._opening:
            if self._pool is not None:
                self._pool.close()
                self._pool = None


def table_of(view: FeatureView) -> sql.Identifier:
    """Return the name of the table that holds the view's published builds."""
    return sql.Identifier("online", view.name)


def build_table_of(view: FeatureView, build: int) -> sql.Identifier:
    """Return the name of the table that holds one build of the view."""
    return sql.Identifier("online", f"{view.name}_{build}")


def join_key_of(view: FeatureView) -> str:
    if len(view.join_keys) != 1:
        raise UnsupportedView(f"{view.name} has the join keys {view.join_keys}: this store takes one")
    return view.join_keys[0]


def _type_of(view: FeatureView, field: Any) -> tuple[str, pa.DataType, str]:
    if field.dtype not in TYPES:
        known = ", ".join(str(dtype) for dtype in TYPES)
        raise UnsupportedView(f"{view.name}.{field.name} is of type {field.dtype}: this store holds {known}")
    return TYPES[field.dtype]


def _key_value(key: EntityKey) -> str:
    return key.entity_values[0].string_val


def build_being_written(connection: Connection, as_of: date) -> int:
    """Return the number of the build that a materialization of `as_of` has begun.

    Raises:
        RuntimeError: none has.
    """
    found = execute(connection, "online/build_being_written", {"as_of": as_of}).fetchone()
    if found is None:
        raise RuntimeError(
            f"no build of {as_of} is being written: materialize through churn.materialization (or trigger the DAG "
            "churn_materialize), which publishes what it wrote"
        )
    return found[0]


def _to_arrow(view: FeatureView, data: list[WriteRow], build: int, event_timestamp: datetime) -> pa.Table:
    columns = {
        join_key_of(view): pa.array([_key_value(row[0]) for row in data], pa.string()),
        "build": pa.repeat(build, len(data)),
        "event_timestamp": pa.repeat(pa.scalar(event_timestamp, pa.timestamp("us", "UTC")), len(data)),
    }
    for field in view.features:
        _, arrow_type, value_field = _type_of(view, field)
        values = [row[1].get(field.name) for row in data]
        columns[field.name] = pa.array(
            [getattr(v, value_field) if v is not None and v.WhichOneof("val") else None for v in values],
            arrow_type,
        )
    return pa.table(columns)


@lru_cache(maxsize=64)
def _read_query(request: tuple[tuple[str, str, tuple[str, ...]], ...]) -> bytes:
    # As bytes: putting a statement together takes as long as running it.
    columns, joins = [], []
    for view, join_key, features in request:
        alias = sql.Identifier(view)
        columns += [sql.SQL("{}.{}").format(alias, sql.Identifier(name)) for name in ("event_timestamp", *features)]
        joins.append(
            sql.SQL(statement("online/read_view")).format(
                table=sql.Identifier("online", view), view=alias, join_key=sql.Identifier(join_key)
            )
        )
    query = sql.SQL(statement("online/read")).format(
        columns=sql.SQL(", ").join(columns), views=sql.SQL("\n").join(joins)
    )
    return query.as_bytes(None)


def _split(request: Sequence[tuple[FeatureView, tuple[str, ...]]], fetched: Sequence[TupleRow]) -> list[list[ReadRow]]:
    result: list[list[ReadRow]] = []
    start = 0
    for view, features in request:
        fields = {field.name: _type_of(view, field)[2] for field in view.features}
        end = start + 1 + len(features)
        result.append([_to_read_row(row[start:end], features, fields) for row in fetched])
        start = end
    return result


def _to_read_row(values: Sequence[Any], features: tuple[str, ...], fields: dict[str, str]) -> ReadRow:
    event_timestamp, *found = values
    if event_timestamp is None:
        return None, None
    return event_timestamp, {
        name: Value() if value is None else Value(**{fields[name]: value})
        for name, value in zip(features, found, strict=True)
    }
