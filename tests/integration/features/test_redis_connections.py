"""Redis connections that are dropped, silent or refused; and the rights of a read-only user."""

import re
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import psycopg
import pytest

from churn.features.builds import builds_of
from churn.features.lookup import OnlineLookup
from churn.features.materialization import materialize
from churn.features.redis.server import OnlineStoreAway
from churn.features.store import FEATURE_SERVICE, read_online
from churn.postgres.database import connect
from tests.conftest import REPOSITORY
from tests.integration.features.redis_world import F29, M31, SERVED, lookup, snapshots, world
from tests.opened_store import opened_store

__all__ = ["lookup", "snapshots", "world"]
"""Fixtures."""


def test_dropped_connections_are_replaced_without_failing_a_read(world, lookup):
    # More often than the pool has connections: a slot that leaked each time would show.
    for _ in range(12):
        world.redis.client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        assert lookup.read(["a"])[0].as_of == F29


def test_every_connection_of_the_pool_may_have_been_dropped(world, lookup):
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            found = pool.map(lambda _: lookup.read(["a"])[0].as_of, range(40))
            assert set(found) == {F29}
            world.redis.client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


def test_reads_of_a_hanging_redis_time_out_and_recover(world, lookup):
    with opened_store(world.database_url, patience_seconds=0.7) as store:
        read = partial(read_online, store, store.get_feature_service(FEATURE_SERVICE), ["a"])
        read()
        with world.redis.silent():
            for each in (read, partial(lookup.read, ["a"])):
                started = time.monotonic()
                with pytest.raises(psycopg.OperationalError, match="Redis: TimeoutError"):
                    each()
                assert time.monotonic() - started < 1.5
        assert read()[0].as_of == lookup.read(["a"])[0].as_of == F29


def test_reads_fail_while_redis_is_down_and_work_at_once_when_it_is_up(world, lookup):
    assert lookup.read(["a"])[0].as_of == F29
    world.redis.stop()
    for _ in range(3):
        with pytest.raises(psycopg.OperationalError, match="Redis: ConnectionError"):
            lookup.read(["a"])
    world.redis.start()
    materialize(F29, world.database_url)
    assert lookup.read(["a"])[0].as_of == F29


def test_no_error_contains_the_password_of_the_url(world, monkeypatch):
    monkeypatch.setenv("CHURN_REDIS_URL", "redis://churn:s3cret@127.0.0.1:1/0")
    with connect(world.database_url) as connection, pytest.raises(OnlineStoreAway) as raised:
        builds_of(connection).served()
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize("database", ["", "?db=1"], ids=["in the first database", "in another"])
def test_the_redis_user_of_the_manual_can_only_read(world, monkeypatch, database):
    monkeypatch.setenv("CHURN_REDIS_URL", world.redis.url + database)
    materialize(F29, world.database_url)
    manual = (REPOSITORY / "docs" / "redis.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"^ACL SETUSER serving .*$", manual, re.MULTILINE)
    world.redis.client.execute_command(*command.split())
    serving = world.redis.url.replace("unix://", "unix://serving:password@")
    monkeypatch.setenv("CHURN_REDIS_URL", serving + database)
    with opened_store(world.database_url) as store:
        lookup = OnlineLookup(store, store.get_feature_service(FEATURE_SERVICE))
        assert [each.as_of for each in lookup.read(["a", "stranger"])] == [F29, None]
        assert lookup.read(["stranger"])[0].as_of is None
    with pytest.raises(OnlineStoreAway, match="NoPermissionError"):
        materialize(M31, world.database_url)
    assert world.served() == SERVED
