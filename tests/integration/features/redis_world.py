"""A Redis online store per test module, and a database with the snapshots of three dates."""

from dataclasses import dataclass
from datetime import date

import pytest

from churn.features.lookup import OnlineLookup
from churn.features.materialization import materialize
from churn.features.store import FEATURE_SERVICE, apply_definitions, read_online
from churn.postgres.database import connect
from tests.handmade_drops import take_in, write_drop
from tests.opened_store import opened_store
from tests.real_redis import RealRedis, running_redis

D31, F29, M31 = date(2024, 1, 31), date(2024, 2, 29), date(2024, 3, 31)
DATES = (D31, F29, M31)
SERVED = {"a": (F29, 2), "b": (F29, 2)}


@dataclass(frozen=True)
class World:
    """A Redis per module, and a database with the snapshots of three dates: customers with 1, 2 and 3 months."""

    redis: RealRedis
    database_url: str

    def served(self):
        """Return {customer: (AS_OF, months)} of the served customers."""
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
    with opened_store(world.database_url, patience_seconds=0.7) as store:
        yield OnlineLookup(store, store.get_feature_service(FEATURE_SERVICE))
