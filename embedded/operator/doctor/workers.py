"""Checks of Celery: the broker answers, and each queue has a worker."""

from collections import Counter
from collections.abc import Mapping, Sequence

from redis import Redis
from redis.exceptions import RedisError

from embedded.operator.doctor.finding import Finding, bad, ok, some

CHECK = "Celery"
QUEUES = ("default", "training")
SPARK_QUEUE = "spark"
"""Of the tasks that use Spark, with CHURN_OFFLINE=spark."""
PATIENCE_SECONDS = 3.0
"""Time for workers to answer, which they do at once even while they run a task."""


def check_workers(broker: str, *, spark: bool = False) -> Finding:
    """Check the broker, and through it every worker.

    Args:
        spark: CHURN_OFFLINE is spark.
    """
    try:
        return judge_workers(_workers_of_queues(broker), (*QUEUES, SPARK_QUEUE) if spark else QUEUES)
    except RedisError as error:
        found = f"the broker does not answer: {type(error).__name__}: {error}"
        return bad(CHECK, found, "start that Redis, or correct CHURN_CELERY_BROKER: no task starts until then")
    except ValueError:  # its text quotes the URL with the password
        return bad(CHECK, "CHURN_CELERY_BROKER is not the URL of a Redis", "correct it: docs/cluster.md shows one")


def judge_workers(workers: Mapping[str, int], queues: Sequence[str] = QUEUES) -> Finding:
    """Judge the number of workers of each queue."""
    if idle := [queue for queue in queues if not workers.get(queue)]:
        return bad(CHECK, f"no worker consumes {some(idle)}", "start one (docs/cluster.md); its tasks wait until then")
    return ok(CHECK, "workers: " + ", ".join(f"{workers[queue]} for {queue}" for queue in queues))


def _workers_of_queues(broker: str) -> Counter[str]:
    with Redis.from_url(broker, socket_connect_timeout=PATIENCE_SECONDS, socket_timeout=PATIENCE_SECONDS) as client:
        client.ping()  # raises at once; Celery would retry
    from celery import Celery  # type: ignore[import-untyped]  # noqa: PLC0415 — needed only with workers

    app = Celery(broker=broker, set_as_current=False)
    answered = app.control.inspect(timeout=PATIENCE_SECONDS).active_queues() or {}
    return Counter(queue["name"] for queues in answered.values() for queue in queues)
