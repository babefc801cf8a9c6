"""Reads the online store in Redis: one script returns the pointer and the rows of all views of a request."""

import json
from collections.abc import Callable, Sequence
from datetime import date
from functools import lru_cache
from typing import Any

from psycopg.rows import TupleRow

from churn.as_of import event_timestamp
from churn.features.reader import Request
from churn.features.redis.server import POINTER, failing_as_the_store, open_redis, run

Take = tuple[int, Callable[[Any], Any] | None]


class RedisReader:
    """A pool of connections that reads the online store in the Redis at `url`.

    Args:
        max_connections: size of the pool.
        timeout_seconds: limit for getting a connection, for connecting, and for the answer, each.
    """

    def __init__(self, url: str, max_connections: int, timeout_seconds: float) -> None:
        self._client = open_redis(url, max_connections, timeout_seconds)

    def fetch(self, request: Request, keys: list[str]) -> list[TupleRow] | None:
        """Return a row per key, in their order, from the served build; None if nothing is served.

        A row has for each view its event_timestamp, None if the view lacks the key, and its features.

        Raises:
            OnlineStoreAway: Redis cannot be reached, or does not answer in time.
        """
        names = [view.name for view, _ in request]
        with failing_as_the_store():
            answer = run(self._client, "read", [POINTER], [len(names), *names, *keys], reads=True)
        if not answer:
            return None
        as_of, columns, *views = answer
        timestamp = event_timestamp(date.fromisoformat(as_of.decode()))
        taken = [
            [_row(found, timestamp, _take(columns, view.name, features)) for found in rows]
            for (view, features), rows in zip(request, views, strict=True)
        ]
        return [tuple(value for part in parts for value in part) for parts in zip(*taken, strict=True)]

    def close(self) -> None:
        """Close the connections."""
        self._client.connection_pool.disconnect()


def _row(found: bytes | None, timestamp: Any, take: Sequence[Take | None]) -> list[Any]:
    if found is None:
        return [None] * (1 + len(take))
    values = json.loads(found)
    row = [timestamp]
    for each in take:
        value = None if each is None else values[each[0]]
        row.append(value if value is None or each is None or each[1] is None else each[1](value))
    return row


@lru_cache(maxsize=64)
def _take(columns: bytes, view: str, features: tuple[str, ...]) -> list[Take | None]:
    """Return for each feature its index in a row and the conversion that JSON needs, None for a feature newer than the
    build."""
    types = json.loads(columns).get(view, {})
    places = {
        name: (place, float if kind == "double precision" else None) for place, (name, kind) in enumerate(types.items())
    }
    return [places.get(name) for name in features]
