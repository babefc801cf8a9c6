"""Reading the online store in Redis: the pointer, and the rows of all views of a request, by one script."""

import json
from collections.abc import Callable, Sequence
from datetime import date
from functools import lru_cache
from typing import Any

from psycopg.rows import TupleRow

from churn.as_of import event_timestamp
from churn.features.reader import ReadRow, Request, split
from churn.features.redis.server import POINTER, failing_as_the_store, open_redis, run

Take = tuple[int, Callable[[Any], Any] | None]


class RedisReader:
    """A pool of connections to the Redis at `url`, and what is read over it.

    Args:
        max_connections: how many connections it may hold.
        timeout_seconds: how long a read waits for one of them, for a new one, and for the answer.
    """

    def __init__(self, url: str, max_connections: int, timeout_seconds: float) -> None:
        self._client = open_redis(url, max_connections, timeout_seconds)

    def read(self, request: Request, keys: list[str]) -> list[list[ReadRow]]:
        """Return for each view its features in the served build, a row per key, in the order of the keys.

        Raises:
            OnlineStoreAway: Redis cannot be reached, or not in time.
        """
        return split(request, keys, self.fetch(request, keys))

    def fetch(self, request: Request, keys: list[str]) -> list[TupleRow] | None:
        """Return a row per key, in their order, all of the served build: of each view the event_timestamp, None where
        it lacks the key, and then its features. None where nothing is served.

        Raises:
            OnlineStoreAway: Redis cannot be reached, or not in time.
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
    """Return for each feature where it is in a row of the view's, and what makes it of its type where JSON does not;
    None for a feature that the view has gained since the build was written."""
    types = json.loads(columns).get(view, {})
    places = {
        name: (place, float if kind == "double precision" else None) for place, (name, kind) in enumerate(types.items())
    }
    return [places.get(name) for name in features]
