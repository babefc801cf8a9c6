"""Reading the online store: all views of a request in one statement, over connections that may die."""

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from feast import FeatureView
from feast.protos.feast.types.Value_pb2 import Value
from psycopg import OperationalError, sql
from psycopg.rows import TupleRow
from psycopg_pool import ConnectionPool

from churn.database import statement
from churn.online_tables import join_key_of, table_of, type_of

ReadRow = tuple[datetime | None, dict[str, Value] | None]
Request = Sequence[tuple[FeatureView, tuple[str, ...]]]


class OnlineReader:
    """A pool of connections to the database at `database_url` (a libpq URI), and what is read over it.

    Args:
        max_connections: how many connections it may hold.
        timeout_seconds: how long a read waits for one of them.
    """

    def __init__(self, database_url: str, max_connections: int, timeout_seconds: float) -> None:
        self._pool = ConnectionPool(
            database_url,
            min_size=1,
            max_size=max_connections,
            timeout=timeout_seconds,
            kwargs={
                "autocommit": True,
                # Any key's plan is every key's plan: it is made once for each connection.
                "options": "-c timezone=UTC -c plan_cache_mode=force_generic_plan -c jit=off",
                "prepare_threshold": 0,
                "application_name": "churn online store",
                "connect_timeout": 5,
            },
            # By default a failed attempt to connect is repeated after longer and longer pauses, for minutes. Given up
            # before a read is, the next read makes the next attempt.
            reconnect_timeout=timeout_seconds / 2,
            open=True,
        )

    def read(self, request: Request, keys: list[str]) -> list[list[ReadRow]]:
        """Return for each view its features in the served build, a row per key, in the order of the keys.

        What was planned just before a build was published may not look into that build's tables, and find nobody. So a
        read that misses somebody is made again, by when the build is known.

        Raises:
            psycopg.OperationalError: the server cannot be reached, or not in time.
        """
        query = _read_query(request)
        rows = _split(request, self._fetch(query, keys))
        if any(timestamp is None for of_view in rows for timestamp, _ in of_view):
            rows = _split(request, self._fetch(query, keys))
        return rows

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()

    def _fetch(self, query: bytes, keys: list[str]) -> list[TupleRow]:
        """Run a read; where the server had dropped the connection, on the next one, until every old one was tried."""
        for left in range(self._pool.max_size, -1, -1):
            with self._pool.connection() as connection:
                try:
                    return connection.execute(query, {"keys": keys}).fetchall()
                except OperationalError:
                    if not connection.broken or not left:
                        raise
        raise AssertionError("the last attempt returns or raises")


def _read_query(request: Request) -> bytes:
    return _query_of(tuple((view.name, join_key_of(view), features) for view, features in request))


@lru_cache(maxsize=64)
def _query_of(views: tuple[tuple[str, str, tuple[str, ...]], ...]) -> bytes:
    # As bytes: putting a statement together takes as long as running it.
    columns, joins = [], []
    for name, join_key, features in views:
        view = sql.Identifier(name)
        columns += [sql.SQL("{}.{}").format(view, sql.Identifier(each)) for each in ("event_timestamp", *features)]
        joins.append(
            sql.SQL(statement("online/read_view")).format(
                table=table_of(name), view=view, join_key=sql.Identifier(join_key)
            )
        )
    query = sql.SQL(statement("online/read")).format(
        columns=sql.SQL(", ").join(columns), views=sql.SQL("\n").join(joins)
    )
    return query.as_bytes(None)


def _split(request: Request, fetched: Sequence[TupleRow]) -> list[list[ReadRow]]:
    result: list[list[ReadRow]] = []
    start = 0
    for view, features in request:
        fields = {field.name: type_of(view, field)[2] for field in view.features}
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
