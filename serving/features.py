"""The online features, read from Feast: opened when first needed, and well again when Postgres is.

The service starts without Postgres and outlives its restarts: a read ends in features, or in the problem
feature-store-unavailable. The store itself replaces dead connections (churn.online_reader).
"""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import sqlalchemy.exc
from feast import FeatureService, FeatureStore
from feast.errors import FeastError

from churn.features import OnlineFeatures, open_store, read_online
from serving.metrics import FEATURE_STORE_FAILURES
from serving.problems import Problem

log = logging.getLogger(__name__)

_POSTGRES_AWAY = (psycopg.OperationalError, sqlalchemy.exc.OperationalError)
# Also what is raised while tables or definitions are not there yet.
_FAILURES = (psycopg.Error, sqlalchemy.exc.SQLAlchemyError, FeastError)
# While Postgres is away one request in this time waits for it; the others are answered at once.
_PAUSE_SECONDS = 1.0


class OnlineStore:
    """Feast's online store, to be shared between threads; across a fork only before the first read."""

    def __init__(self, database_url: str) -> None:
        self._database_url = database_url
        self._opening = threading.Lock()
        self._store: FeatureStore | None = None
        # Fetching a feature service from the registry costs more than a read, so the last one is held.
        self._held: tuple[tuple[str, int | None], FeatureService] | None = None
        self._away = ""
        self._away_until = 0.0

    def service(self, name: str, model_version: int | None) -> FeatureService:
        """Return the feature service called `name`; it is fetched again when `model_version` changes.

        Raises:
            Problem: feature-store-unavailable, with the reason.
        """
        held, key = self._held, (name, model_version)
        if held is None or held[0] != key:
            with self._failing_as_a_problem():
                self._held = held = key, self._open().get_feature_service(name)
        return held[1]

    def read(self, service: FeatureService, user_id: str) -> OnlineFeatures:
        """Return the online features of `user_id` that `service` lists.

        Raises:
            Problem: feature-store-unavailable, with the reason.
        """
        with self._failing_as_a_problem():
            return read_online(self._open(), service, [user_id])[0]

    @contextmanager
    def _failing_as_a_problem(self) -> Iterator[None]:
        if time.monotonic() < self._away_until:
            raise Problem("feature-store-unavailable", self._away)
        try:
            yield
        except _FAILURES as error:
            FEATURE_STORE_FAILURES.inc()
            why = reason(error)
            log.warning("the feature store failed: %s", why)
            if isinstance(error, _POSTGRES_AWAY):
                self._away, self._away_until = why, time.monotonic() + _PAUSE_SECONDS
            raise Problem("feature-store-unavailable", why) from error

    def _open(self) -> FeatureStore:
        with self._opening:
            if self._store is None:
                self._store = open_store(self._database_url)
            return self._store


def reason(error: Exception) -> str:
    """Return the first line of `error` with its kind, short enough for an answer."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
