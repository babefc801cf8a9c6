"""The same answers where Redis is the online store."""

import time

import pytest

from churn.features.materialization import materialize
from serving import state
from serving.app import create_app
from serving.settings import Settings
from tests.integration.serving.shared_service.asking import AS_OF, predict


@pytest.fixture
def redis_client(redis_server, database_url, in_production, registry, monkeypatch):
    """A client of a service whose features are in Redis; meanwhile Postgres serves none."""
    monkeypatch.setenv("CHURN_REDIS_URL", redis_server.url)
    redis_server.restart()
    materialize(AS_OF, database_url)
    in_redis = create_app(Settings(database_url, registry.tracking_uri))
    state.of(in_redis).model.poll()
    yield in_redis.test_client()
    monkeypatch.delenv("CHURN_REDIS_URL")
    materialize(AS_OF, database_url)


@pytest.fixture
def from_postgres(app, client, customers, in_production):
    """What is answered about everybody, and a stranger, from Postgres."""
    state.of(app).model.poll()
    return client.post("/predict/batch", json={"user_ids": [*customers.index, "999999"]}).json


def test_answers_are_the_same_from_redis(from_postgres, redis_client, customers):
    answer = redis_client.post("/predict/batch", json={"user_ids": [*customers.index, "999999"]}).json
    assert answer == from_postgres
    assert len(answer["results"]) == 301


def test_a_redis_that_lost_everything_is_told_from_customers_whom_nobody_knows(
    redis_client, redis_server, database_url, somebody
):
    redis_server.restart()
    status, answer = predict(redis_client, somebody)
    assert (status, answer["type"]) == (503, "feature-store-unavailable")
    assert "nothing is served: run churn_materialize" in answer["detail"]
    ready = redis_client.get("/health/ready")
    assert (ready.status_code, "nothing is served" in ready.json["detail"]) == (503, True)
    materialize(AS_OF, database_url)
    assert predict(redis_client, somebody)[0] == redis_client.get("/health/ready").status_code == 200


def test_a_redis_that_does_not_answer_is_given_up_within_a_second(redis_client, redis_server, somebody):
    assert predict(redis_client, somebody)[0] == 200
    with redis_server.silent():
        started = time.monotonic()
        status, answer = predict(redis_client, somebody)
        assert time.monotonic() - started < 1
    assert (status, answer["type"]) == (503, "feature-store-unavailable")
    assert predict(redis_client, somebody)[0] == 200
