"""A materialization into Redis is killed before any act: readers see the old or the new AS_OF, a retry completes it."""

import os
from collections import Counter
from concurrent.futures import Future
from dataclasses import replace
from functools import partial

import pytest
import redis

from tests.conftest import THOROUGH
from tests.integration.fault_injection import Child
from tests.integration.faults.fault_world import (
    F29,
    copy_of,
    everything,
    new_world,
    run_materialize,
    run_up_to,
    run_withdrawal,
    served,
    write_corrected_february,
)
from tests.integration.moments import moments
from tests.integration.online_stores import IN_REDIS

STRIDE = 2 if THOROUGH else 6
"""Of the moments that a materialization can be killed at, one in so many is tried, or in a multiple of it."""


@pytest.fixture(scope="module")
def january(online_store, postgres_url, churn_template, tmp_path_factory):
    """January is served, and February's snapshots are there; with what Redis holds."""
    online_store.empty()
    with new_world(postgres_url, churn_template, tmp_path_factory.mktemp("january")) as world:
        run_up_to(world)
        yield run_up_to(replace(world, as_of=F29), run_materialize), online_store.dump()


@pytest.fixture(scope="module")
def corrected(online_store, postgres_url, churn_template, tmp_path_factory):
    """February is served, its drop was corrected, and the snapshots are of that; with what Redis holds."""
    online_store.empty()
    with new_world(postgres_url, churn_template, tmp_path_factory.mktemp("corrected")) as world:
        february = replace(world, as_of=F29)
        run_up_to(february)
        write_corrected_february(world.landing)
        yield run_up_to(february, run_materialize), online_store.dump()


def in_redis(url, act):
    """Prepare a child whose online store is Redis and whose acts are Redis commands."""
    os.environ["CHURN_REDIS_URL"] = url
    say = redis.Redis.execute_command

    def counted(client, *arguments, **named):
        act(str(arguments[0]))
        return say(client, *arguments, **named)

    redis.Redis.execute_command = counted


@pytest.fixture
def killed_in_redis(children, online_store):
    """A function that kills a step before its n-th Redis command, and returns whether it finished."""

    def run(n, step, world):
        prepare = partial(in_redis, online_store.url)
        lived, _, _ = Child(children, step, world, dies_before=n, prepare=prepare).result()
        return lived

    return run


@pytest.fixture
def killed_in_postgres(children, online_store, wire):
    """The same, before its n-th change in Postgres."""

    def run(n, step, world):
        child = Future()

        def kill():
            child.result().kill()
            return False

        wire.before(n, kill, reads=False)
        through = replace(world, database_url=wire.url(world.database_url))
        child.set_result(Child(children, step, through, prepare=partial(in_redis, online_store.url)))
        lived, _, _ = child.result().result()
        return lived

    return run


@IN_REDIS
@pytest.mark.parametrize(
    ("kill", "step", "start", "stride", "least"),
    [
        ("killed_in_redis", run_materialize, "january", STRIDE, 12),
        ("killed_in_redis", run_materialize, "corrected", 4 * STRIDE, 12),
        ("killed_in_postgres", run_materialize, "january", 8 * STRIDE, 20),
        ("killed_in_redis", run_withdrawal, "corrected", STRIDE, 8),
    ],
    ids=[
        "in Redis, a newer date",
        "in Redis, a corrected drop of the served date",
        "in Postgres, a newer date",
        "in Redis, a withdrawal of the served date",
    ],
)
def test_a_killed_step_serves_old_or_new_and_is_completed_by_the_retry(
    kill, step, start, stride, least, online_store, request, postgres_url, tmp_path
):
    killed, (world, before) = request.getfixturevalue(kill), request.getfixturevalue(start)
    online_store.restore(before)
    old = served(world)
    assert {each.as_of for each in old.values()} != {None}
    with copy_of(world, postgres_url, tmp_path) as undisturbed:
        step(undisturbed)
        new, end, rows = served(undisturbed), everything(undisturbed), held(online_store)
    assert old != new
    for n in moments(stride):
        online_store.restore(before)
        with copy_of(world, postgres_url, tmp_path) as mortal:
            lived = killed(n, step, mortal)
            assert served(mortal) in ([new] if lived else [old, new])
            step(mortal)
            assert served(mortal) == new
            assert everything(mortal) == end
            assert held(online_store) == rows
        if lived:
            break
    assert n > least


def held(online_store):
    """Return the number of hashes of each view and of their rows: remains of a dead run would add to it."""
    return Counter((key.rsplit(":", 1)[1], online_store.client.hlen(key)) for key in online_store.client.scan_iter())
