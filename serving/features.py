"""The online features, read from Feast: opened when first needed, and well again when Postgres is.

The service starts without Postgres and outlives its restarts: a read ends in features, or in the problem
feature-store-unavailable. The store itself replaces dead connections (churn.online_reader).
"""

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import psycopg
import sqlalchemy.exc
from feast import FeatureStore
from feast.errors import FeastError

from churn.features import OnlineFeatures, open_store
from churn.online_lookup import NothingServed, OnlineLookup
from serving.metrics import FEATURE_STORE_FAILURES
from serving.problems import Problem

log = logging.getLogger(__name__)

_POSTGRES_AWAY = (psycopg.OperationalError, sqlalchemy.exc.OperationalError)
# Also what is raised while tables, definitions or features are not there yet.
_FAILURES = (psycopg.Error, sqlalchemy.exc.SQLAlchemyError, FeastError, NothingServed)
# While Postgres is away one request in this time waits for it; the others are answered at once.
_PAUSE_SECONDS = 1.0


class OnlineStore:
    """Feast's online store, to be shared between threads; across a fork only before the first read."""

    def __init__(self, database_url: str) -> None:
        self._database_url = database_url
        self._opening = threading.Lock()
        self._store: FeatureStore | None = None
        self._trying = threading.Lock()
        self._away = ""
        self._away_until = 0.0

    def lookup(self, service: str) -> OnlineLookup:
        """Return what reads the features of a feature service, as it is defined now.

        Raises:
            Problem: feature-store-unavailable, with the reason.
        """
        with self._failing_as_a_problem():
            store = self._open()
            return OnlineLookup(store, store.get_feature_service(service))

    def read(self, lookup: OnlineLookup, user_ids: Sequence[str]) -> list[OnlineFeatures]:
        """Return the online features of each user, in their order, by one round trip.

        Raises:
            Problem: feature-store-unavailable, with the reason.
        """
        with self._failing_as_a_problem():
            return lookup.read(user_ids)

    @contextmanager
    def _failing_as_a_problem(self) -> Iterator[None]:
        if self._away and not self._is_ones_turn():
            raise Problem("feature-store-unavailable", self._away)
        try:
            yield
        except _FAILURES as error:
            FEATURE_STORE_FAILURES.inc()
            why = reason(error)
            log.warning("the feature store failed: %s", why)
            if isinstance(error, _POSTGRES_AWAY):
                self._away_until, self._away = time.monotonic() + _PAUSE_SECONDS, why
            raise Problem("feature-store-unavailable", why) from error
        self._away = ""

    def _is_ones_turn(self) -> bool:
        """Tell whether this request is the one that tries whether Postgres is back."""
        with self._trying:
            if time.monotonic() < self._away_until:
                return False
            self._away_until = time.monotonic() + _PAUSE_SECONDS
            return True

    def _open(self) -> FeatureStore:
        with self._opening:
            if self._store is None:
                self._store = open_store(self._database_url)
            return self._store


def reason(error: Exception) -> str:
    """Return the first line of `error` with its kind, short enough for an answer."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
