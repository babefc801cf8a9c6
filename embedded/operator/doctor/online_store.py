"""Checks of a Redis online store: the server, its eviction policy, and the served AS_OF."""

from collections.abc import Mapping

from churn.features.redis.builds import PATIENCE_SECONDS, read_served
from churn.features.redis.server import OnlineStoreAway, failing_as_the_store, open_redis
from embedded.operator.doctor.finding import Finding, bad, ok, warn

CHECK = "online store"
OLDEST = 7
"""The first version of Redis with read-only scripts."""


def check_online_store(url: str) -> Finding:
    """Check the Redis at `url`; the stack need not run."""
    try:
        client = open_redis(url, max_connections=1, timeout_seconds=PATIENCE_SECONDS)
        with failing_as_the_store():
            about = client.execute_command("INFO")
            return judge_server(about) or judge_served(about, read_served(client))
    except OnlineStoreAway as error:
        return bad(CHECK, str(error), "start that Redis, or correct CHURN_REDIS_URL; serving answers 503 until then")
    except ValueError:  # its text quotes the URL with the password
        return bad(CHECK, "CHURN_REDIS_URL is not the URL of a Redis", "correct it: docs/redis.md has examples")


def judge_server(about: Mapping[str, object]) -> Finding | None:
    """Judge the INFO of Redis; None if nothing is wrong."""
    if int(str(about["redis_version"]).partition(".")[0]) < OLDEST:
        return bad(CHECK, _server(about), f"Redis {OLDEST} or newer is needed: name another in CHURN_REDIS_URL")
    if str(about["maxmemory_policy"]).startswith("allkeys"):
        return bad(
            CHECK,
            f"{_server(about)}: it can evict a whole feature view",
            "CONFIG SET maxmemory-policy noeviction, and the same in its redis.conf: docs/redis.md",
        )
    return None


def judge_served(about: Mapping[str, object], served: Mapping[str, str]) -> Finding:
    """Judge the pointer, which is empty if no build is served or a part of it is missing."""
    if not served:
        return warn(CHECK, f"{_server(about)}, serves nothing: /predict answers 503", "make trigger AS_OF=<the newest>")
    return ok(CHECK, f"{_server(about)}, serves AS_OF {served['as_of']}")


def _server(about: Mapping[str, object]) -> str:
    return f"Redis {about['redis_version']}, {about['maxmemory_policy']}"
