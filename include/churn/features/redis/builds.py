"""Builds of the online store in Redis: a hash for each feature view and build, and one pointer.

    streamflow:served                                       the pointer: a hash that names the served build and says
                                                            its AS_OF, drop, code, rows, and how its rows lie
    streamflow:build:<number>@<begun at>:<feature view>     {user_id: the features as a JSON array}

Redis alone says what is served, by scripts that it runs as one act each:

    read     the pointer, and by it the rows of every view asked for, when its build is whole: never of two builds, and
             nobody is still reading a build when another is served.
    serve    moves the pointer when it still names the build that was served when this one was begun, and when each hash
             has as many rows as its snapshot. So an older AS_OF never replaces a newer one, not even by a process that
             lost its lock; and a Redis that lost rows of the build meanwhile does not serve it.
    served   what the pointer says, when its build is whole. A Redis that was emptied serves nothing, and says so.
    serve_no_longer  removes the pointer when it names that build, whose AS_OF was withdrawn with none left to serve.
    clear    unlinks the hashes of every other build.

Killed before `serve`, a materialization leaves the old build served; killed after it, the new one, and the next
completes the record in Postgres. A build is named by its number and by when it was begun, since a database that was
restored counts again from an earlier number. What Postgres served before it is served no more: who goes back to it is
told so, and not answered with what has grown old meanwhile.
"""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from functools import cache

from redis import Redis

from churn.features.builds import Build, IncompleteBuild, Served
from churn.features.redis.server import POINTER, PREFIX, failing_as_the_store, open_redis, run
from churn.postgres.database import Connection, execute

BUILDS = f"{PREFIX}:build:"
PATIENCE_SECONDS = 5.0
"""How long who writes, or asks what is served, waits for an answer; who reads features waits less."""


def name_of(number: int, begun_at: datetime) -> str:
    """Return how the keys of a build begin, up to the colon before the feature view."""
    return f"{BUILDS}{number}@{begun_at.astimezone(UTC):%Y%m%dT%H%M%S.%f}"


@cache
def client_of(url: str) -> Redis:
    """Return this process' client of the Redis at `url` for all but reading features."""
    return open_redis(url, max_connections=8, timeout_seconds=PATIENCE_SECONDS)


def read_served(client: Redis) -> dict[str, str]:
    """Return what the pointer says, {} where nothing is served."""
    found = [each.decode() for each in run(client, "served", [POINTER], [], reads=True)]
    return dict(zip(found[::2], found[1::2], strict=True))


class RedisBuilds:
    """The builds in the Redis at `url`, on record in the database of the connection."""

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
        """A hash begins with its first row."""

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

    def clear(self, views: Iterable[str]) -> None:  # noqa: ARG002 — views that are no more are cleared away too
        with failing_as_the_store():
            said = read_served(self._client)
            found = sorted(self._client.scan_iter(match=f"{BUILDS}*", count=1000))
            run(self._client, "clear", [POINTER, *found], [])
        if said:
            # Who died between serving a build and recording it left that to us.
            execute(
                self._connection,
                "online/mark_published",
                {"build": said["number"], "begun_at": said["begun_at"], "rows": said["rows"]},
            )
            execute(self._connection, "online/serve_nothing")
