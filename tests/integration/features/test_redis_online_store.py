"""Failures that only a Redis online store has (lost data, full memory), and concurrent writers."""

from dataclasses import replace

import pytest
import yaml
from feast import FeatureStore

from churn.as_of import event_timestamp
from churn.board import history as board
from churn.features.build import Build, IncompleteBuild
from churn.features.builds import builds_of
from churn.features.column_types import columns_of
from churn.features.lookup import NothingServed, OnlineLookup
from churn.features.materialization import materialize
from churn.features.redis.builds import BUILDS
from churn.features.redis.server import POINTER, OnlineStoreAway
from churn.features.store import FEATURE_REPO, FEATURE_SERVICE, apply_definitions
from churn.outcome import DONE, OLDER, UNCHANGED
from churn.postgres.database import connect
from tests.integration.features.redis_world import D31, F29, M31, SERVED, lookup, snapshots, world
from tests.opened_store import opened_store

__all__ = ["lookup", "snapshots", "world"]
"""Fixtures."""


def test_feast_settings_differ_from_postgres_only_in_the_online_store():
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


def test_switching_back_to_postgres_does_not_serve_its_old_build(world, monkeypatch):
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


def test_many_customers_are_read_in_one_call_in_request_order(world, lookup):
    asked = [user for number in range(5_000) for user in ("a", f"nobody {number}", "b")]
    found = lookup.read(asked)
    assert [each.values.get("months_active") for each in found] == [2, None, 2] * 5_000


def test_foreign_redis_keys_are_left_alone(world):
    world.redis.client.set("streamflower", "somebody's")
    materialize(M31, world.database_url)
    with opened_store(world.database_url) as store:
        store._get_provider().online_store.teardown(store.config, store.list_feature_views(), [])
    assert world.keys() == ["streamflower"]


# --- losing what is served -----------------------------------------------------------------------------------------


def lose_everything(world):
    world.redis.restart()


def lose_a_view(world):
    """Delete a view, like an eviction."""
    (key,) = world.redis.client.scan_iter(match=f"{BUILDS}*:usage_agg_30d_fv")
    world.redis.client.delete(key)


@pytest.mark.parametrize("loss", [lose_everything, lose_a_view])
def test_a_lost_build_is_not_served_and_is_rewritten_by_the_next_materialization(world, loss):
    loss(world)
    with connect(world.database_url) as connection:
        assert builds_of(connection).served() is None
    assert not any(each.is_served for each in board.read_board(world.database_url).dates)
    assert materialize(F29, world.database_url).outcome == DONE
    assert world.served() == SERVED
    assert [each.as_of for each in board.read_board(world.database_url).dates if each.is_served] == [F29]


def test_an_older_date_does_not_replace_a_lost_build(world):
    world.redis.restart()
    assert materialize(D31, world.database_url).outcome == OLDER
    assert world.served() == SERVED


def test_without_a_served_build_a_read_fails_instead_of_finding_nobody(world, lookup):
    assert lookup.read(["stranger"])[0].as_of is None
    world.redis.restart()
    for user in ("a", "stranger"):
        with pytest.raises(NothingServed, match="nothing is served: run churn_materialize"):
            lookup.read([user])


def test_a_build_that_lost_a_view_is_not_served(world, lookup):
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


def test_a_full_redis_keeps_serving_its_build(world):
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
    """Return a complete build that is about to replace the served one."""
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


def test_an_overtaken_build_is_not_served(world):
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


def test_a_deleted_build_is_not_served(world):
    with connect(world.database_url) as connection:
        builds = builds_of(connection)
        build = written(world, connection, M31)
        rows = builds.complete(build)
        builds.clear([])
        with pytest.raises(IncompleteBuild, match="Redis has lost rows of it; run the task again"):
            builds.serve(build, rows)
    assert world.served() == SERVED


def test_all_builds_but_the_served_one_are_deleted(world):
    with connect(world.database_url) as connection:
        builds = builds_of(connection)
        build = written(world, connection, M31)
        builds.serve(build, builds.complete(build))
        assert len(world.keys()) == 1 + 2 * 4
        builds.clear([])
    assert world.served() == {"a": (M31, 3), "b": (M31, 3)}
    assert len(world.keys()) == 1 + 4


def test_a_restored_database_does_not_reuse_a_build_number(world):
    before = set(world.keys())
    with connect(world.database_url, autocommit=True) as connection:
        (number,) = connection.execute("SELECT max(build) FROM online.builds").fetchone()
        connection.execute(f"ALTER TABLE online.builds ALTER COLUMN build RESTART WITH {number}")
        connection.execute("DELETE FROM online.builds")
    assert materialize(M31, world.database_url).outcome == DONE
    assert set(world.keys()) & before == {POINTER}
