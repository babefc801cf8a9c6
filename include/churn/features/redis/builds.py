"""Builds of the online store in Redis: one hash per feature view and build, and one pointer.

    streamflow:served                                       the pointer: a hash with the served build's name, AS_OF,
                                                            drop, code, rows and columns
    streamflow:build:<number>@<begun at>:<feature view>     {user_id: the features as a JSON array}

Redis alone decides which build is served, by atomic scripts:

    read     reads the pointer and, if its build is whole, the rows of every requested view. A read sees one build.
    serve    moves the pointer if it still names the build that was served when this one began, and if each hash has as
             many rows as its snapshot. So an older AS_OF cannot replace a newer one, even by a process that lost its
             lock, and a build that lost rows is not served.
    served   returns the pointer if its build is whole. An emptied Redis serves nothing.
    serve_no_longer  removes the pointer if it names that build, whose AS_OF was withdrawn with none left to serve.
    clear    unlinks the hashes of every other build.
    forget   removes customers from the hashes, and counts the rows of the served build again.

A materialization killed before `serve` leaves the old build served. Killed after it, the new build is served, and the
next run completes the record in Postgres. Build names include the start time, because a restored database reuses
numbers. After a switch to Redis the build in Postgres is no longer served: switching back gives an error instead of
stale features.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from functools import cache

from redis import Redis

from churn.features.build import Build, IncompleteBuild, Served
from churn.features.redis.server import POINTER, PREFIX, failing_as_the_store, open_redis, run
from churn.postgres.database import Connection, execute

BUILDS = f"{PREFIX}:build:"
PATIENCE_SECONDS = 5.0
"""Timeout of writes and of requests for the served build; reads of features have a shorter one."""


def name_of(number: int, begun_at: datetime) -> str:
    """Return the prefix of a build's keys, without the colon before the feature view."""
    return f"{BUILDS}{number}@{begun_at.astimezone(UTC):%Y%m%dT%H%M%S.%f}"


@cache
def client_of(url: str) -> Redis:
    """Return this process's client for everything but reading features."""
    return open_redis(url, max_connections=8, timeout_seconds=PATIENCE_SECONDS)


def read_served(client: Redis) -> dict[str, str]:
    """Return the pointer's fields, {} if nothing is served."""
    found = [each.decode() for each in run(client, "served", [POINTER], [], reads=True)]
    return dict(zip(found[::2], found[1::2], strict=True))


class RedisBuilds:
    """The builds in the Redis at `url`, recorded in the database of the connection."""

    def __init__(self, url: str, connection: Connection) -> None:
        self._client = client_of(url)
        self._connection = connection

    def served(self) -> Served | None:
        with failing_as_the_store():
            said = read_served(self._client)
        if not said:
            return None
        return Served(
            build=said["build"],
            as_of=date.fromisoformat(said["as_of"]),
            drop_digest=said["drop_digest"],
            code_digest=said["code_digest"],
            rows=json.loads(said["rows"]),
        )

    def begin(self, build: Build) -> None:
        """Nothing to prepare: a hash is created with its first row."""

    def complete(self, build: Build) -> dict[str, int]:
        with failing_as_the_store():
            name = name_of(build.number, build.begun_at)
            return {view: self._client.execute_command("HLEN", f"{name}:{view}") for view in build.views}

    def serve(self, build: Build, rows: Mapping[str, int]) -> None:
        before = build.replaces.build if build.replaces else ""
        said = {
            "as_of": build.as_of.isoformat(),
            "drop_digest": build.drop_digest,
            "code_digest": build.code_digest,
            "columns": json.dumps(build.views),
            "number": build.number,
            "begun_at": build.begun_at.isoformat(),
            "published_at": datetime.now(UTC).isoformat(),
        }
        arguments = [before, name_of(build.number, build.begun_at), json.dumps(rows)]
        with failing_as_the_store():
            answer = run(self._client, "serve", [POINTER], [*arguments, *(x for pair in said.items() for x in pair)])
        if answer != b"served":
            why = "another build was served meanwhile" if answer == b"overtaken" else "Redis has lost rows of it"
            raise IncompleteBuild(f"the build of {build.as_of} is not served: {why}; run the task again")

    def serve_nothing(self, served: Served) -> None:
        with failing_as_the_store():
            run(self._client, "serve_no_longer", [POINTER], [served.build])

    def clear(self, views: Iterable[str]) -> None:  # noqa: ARG002 — builds of removed views are cleared too
        with failing_as_the_store():
            said = read_served(self._client)
            found = sorted(self._client.scan_iter(match=f"{BUILDS}*", count=1000))
            run(self._client, "clear", [POINTER, *found], [])
        if said:
            # A materialization killed after `serve` did not record it.
            execute(
                self._connection,
                "online/mark_published",
                {"build": said["number"], "begun_at": said["begun_at"], "rows": said["rows"]},
            )
            execute(self._connection, "online/serve_nothing")


FORGOTTEN_AT_ONCE = 1000
"""Customers per call of `forget`: Redis serves nobody else while a script runs."""


def forget(url: str, users: Sequence[str], drop_digests: Mapping[str, str]) -> tuple[int, int]:
    """Remove customers from every build, served or not; return the number of hashes and the removed rows.

    Args:
        drop_digests: the digest of its drop by the number of a build, which the pointer then names.
    """
    client = client_of(url)
    with failing_as_the_store():
        keys = sorted(client.scan_iter(match=f"{BUILDS}*", count=1000))
        number = read_served(client).get("number", "")
        removed = 0
        for begin in range(0, len(users), FORGOTTEN_AT_ONCE):
            some = users[begin : begin + FORGOTTEN_AT_ONCE]
            removed += run(client, "forget", [POINTER, *keys], [drop_digests.get(number, ""), *some])
    return len(keys), removed


def held_in_redis(url: str, user: str) -> dict[str, list[object]]:
    """Return the features of a customer in every build, by key."""
    client = client_of(url)
    with failing_as_the_store():
        keys = sorted(client.scan_iter(match=f"{BUILDS}*", count=1000))
        found = {key.decode(): client.execute_command("HGET", key, user) for key in keys}
    return {key: json.loads(value) for key, value in found.items() if value is not None}
