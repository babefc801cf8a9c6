"""The online stores, and changes to them behind the pipeline's back."""

import re
from collections import Counter

import pytest
import redis

from churn.features.redis.builds import BUILDS
from churn.features.redis.server import POINTER
from churn.postgres.database import connect


class InPostgres:
    """The online store in the database itself."""

    def empty(self) -> None:
        """A new database holds nothing."""

    def builds_left(self, database_url: str) -> dict[str, int]:
        """Return the number of builds with data, by view."""
        with connect(database_url) as connection:
            found = connection.execute(
                "SELECT relname FROM pg_class WHERE relnamespace = 'online'::regnamespace AND relkind = 'r'"
                " AND relname ~ '_fv_[0-9]+$'"
            ).fetchall()
        return Counter(re.sub(r"_\d+$", "", name) for (name,) in found)

    def serve_nothing(self, database_url: str) -> None:
        with connect(database_url) as connection:
            connection.execute("TRUNCATE online.served")

    def lose_a_row(self, database_url: str, view: str, user: str) -> None:
        """Delete a row of the build that is being written."""
        with connect(database_url) as connection:
            (build,) = connection.execute("SELECT build FROM online.builds WHERE state = 'writing'").fetchone() or (0,)
            assert connection.execute(f"DELETE FROM online.{view}_{build} WHERE user_id = '{user}'").rowcount == 1


class InRedis:
    """The online store in a Redis."""

    def __init__(self, url: str):
        self.url = url
        self.client = redis.Redis.from_url(url, decode_responses=True)
        self._raw = redis.Redis.from_url(url)

    def empty(self) -> None:
        self.client.flushdb()

    def dump(self) -> dict[bytes, bytes]:
        """Return the whole content."""
        return {key: self._raw.dump(key) for key in self._raw.scan_iter()}

    def restore(self, content: dict[bytes, bytes]) -> None:
        """Replace the content with the result of dump()."""
        self.empty()
        for key, value in content.items():
            self._raw.restore(key, 0, value)

    def builds_left(self, database_url: str) -> dict[str, int]:
        return Counter(key.rsplit(":", 1)[1] for key in self.client.scan_iter(match=f"{BUILDS}*"))

    def serve_nothing(self, database_url: str) -> None:
        self.client.delete(POINTER)

    def lose_a_row(self, database_url: str, view: str, user: str) -> None:
        served = self.client.hget(POINTER, "build")
        (key,) = [key for key in self.client.scan_iter(match=f"{BUILDS}*:{view}") if not key.startswith(f"{served}:")]
        assert self.client.hdel(key, user) == 1


OnlineStore = InPostgres | InRedis

IN_POSTGRES = pytest.mark.parametrize("online_store", [InPostgres], ids=["in Postgres"], indirect=True)
IN_REDIS = pytest.mark.parametrize("online_store", [InRedis], ids=["in Redis"], indirect=True)
"""Marks of tests that are about one of them."""
