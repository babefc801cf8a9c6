"""Feast's online store in Redis: one served AS_OF for all feature views.

Feast's own Redis store keeps each customer's newest row by timestamp. It ignores a corrected drop of the same date,
serves customers who have left, and reads views one by one, so it can mix two dates. Here a materialization writes a
build beside the served one and moves one pointer; see churn.features.redis.builds.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import chain, islice
from typing import Any, Literal

from feast import Entity, FeatureView
from feast.protos.feast.types.Value_pb2 import Value
from feast.repo_config import RepoConfig
from psycopg import sql

from churn.as_of import as_of_of
from churn.features.build import build_being_written
from churn.features.column_types import columns_of, join_key_of, key_value, type_of
from churn.features.one_as_of_store import OneAsOfStore, OneAsOfStoreConfig, WriteRow, source_of
from churn.features.redis.builds import BUILDS, client_of, name_of
from churn.features.redis.reader import RedisReader
from churn.features.redis.server import POINTER, failing_as_the_store
from churn.postgres.database import compose, connect

ROWS_PER_WRITE = 1000
"""Redis is single-threaded: a write of this many rows delays a read by less than a millisecond."""
ROWS_PER_FETCH = 20_000


class SnapshotRedisOnlineStoreConfig(OneAsOfStoreConfig):
    """The store's settings and the URL of Redis."""

    type: Literal["churn.features.redis.online_store.SnapshotRedisOnlineStore"] = (
        "churn.features.redis.online_store.SnapshotRedisOnlineStore"
    )
    redis_url: str


class SnapshotRedisOnlineStore(OneAsOfStore):
    """One hash per feature view and build."""

    def update(
        self,
        config: RepoConfig,
        tables_to_delete: Sequence[FeatureView],
        tables_to_keep: Sequence[FeatureView],
        entities_to_delete: Sequence[Entity],
        entities_to_keep: Sequence[Entity],
        partial: bool,
    ) -> None:
        """Reject unsupported views. Redis needs no tables, and nothing is dropped."""
        for view in tables_to_keep:
            join_key_of(view)
            columns_of(view)

    def teardown(self, config: RepoConfig, tables: Sequence[FeatureView], entities: Sequence[Entity]) -> None:
        """Remove the pointer and delete every build."""
        client = client_of(config.online_store.redis_url)
        with failing_as_the_store():
            client.unlink(POINTER, *client.scan_iter(match=f"{BUILDS}*", count=1000))

    def open_reader(self, config: RepoConfig) -> RedisReader:
        store = config.online_store
        return RedisReader(store.redis_url, store.max_connections, store.connection_timeout_seconds)

    def copy_snapshot(self, config: RepoConfig, view: FeatureView, event_timestamp: datetime) -> None:
        """Stream rows that Postgres has converted to JSON."""
        features = [sql.SQL("to_json({})").format(sql.Identifier(name)) for name in columns_of(view)]
        query = compose("online/snapshot_rows", features=sql.SQL(", ").join(features), **source_of(view))
        with connect(config.online_store.database_url) as connection, connection.cursor("snapshot_rows") as cursor:
            cursor.itersize = ROWS_PER_FETCH
            cursor.execute(query, {"event_timestamp": event_timestamp})
            self._write(config, view, event_timestamp, cursor)

    def write(self, config: RepoConfig, view: FeatureView, rows: list[WriteRow], event_timestamp: datetime) -> None:
        fields = {field.name: type_of(view, field)[2] for field in view.features}
        found = (
            (key_value(key), json.dumps([_plain(values.get(name), field) for name, field in fields.items()]))
            for key, values, _, _ in rows
        )
        self._write(config, view, event_timestamp, found)

    def _write(
        self, config: RepoConfig, view: FeatureView, event_timestamp: datetime, rows: Iterable[tuple[Any, ...]]
    ) -> None:
        store = config.online_store
        with connect(store.database_url) as connection:
            name = name_of(*build_being_written(connection, as_of_of(event_timestamp)))
        client = client_of(store.redis_url)
        for some in _batches(rows):
            with failing_as_the_store():
                client.execute_command("HSET", f"{name}:{view.name}", *chain.from_iterable(some))


def _batches(rows: Iterable[tuple[Any, ...]]) -> Iterator[list[tuple[Any, ...]]]:
    iterator = iter(rows)
    while some := list(islice(iterator, ROWS_PER_WRITE)):
        yield some


def _plain(value: Value | None, field: str) -> Any:
    return getattr(value, field) if value is not None and value.WhichOneof("val") else None
