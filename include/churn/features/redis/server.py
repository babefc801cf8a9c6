"""Redis: clients, and the scripts in lua/, each of which Redis runs as one act that nobody sees half of.

Redis 7 or newer. Scripts reach the hashes of a build by the pointer that names it, so that all of them must be on one
server: it may have replicas, and a cluster it is not.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from hashlib import sha1
from pathlib import Path
from typing import Any

import psycopg
from redis import BlockingConnectionPool, Redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, RedisError
from redis.retry import Retry

LUA = Path(__file__).parent / "lua"

PREFIX = "streamflow"
"""How our keys begin: a Redis may hold others' too."""

POINTER = f"{PREFIX}:served"
"""The hash that names the served build and says what it is."""


class BadRedisUrl(ValueError):
    """What should be the URL of a Redis and is none. It is not quoted: it may hold a password."""


class OnlineStoreAway(psycopg.OperationalError):
    """Redis cannot be reached, or not in time, or refuses. Who reads the online store catches the same as of
    Postgres."""


@contextmanager
def failing_as_the_store() -> Iterator[None]:
    """Raise what redis raises as OnlineStoreAway."""
    try:
        yield
    except RedisError as error:
        raise OnlineStoreAway(f"Redis: {type(error).__name__}: {error}") from error


def open_redis(url: str, max_connections: int, timeout_seconds: float) -> Redis:
    """Return a client of the Redis at `url` (redis://, rediss:// or unix://), to be shared between threads. It connects
    when it is first asked.

    Args:
        max_connections: how many connections it may hold.
        timeout_seconds: how long it waits for one of them, for a new one, and for an answer.

    Raises:
        BadRedisUrl: it is none.
    """
    try:
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=max_connections,
            timeout=timeout_seconds,
            socket_timeout=timeout_seconds,
            socket_connect_timeout=timeout_seconds,
            # Once, at once: on a connection that the server has dropped. By default it tries for seconds.
            retry=Retry(NoBackoff(), 1, (RedisConnectionError,)),
            client_name="churn-online-store",
            driver_info=None,
        )
    except ValueError:
        # Its own words quote a part of the URL.
        raise BadRedisUrl(
            "not a URL like redis://:password@host:6379/0, rediss://… or unix:///path; in a password each of "
            "@ : / ? # % is written %40 %3A %2F %3F %23 %25"
        ) from None
    return Redis(connection_pool=pool)


def check_redis_url(url: str) -> None:
    """See whether `url` is the URL of a Redis; nothing is connected.

    Raises:
        BadRedisUrl: it is none.
    """
    open_redis(url, max_connections=1, timeout_seconds=1.0).close()


def run(client: Redis, script: str, keys: list[str], arguments: list[Any], *, reads: bool = False) -> Any:
    """Run lua/`script`.lua and return its answer.

    Args:
        reads: it changes nothing, and may be run by a user who may only read, and on a replica.
    """
    text, digest = _script(script)
    suffix = "_RO" if reads else ""
    try:
        return client.execute_command(f"EVALSHA{suffix}", digest, len(keys), *keys, *arguments)
    except NoScriptError:  # the server was restarted, or never saw it
        return client.execute_command(f"EVAL{suffix}", text, len(keys), *keys, *arguments)


@cache
def _script(name: str) -> tuple[str, str]:
    text = "".join((LUA / f"{each}.lua").read_text(encoding="utf-8") for each in ("whole", name))
    return text, sha1(text.encode(), usedforsecurity=False).hexdigest()
