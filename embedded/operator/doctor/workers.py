"""Celery, where tasks go to workers: that its broker answers, and that each queue has a worker."""

from collections import Counter
from collections.abc import Mapping

from redis import Redis
from redis.exceptions import RedisError

from embedded.operator.doctor.finding import Finding, bad, ok, some

CHECK = "Celery"
QUEUES = ("default", "training")
PATIENCE_SECONDS = 3.0
"""How long workers have to answer; they do at once, also while they are at a task."""


def check_workers(broker: str) -> Finding:
    """Ask the broker, and through it every worker."""
    try:
        return judge_workers(_workers_of_queues(broker))
    except RedisError as error:
        found = f"the broker cannot be asked: {type(error).__name__}: {error}"
        return bad(CHECK, found, "start that Redis, or correct CHURN_CELERY_BROKER: no task begins until then")
    except ValueError:  # its text quotes the URL, of which some is the password
        return bad(CHECK, "CHURN_CELERY_BROKER is not the URL of a Redis", "correct it: docs/cluster.md shows one")


def judge_workers(workers: Mapping[str, int]) -> Finding:
    """Judge how many workers take from each queue."""
    if idle := [queue for queue in QUEUES if not workers.get(queue)]:
        return bad(
            CHECK, f"no worker takes from {some(idle)}", "start one: docs/cluster.md; tasks wait there until then"
        )
    return ok(CHECK, "workers: " + ", ".join(f"{workers[queue]} for {queue}" for queue in QUEUES))


def _workers_of_queues(broker: str) -> Counter[str]:
    with Redis.from_url(broker, socket_connect_timeout=PATIENCE_SECONDS, socket_timeout=PATIENCE_SECONDS) as client:
        # Celery would try again and again.
        client.ping()
    from celery import Celery  # type: ignore[import-untyped]  # noqa: PLC0415 — only who has workers needs it

    app = Celery(broker=broker, set_as_current=False)
    answered = app.control.inspect(timeout=PATIENCE_SECONDS).active_queues() or {}
    return Counter(queue["name"] for queues in answered.values() for queue in queues)
