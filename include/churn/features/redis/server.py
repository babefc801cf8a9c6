"""Redis clients, and the atomic scripts in lua/.

Requires Redis 7. The scripts reach the hashes of a build through the pointer, so all keys must be on one server.
Replicas are supported, Redis Cluster is not.
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
"""Prefix of all keys, as Redis may be shared."""

POINTER = f"{PREFIX}:served"
"""The hash that names and describes the served build."""


class BadRedisUrl(ValueError):
    """Not a URL of a Redis. The text is not quoted: it may hold a password."""


class OnlineStoreAway(psycopg.OperationalError):
    """Redis cannot be reached, refuses, or does not answer in time. Readers catch it like an error of Postgres."""


@contextmanager
def failing_as_the_store() -> Iterator[None]:
    """Convert errors of Redis to OnlineStoreAway."""
    try:
        yield
    except RedisError as error:
        raise OnlineStoreAway(f"Redis: {type(error).__name__}: {error}") from error


def open_redis(url: str, max_connections: int, timeout_seconds: float) -> Redis:
    """Return a thread-safe client of the Redis at `url` (redis://, rediss:// or unix://). It connects at first use.

    Args:
        max_connections: size of the pool.
        timeout_seconds: limit for getting a connection, for connecting, and for an answer, each.

    Raises:
        BadRedisUrl: `url` is not a URL of a Redis.
    """
    try:
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=max_connections,
            timeout=timeout_seconds,
            socket_timeout=timeout_seconds,
            socket_connect_timeout=timeout_seconds,
            # One immediate retry, for a connection that the server dropped. The default retries for seconds.
            retry=Retry(NoBackoff(), 1, (RedisConnectionError,)),
            client_name="churn-online-store",
            driver_info=None,
        )
    except ValueError:
        # redis-py's own message quotes a part of the URL.
        raise BadRedisUrl(
            "not a URL like redis://:password@host:6379/0, rediss://… or unix:///path; in a password write "
            "@ : / ? # % as %40 %3A %2F %3F %23 %25"
        ) from None
    return Redis(connection_pool=pool)


def check_redis_url(url: str) -> None:
    """Check the URL of a Redis without connecting.

    Raises:
        BadRedisUrl: `url` is not a URL of a Redis.
    """
    open_redis(url, max_connections=1, timeout_seconds=1.0).close()


def run(client: Redis, script: str, keys: list[str], arguments: list[Any], *, reads: bool = False) -> Any:
    """Run lua/`script`.lua and return its answer.

    Args:
        reads: run it as read-only, which read-only users and replicas allow.
    """
    text, digest = _script(script)
    suffix = "_RO" if reads else ""
    try:
        return client.execute_command(f"EVALSHA{suffix}", digest, len(keys), *keys, *arguments)
    except NoScriptError:  # not cached yet, or the server was restarted
        return client.execute_command(f"EVAL{suffix}", text, len(keys), *keys, *arguments)


@cache
def _script(name: str) -> tuple[str, str]:
    text = "".join((LUA / f"{each}.lua").read_text(encoding="utf-8") for each in ("whole", name))
    return text, sha1(text.encode(), usedforsecurity=False).hexdigest()
