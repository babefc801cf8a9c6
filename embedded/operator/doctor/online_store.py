"""The online store, where it is a Redis: that it answers, can hold what it is given, and what it serves."""

from collections.abc import Mapping

from churn.features.redis.builds import PATIENCE_SECONDS, read_served
from churn.features.redis.server import OnlineStoreAway, failing_as_the_store, open_redis
from embedded.operator.doctor.finding import Finding, bad, ok, warn

CHECK = "online store"
OLDEST = 7
"""The first version of Redis that knows scripts which only read."""


def check_online_store(url: str) -> Finding:
    """Ask the Redis at `url`, whether or not the stack runs."""
    try:
        client = open_redis(url, max_connections=1, timeout_seconds=PATIENCE_SECONDS)
        with failing_as_the_store():
            about = client.execute_command("INFO")
            return judge_server(about) or judge_served(about, read_served(client))
    except OnlineStoreAway as error:
        return bad(CHECK, str(error), "start that Redis, or correct CHURN_REDIS_URL; serving answers 503 until then")
    except ValueError:  # its text quotes the URL, of which some is the password
        return bad(CHECK, "CHURN_REDIS_URL is not the URL of a Redis", "correct it: docs/redis.md shows some")


def judge_server(about: Mapping[str, object]) -> Finding | None:
    """Judge what Redis says of itself; None where nothing is wrong with it."""
    if int(str(about["redis_version"]).partition(".")[0]) < OLDEST:
        return bad(CHECK, _server(about), f"Redis {OLDEST} or newer is needed: name another in CHURN_REDIS_URL")
    if str(about["maxmemory_policy"]).startswith("allkeys"):
        return bad(
            CHECK,
            f"{_server(about)}: it may evict a feature view of every customer",
            "CONFIG SET maxmemory-policy noeviction, and the same in its redis.conf: docs/redis.md",
        )
    return None


def judge_served(about: Mapping[str, object], served: Mapping[str, str]) -> Finding:
    """Judge what the pointer says; it says nothing where nothing is served, or not all that was."""
    if not served:
        return warn(CHECK, f"{_server(about)}, serves nothing: /predict answers 503", "make trigger AS_OF=the newest")
    return ok(CHECK, f"{_server(about)}, serves AS_OF {served['as_of']}")


def _server(about: Mapping[str, object]) -> str:
    return f"Redis {about['redis_version']}, {about['maxmemory_policy']}"
