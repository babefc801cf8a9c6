"""What only Redis can do to an online store: lose what it holds, fill up, fall silent. And who writes it as another
does."""

import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import date
from functools import partial

import psycopg
import pytest
import yaml
from feast import FeatureStore
from handmade_drops import take_in, write_drop
from opened_store import opened_store

from churn import board
from churn.as_of import event_timestamp
from churn.database import connect
from churn.features import FEATURE_REPO, FEATURE_SERVICE, apply_definitions, read_online
from churn.materialization import IncompleteBuild, materialize
from churn.online_builds import Build, builds_of
from churn.online_lookup import NothingServed, OnlineLookup
from churn.online_tables import columns_of
from churn.outcome import DONE, OLDER, UNCHANGED
from churn.redis_builds import BUILDS
from churn.redis_server import POINTER, OnlineStoreAway
from tests.conftest import REPOSITORY
from tests.real_redis import RealRedis, running_redis

D31, F29, M31 = date(2024, 1, 31), date(2024, 2, 29), date(2024, 3, 31)
DATES = (D31, F29, M31)
SERVED = {"a": (F29, 2), "b": (F29, 2)}


@dataclass(frozen=True)
class World:
    """A Redis of the module's own and a database with the snapshots of three dates: customers with 1, 2 and 3
    months."""

    redis: RealRedis
    database_url: str

    def served(self):
        """Return {customer: (AS_OF, months)} of those who are served."""
        with opened_store(self.database_url) as store:
            found = read_online(store, store.get_feature_service(FEATURE_SERVICE), ["a", "b"])
        known = zip("ab", found, strict=True)
        return {user: (each.as_of, each.values["months_active"]) for user, each in known if not each.missing}

    def keys(self):
        return sorted(self.redis.client.scan_iter())


@pytest.fixture(scope="module")
def snapshots(shared_database_url, tmp_path_factory):
    directory = tmp_path_factory.mktemp("snapshots")
    for months, as_of in enumerate(DATES, 1):
        drop = write_drop(directory / "landing", as_of, {user: {"months_active": str(months)} for user in "ab"})
        take_in(drop, shared_database_url, directory / "archive")
    with running_redis() as redis, pytest.MonkeyPatch.context() as environment:
        environment.setenv("CHURN_REDIS_URL", redis.url)
        apply_definitions(shared_database_url)
        yield World(redis, shared_database_url)


@pytest.fixture
def world(snapshots):
    """January was served, and February is."""
    snapshots.redis.client.flushall()
    with connect(snapshots.database_url) as connection:
        connection.execute("DELETE FROM online.served")
        connection.execute("DELETE FROM online.builds")
    for as_of in (D31, F29):
        materialize(as_of, snapshots.database_url)
    return snapshots


@pytest.fixture
def lookup(world):
    with opened_store(world.database_url) as store:
        yield OnlineLookup(store, store.get_feature_service(FEATURE_SERVICE))


def test_its_settings_are_those_of_postgres_but_for_the_online_store():
    ours, other = (
        yaml.safe_load((FEATURE_REPO / name).read_text(encoding="utf-8"))
        for name in ("feature_store.redis.yaml", "feature_store.yaml")
    )
    assert {key for key in ours.keys() | other.keys() if ours.get(key) != other.get(key)} == {"online_store"}


def test_definitions_are_applied_again_when_the_online_store_is_another(world, monkeypatch):
    assert apply_definitions(world.database_url).outcome == UNCHANGED
    monkeypatch.delenv("CHURN_REDIS_URL")
    assert apply_definitions(world.database_url).outcome == DONE
    monkeypatch.setenv("CHURN_REDIS_URL", world.redis.url)
    assert apply_definitions(world.database_url).outcome == DONE


def test_who_goes_back_to_postgres_is_not_answered_with_what_it_served_before(world, monkeypatch):
    monkeypatch.delenv("CHURN_REDIS_URL")
    apply_definitions(world.database_url)
    materialize(F29, world.database_url)
    with monkeypatch.context() as there:
        there.setenv("CHURN_REDIS_URL", world.redis.url)
        apply_definitions(world.database_url)
        materialize(M31, world.database_url)
    with opened_store(world.database_url) as store:
        lookup = OnlineLookup(store, store.get_feature_service(FEATURE_SERVICE))
        with pytest.raises(NothingServed):
            lookup.read(["a"])
    assert materialize(D31, world.database_url).outcome == OLDER
    assert world.served() == {"a": (M31, 3), "b": (M31, 3)}


def test_many_customers_are_read_in_one_question_in_the_order_asked(world, lookup):
    asked = [user for number in range(5_000) for user in ("a", f"nobody {number}", "b")]
    found = lookup.read(asked)
    assert [each.values.get("months_active") for each in found] == [2, None, 2] * 5_000


def test_what_is_not_ours_is_left_alone(world):
    world.redis.client.set("streamflower", "somebody's")
    materialize(M31, world.database_url)
    with opened_store(world.database_url) as store:
        store._get_provider().online_store.teardown(store.config, store.list_feature_views(), [])
    assert world.keys() == ["streamflower"]


# --- losing what is served -----------------------------------------------------------------------------------------


def lose_everything(world):
    world.redis.restart()


def lose_a_view(world):
    """As an eviction does."""
    (key,) = world.redis.client.scan_iter(match=f"{BUILDS}*:usage_agg_30d_fv")
    world.redis.client.delete(key)


@pytest.mark.parametrize("loss", [lose_everything, lose_a_view])
def test_what_was_lost_is_not_served_and_is_written_again_by_the_next_materialization(world, loss):
    loss(world)
    with connect(world.database_url) as connection:
        assert builds_of(connection).served() is None
    assert not any(each.is_served for each in board.read_board(world.database_url).dates)
    assert materialize(F29, world.database_url).outcome == DONE
    assert world.served() == SERVED
    assert [each.as_of for each in board.read_board(world.database_url).dates if each.is_served] == [F29]


def test_an_older_date_does_not_take_the_place_of_what_was_lost(world):
    world.redis.restart()
    assert materialize(D31, world.database_url).outcome == OLDER
    assert world.served() == SERVED


def test_nobody_is_called_unknown_while_nothing_is_served(world, lookup):
    assert lookup.read(["stranger"])[0].as_of is None
    world.redis.restart()
    for user in ("a", "stranger"):
        with pytest.raises(NothingServed, match="nothing is served: run churn_materialize"):
            lookup.read([user])


def test_nobody_is_answered_from_what_redis_still_has_of_a_build_that_lost_a_view(world, lookup):
    lose_a_view(world)
    for user in ("a", "stranger"):
        with pytest.raises(NothingServed, match="nothing is served: run churn_materialize"):
            lookup.read([user])


def test_a_redis_that_is_restarted_while_a_build_is_written_does_not_serve_half_of_it(world, monkeypatch):
    write = FeatureStore.materialize

    def half(store, start, end, feature_views):
        write(store, start, end, feature_views[:2])
        world.redis.restart()
        write(store, start, end, feature_views[2:])

    with monkeypatch.context() as patched:
        patched.setattr(FeatureStore, "materialize", half)
        with pytest.raises(IncompleteBuild, match="has 0 rows of 2024-03-31 and its snapshot 2"):
            materialize(M31, world.database_url)
    assert world.served() == {}
    assert materialize(M31, world.database_url).outcome == DONE


def test_a_full_redis_goes_on_serving_what_it_served(world):
    used = world.redis.client.info("memory")["used_memory"]
    world.redis.client.config_set("maxmemory", used // 2)
    try:
        with pytest.raises(OnlineStoreAway, match="OutOfMemoryError"):
            materialize(M31, world.database_url)
        assert world.served() == SERVED
    finally:
        world.redis.client.config_set("maxmemory", 0)
    assert materialize(M31, world.database_url).outcome == DONE


# --- who lost its lock ---------------------------------------------------------------------------------------------


def written(world, connection, as_of):
    """Return a build that is ready to be served, written as one that is to replace what is served now."""
    builds = builds_of(connection)
    number, begun_at = connection.execute(
        "INSERT INTO online.builds (as_of, drop_digest, code_digest, state) VALUES (%s, 'd', 'c', 'writing')"
        " RETURNING build, begun_at",
        [as_of],
    ).fetchone()
    connection.commit()
    with opened_store(world.database_url) as store:
        views = store.list_feature_views()
        online = store._get_provider().online_store
        for view in views:
            online.copy_snapshot(store.config, view, event_timestamp(as_of))
    return Build(number, begun_at, as_of, "d", "c", {view.name: columns_of(view) for view in views}, builds.served())


def test_a_build_that_was_overtaken_is_not_served_whatever_its_date(world):
    with connect(world.database_url) as connection:
        builds = builds_of(connection)
        late = written(world, connection, F29)
        rows = builds.complete(late)
        newer = written(world, connection, M31)
        builds.serve(newer, builds.complete(newer))
        for build in (late, replace(late, replaces=None)):
            with pytest.raises(IncompleteBuild, match="another build was served meanwhile; run the task again"):
                builds.serve(build, rows)
    assert world.served() == {"a": (M31, 3), "b": (M31, 3)}


def test_a_build_that_another_has_cleared_away_is_not_served(world):
    with connect(world.database_url) as connection:
        builds = builds_of(connection)
        build = written(world, connection, M31)
        rows = builds.complete(build)
        builds.clear([])
        with pytest.raises(IncompleteBuild, match="Redis has lost rows of it; run the task again"):
            builds.serve(build, rows)
    assert world.served() == SERVED


def test_the_served_build_is_left_and_every_other_cleared_away(world):
    with connect(world.database_url) as connection:
        builds = builds_of(connection)
        build = written(world, connection, M31)
        builds.serve(build, builds.complete(build))
        assert len(world.keys()) == 1 + 2 * 4
        builds.clear([])
    assert world.served() == {"a": (M31, 3), "b": (M31, 3)}
    assert len(world.keys()) == 1 + 4


def test_a_database_that_was_restored_counts_again_and_meets_no_build_of_that_number(world):
    before = set(world.keys())
    with connect(world.database_url, autocommit=True) as connection:
        (number,) = connection.execute("SELECT max(build) FROM online.builds").fetchone()
        connection.execute(f"ALTER TABLE online.builds ALTER COLUMN build RESTART WITH {number}")
        connection.execute("DELETE FROM online.builds")
    assert materialize(M31, world.database_url).outcome == DONE
    assert set(world.keys()) & before == {POINTER}


# --- connections ---------------------------------------------------------------------------------------------------


def test_connections_that_the_server_dropped_are_replaced_without_failing_a_read(world, lookup):
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


def test_a_redis_that_does_not_answer_is_given_up_as_postgres_is_and_read_from_again_when_it_does(world, lookup):
    with opened_store(world.database_url) as store:
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


def test_the_password_of_a_url_is_not_told(world, monkeypatch):
    monkeypatch.setenv("CHURN_REDIS_URL", "redis://churn:s3cret@127.0.0.1:1/0")
    with connect(world.database_url) as connection, pytest.raises(OnlineStoreAway) as raised:
        builds_of(connection).served()
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize("database", ["", "?db=1"], ids=["in the first database", "in another"])
def test_the_user_of_the_manual_can_read_and_no_more(world, monkeypatch, database):
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
