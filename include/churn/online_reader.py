"""Reading the online store in Postgres: all views of a request in one statement, over connections that may die or fall
silent."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from functools import lru_cache
from itertools import accumulate
from typing import Any, NamedTuple, Protocol

from feast import FeatureView
from feast.protos.feast.types.Value_pb2 import Value
from psycopg import Connection, OperationalError, sql
from psycopg.errors import _WaitTimeout as WaitTimeout
from psycopg.rows import TupleRow
from psycopg_pool import ConnectionPool

from churn.database import statement
from churn.online_builds import table_of
from churn.online_tables import join_key_of, type_of

ReadRow = tuple[datetime | None, dict[str, Value] | None]
Request = Sequence[tuple[FeatureView, tuple[str, ...]]]


class Reader(Protocol):
    """What reads an online store."""

    def read(self, request: Request, keys: list[str]) -> list[list[ReadRow]]:
        """Return for each view its features in the served build, a row per key, in the order of the keys."""

    def fetch(self, request: Request, keys: list[str]) -> list[TupleRow]:
        """Return a row per key, in their order, all of the served build: of each view the event_timestamp, None where
        it lacks the key, and then its features."""

    def served_as_of(self) -> date | None:
        """Return the AS_OF that is served, None where nothing is."""

    def close(self) -> None:
        """Close the connections."""


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
            connection_class=_impatient(timeout_seconds),
            kwargs={
                "autocommit": True,
                # Any key's plan is every key's plan: it is made once for each connection.
                "options": "-c timezone=UTC -c plan_cache_mode=force_generic_plan -c jit=off",
                "prepare_threshold": 0,
                "application_name": "churn online store",
                # libpq takes whole seconds, and two at least.
                "connect_timeout": 2,
            },
            # By default a failed attempt to connect is repeated after longer and longer pauses, for minutes. Given up
            # before a read is, the next read makes the next attempt.
            reconnect_timeout=timeout_seconds / 2,
            open=True,
        )
        self._planned: tuple[Request, _Plan] | None = None

    def read(self, request: Request, keys: list[str]) -> list[list[ReadRow]]:
        """Return for each view its features in the served build, a row per key, in the order of the keys.

        Raises:
            psycopg.OperationalError: the server cannot be reached, or not in time.
        """
        return split(request, self.fetch(request, keys))

    def fetch(self, request: Request, keys: list[str]) -> list[TupleRow]:
        """Return a row per key, in their order, all of the served build: of each view the event_timestamp, None where
        it lacks the key, and then its features.

        What was planned just before a build was published may not look into that build's tables, and find nobody. So a
        read that misses somebody is made again, by when the build is known.

        Raises:
            psycopg.OperationalError: the server cannot be reached, or not in time.
        """
        plan = self._plan(request)
        query, parameters = (plan.of_one, {"key": keys[0]}) if len(keys) == 1 else (plan.of_many, {"keys": keys})
        rows = self._execute(query, parameters)
        if any(row[column] is None for row in rows for column in plan.timestamps):
            rows = self._execute(query, parameters)
        return rows

    def served_as_of(self) -> date | None:
        """Return the AS_OF that is served, None where nothing is.

        Raises:
            psycopg.OperationalError: the server cannot be reached, or not in time.
        """
        rows = self._execute(statement("online/served_as_of").encode())
        return rows[0][0] if rows else None

    def _plan(self, request: Request) -> "_Plan":
        # Kept for the next time: serving makes the same request over and over, and Feast's views answer slowly.
        planned = self._planned
        if planned is None or planned[0] is not request:
            planned = self._planned = (request, _plan(request))
        return planned[1]

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()

    def _execute(self, query: bytes, parameters: Mapping[str, Any] | None = None) -> list[TupleRow]:
        """Run a read; where the server had dropped the connection, on the next one, until every old one was tried."""
        for left in range(self._pool.max_size, -1, -1):
            with self._pool.connection() as connection:
                try:
                    return connection.execute(query, parameters).fetchall()
                except OperationalError:
                    if not connection.broken or not left:
                        raise
        raise AssertionError("the last attempt returns or raises")


def timestamp_columns(request: Request) -> list[int]:
    """Return where in a fetched row each view's event_timestamp is; the view's features follow it."""
    return list(accumulate((1 + len(features) for _, features in request[:-1]), initial=0))


def _impatient(seconds: float) -> type[Connection[Any]]:
    """Return a connection that gives up on a server that does not answer: one that is stopped or cut off would be
    waited for until the network says so, which takes minutes."""

    class Impatient(Connection[Any]):
        def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
            try:
                return super().wait(gen, interval, timeout or seconds)
            except WaitTimeout as error:
                self.close()
                raise OperationalError(f"no answer within {seconds:g} s") from error

    return Impatient


class _Plan(NamedTuple):
    """How a request is read: the statements, as bytes (putting one together takes as long as running it), and where in
    a row of theirs the event_timestamps are. Of one key, which is what serving asks for, Postgres needs a third less
    time when it is not in an array."""

    of_one: bytes
    of_many: bytes
    timestamps: list[int]


def _plan(request: Request) -> _Plan:
    views = tuple((view.name, join_key_of(view), features) for view, features in request)
    return _Plan(_query("online/read_one", views), _query("online/read", views), timestamp_columns(request))


@lru_cache(maxsize=64)
def _query(name: str, views: tuple[tuple[str, str, tuple[str, ...]], ...]) -> bytes:
    columns, joins = [], []
    for view_name, join_key, features in views:
        view = sql.Identifier(view_name)
        columns += [sql.SQL("{}.{}").format(view, sql.Identifier(each)) for each in ("event_timestamp", *features)]
        joins.append(
            sql.SQL(statement("online/read_view")).format(
                table=table_of(view_name), view=view, join_key=sql.Identifier(join_key)
            )
        )
    query = sql.SQL(statement(name)).format(columns=sql.SQL(", ").join(columns), views=sql.SQL("\n").join(joins))
    return query.as_bytes(None)


def split(request: Request, fetched: Sequence[TupleRow]) -> list[list[ReadRow]]:
    """Return fetched rows view by view, their values as Feast's."""
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
