"""When one waits for a database that does not answer, and when nobody does."""

import psycopg
import pytest

from churn.features.store import OnlineFeatures
from serving import features
from serving.features import OnlineStore
from serving.problems import Problem

URL = "postgresql://nobody@127.0.0.1:1/churn"


class Service:
    name = "churn_v1"


class Lookup:
    """Reads fail while `away`; `reads` counts those that were tried."""

    def __init__(self):
        self.away, self.reads, self.service = False, 0, Service()

    def read(self, user_ids):
        self.reads += 1
        if self.away:
            raise psycopg.OperationalError("no answer within the time of a read")
        return [OnlineFeatures({}, (user,), None) for user in user_ids]


@pytest.fixture
def lookup():
    return Lookup()


@pytest.fixture
def store(monkeypatch):
    monkeypatch.setattr(features, "_PAUSE_SECONDS", 60)
    return OnlineStore(URL)


def fail(store, lookup):
    with pytest.raises(Problem) as failed:
        store.read(lookup, ["a"])
    assert failed.value.type == "feature-store-unavailable"


def test_one_slow_answer_keeps_nobody_else_from_asking(store, lookup):
    lookup.away = True
    fail(store, lookup)
    lookup.away = False
    assert len(store.read(lookup, ["a"])) == 1


def test_after_two_failures_in_a_row_nobody_waits_for_the_next(store, lookup):
    lookup.away = True
    for _ in range(5):
        fail(store, lookup)
    assert lookup.reads == 2


def test_what_is_back_is_found_by_the_first_who_asks_after_the_pause(store, lookup, monkeypatch):
    lookup.away = True
    fail(store, lookup)
    monkeypatch.setattr(features, "_PAUSE_SECONDS", 0)
    fail(store, lookup)
    lookup.away = False
    assert len(store.read(lookup, ["a"])) == 1


def test_failures_with_an_answer_between_them_are_no_outage(store, lookup):
    for _ in range(3):
        lookup.away = True
        fail(store, lookup)
        lookup.away = False
        store.read(lookup, ["a"])
    assert lookup.reads == 6
