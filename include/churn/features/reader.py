"""Reads the online store in Postgres: all views of a request in one statement, with a deadline per read."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from itertools import accumulate
from math import inf
from time import monotonic
from typing import Any, NamedTuple, Protocol

from feast import FeatureView
from feast.protos.feast.types.Value_pb2 import Value
from psycopg import Connection, OperationalError, sql

# psycopg (3.3) has no public name for the timeout error of Connection.wait().
from psycopg.errors import _WaitTimeout as WaitTimeout  # noqa: PLC2701
from psycopg.rows import TupleRow
from psycopg_pool import ConnectionPool

from churn.features.builds import table_of
from churn.features.column_types import join_key_of, type_of
from churn.postgres.database import statement

ReadRow = tuple[datetime | None, dict[str, Value] | None]
Request = Sequence[tuple[FeatureView, tuple[str, ...]]]


class Reader(Protocol):
    """Reads an online store."""

    def fetch(self, request: Request, keys: list[str]) -> list[TupleRow] | None:
        """Return a row per key, in their order, from the served build; None if nothing is served.

        A row has for each view its event_timestamp, None if the view lacks the key, and its features.
        """

    def close(self) -> None:
        """Close the connections."""


class OnlineReader:
    """A pool of connections that reads the online store in the database at `database_url` (a libpq URI).

    Args:
        max_connections: size of the pool.
        timeout_seconds: limit of a read, including the wait for a connection. Shortly after a failed read the limit is
            a third of it, so that queued requests fail fast.
    """

    def __init__(self, database_url: str, max_connections: int, timeout_seconds: float) -> None:
        self._timeout_seconds = timeout_seconds
        self._pool = ConnectionPool[_Impatient](
            database_url,
            min_size=1,
            max_size=max_connections,
            connection_class=_Impatient,
            kwargs={
                "autocommit": True,
                # A generic plan fits every key and is made once per connection.
                "options": "-c timezone=UTC -c plan_cache_mode=force_generic_plan -c jit=off",
                "prepare_threshold": 0,
                "application_name": "churn online store",
                # libpq takes whole seconds, at least 2.
                "connect_timeout": 2,
            },
            # By default the pool retries with growing pauses, for minutes. With this limit the next read triggers a new
            # attempt.
            reconnect_timeout=timeout_seconds / 2,
            open=True,
        )
        self._planned: tuple[Request, _Plan] | None = None
        self._known_build: int | None = None
        self._failed_at = -inf

    def fetch(self, request: Request, keys: list[str]) -> list[TupleRow] | None:
        """Return a row per key, in their order, from the served build; None if nothing is served.

        A row has for each view its event_timestamp, None if the view lacks the key, and its features; the last value is
        the build. A query planned before a build's partition was attached can miss it, so misses are retried once per
        new build.

        Raises:
            psycopg.OperationalError: the server cannot be reached, or does not answer in time.
        """
        plan, begun = self._plan(request), monotonic()
        just_failed = begun - self._failed_at < 3 * self._timeout_seconds
        deadline = begun + (self._timeout_seconds / 3 if just_failed else self._timeout_seconds)
        try:
            return self._fetch(plan, keys, deadline)
        except OperationalError:
            # A failed short read does not prolong the short limit, or a slow server would never recover.
            if not just_failed:
                self._failed_at = monotonic()
            raise

    def _fetch(self, plan: "_Plan", keys: list[str], deadline: float) -> list[TupleRow] | None:
        query, parameters = (plan.of_one, {"key": keys[0]}) if len(keys) == 1 else (plan.of_many, {"keys": keys})
        known = self._known_build
        while rows := self._execute(deadline, query, parameters):
            build = self._known_build = rows[0][-1]
            if build == known or all(row[column] is not None for row in rows for column in plan.timestamps):
                return rows if build is not None else None
            known = build
        return rows

    def _plan(self, request: Request) -> "_Plan":
        # Cached: serving repeats the same request, and Feast's views are slow to inspect.
        planned = self._planned
        if planned is None or planned[0] is not request:
            planned = self._planned = (request, _plan(request))
        return planned[1]

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()

    def _execute(self, deadline: float, query: bytes, parameters: Mapping[str, Any]) -> list[TupleRow]:
        """Run a statement, at the latest until `deadline` (monotonic seconds). If the server dropped the connection,
        try the next one."""
        for left in range(self._pool.max_size, -1, -1):
            with self._pool.connection(deadline - monotonic()) as connection:
                connection.deadline = deadline
                try:
                    return connection.execute(query, parameters).fetchall()
                except OperationalError:
                    if not connection.broken or not left:
                        raise
        raise AssertionError("the last attempt returns or raises")


def timestamp_columns(request: Request) -> list[int]:
    """Return the column index of each view's event_timestamp; the view's features follow it."""
    return list(accumulate((1 + len(features) for _, features in request[:-1]), initial=0))


class _Impatient(Connection[TupleRow]):
    """A connection with a deadline. Without it, a stopped or unreachable server blocks for minutes."""

    deadline = inf

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        try:
            return super().wait(gen, interval, timeout or max(0.0, self.deadline - monotonic()))
        except WaitTimeout as error:
            self.close()
            raise OperationalError("no answer within the time of a read") from error


class _Plan(NamedTuple):
    """The statements of a request, and the column indexes of the event_timestamps. Serving's requests of a single key
    have a faster statement. Statements are kept as bytes: composing one takes as long as running it."""

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


def split(request: Request, keys: list[str], fetched: Sequence[TupleRow] | None) -> list[list[ReadRow]]:
    """Return the fetched rows per view, with Feast's values. If nothing is served, every view lacks every key."""
    if fetched is None:
        return [[(None, None)] * len(keys) for _ in request]
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
