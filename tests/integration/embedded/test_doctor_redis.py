"""doctor on a real Redis: the online store, and the queues of Celery workers."""

import subprocess
import sys

import pytest

from bench.processes import redis_server as redis_on_a_port
from churn.features.redis.server import POINTER, open_redis, run
from embedded.operator.doctor import diagnosis
from embedded.operator.doctor.finding import BAD, OK, WARN
from embedded.operator.doctor.online_store import check_online_store
from embedded.operator.doctor.workers import check_workers
from embedded.settings import load_settings
from tests.patience import wait_for
from tests.real_redis import require_redis_server

AWAY = "redis://churn:s3cret@127.0.0.1:1/0"
NO_URL = "redis://churn:s3cret#@host"
"""What is before the # looks like a port, which errors quote."""


@pytest.fixture
def redis(redis_server):
    redis_server.client.flushall()
    yield redis_server
    redis_server.client.config_set("maxmemory-policy", "noeviction")


def test_an_online_store_that_serves_nothing_is_a_warning(redis):
    found = check_online_store(redis.url)
    assert (found.outcome, found.advice) == (WARN, "make trigger AS_OF=<the newest>")


def test_an_online_store_that_serves_an_as_of_is_ok(redis):
    client = open_redis(redis.url, 1, 5)
    run(client, "serve", [POINTER], ["", "streamflow:build:1", "{}", "as_of", "2024-01-31"])
    found = check_online_store(redis.url)
    assert found.outcome == OK
    assert "noeviction, serves AS_OF 2024-01-31" in found.found


def test_an_online_store_that_can_evict_features_is_bad(redis):
    redis.client.config_set("maxmemory-policy", "allkeys-lru")
    found = check_online_store(redis.url)
    assert found.outcome == BAD
    assert "allkeys-lru" in found.found


@pytest.mark.parametrize("url", [AWAY, NO_URL])
def test_an_unreachable_online_store_is_bad_without_its_password(url):
    found = check_online_store(url)
    assert found.outcome == BAD
    assert "CHURN_REDIS_URL" in found.found + found.advice
    assert "s3cret" not in str(found)


def test_the_online_store_is_checked_with_the_stack_down(tmp_path):
    settings = load_settings({"CHURN_HOME": str(tmp_path / "state"), "CHURN_REDIS_URL": AWAY})
    (found,) = [each for each in diagnosis.diagnose(settings) if each.check == "online store"]
    assert found.outcome == BAD


@pytest.mark.parametrize("url", [AWAY, NO_URL])
def test_an_unreachable_broker_is_bad_without_its_password(url):
    found = check_workers(url)
    assert found.outcome == BAD
    assert "CHURN_CELERY_BROKER" in found.found + found.advice
    assert "s3cret" not in str(found)


def test_each_queue_needs_a_worker(tmp_path):
    require_redis_server()
    with redis_on_a_port(tmp_path) as broker:
        assert check_workers(broker).found == "no worker consumes default, training"
        command = [sys.executable, "-m", "celery", "--broker", broker, "worker", "--pool", "solo", "--queues"]
        with subprocess.Popen([*command, "default"], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as worker:
            try:
                wait_for(lambda: check_workers(broker).found == "no worker consumes training", seconds=60)
            finally:
                worker.terminate()
