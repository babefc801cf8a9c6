"""Online features from Feast, with a circuit breaker for Postgres outages.

The service starts without Postgres and survives its restarts: a read returns features or raises the problem
feature-store-unavailable. The store replaces dead connections (churn.features.reader). Driver errors name hosts and
roles, so they go to the log and never into a response.
"""

import logging
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime

import psycopg
import sqlalchemy.exc
from feast import FeatureStore
from feast.errors import FeastError

from churn.features.lookup import NothingServed, OnlineLookup
from churn.features.store import OnlineFeatures, open_store
from serving.metrics import FEATURE_STORE_FAILURES, FEATURES_AS_OF
from serving.problems import Problem

log = logging.getLogger(__name__)

_POSTGRES_AWAY = (psycopg.OperationalError, sqlalchemy.exc.OperationalError)
# Also raised before tables, definitions or features exist.
_FAILURES = (psycopg.Error, sqlalchemy.exc.SQLAlchemyError, FeastError, NothingServed)
# During a Postgres outage, one request per period and worker probes it; all others fail at once.
_PAUSE_SECONDS = 1.0
_DOES_NOT_ANSWER = "the database of the online features does not answer"


class OnlineStore:
    """Feast's online store. Thread-safe; do not fork after the first read."""

    def __init__(self, database_url: str) -> None:
        self._database_url = database_url
        self._opening = threading.Lock()
        self._store: FeatureStore | None = None
        self._trying = threading.Lock()
        self._failed_before = False
        self._away = False
        self._away_until = 0.0

    def lookup(self, service: str) -> OnlineLookup:
        """Return a lookup of the feature service as defined now. Reads Feast's registry, which may take seconds, so do
        not call it from a request.

        Raises:
            Problem: feature-store-unavailable.
        """
        try:
            store = self._open()
            return OnlineLookup(store, store.get_feature_service(service))
        except _FAILURES as error:
            raise _problem(error) from error

    def read(self, lookup: OnlineLookup, user_ids: Sequence[str]) -> list[OnlineFeatures]:
        """Return the online features of each user, in their order, in one query. Postgres gets a second query if a user
        is missing from a build that was not seen before.

        Raises:
            Problem: feature-store-unavailable.
        """
        if self._away and not self._is_ones_turn():
            raise Problem("feature-store-unavailable", _DOES_NOT_ANSWER)
        try:
            found = lookup.read(user_ids)
        except _FAILURES as error:
            if isinstance(error, _POSTGRES_AWAY):
                # One timeout is not an outage; two in a row are.
                self._away_until = time.monotonic() + _PAUSE_SECONDS
                self._away = self._failed_before
                self._failed_before = True
            raise _problem(error) from error
        self._away = self._failed_before = False
        if as_of := next((each.as_of for each in found if each.as_of), None):
            midnight = datetime.combine(as_of, datetime.min.time(), UTC)
            FEATURES_AS_OF.labels(lookup.service.name).set(midnight.timestamp())
        return found

    def _is_ones_turn(self) -> bool:
        """Tell whether this request probes whether Postgres is back."""
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


def _problem(error: Exception) -> Problem:
    """Log and count `error`; return the problem without hosts and roles."""
    FEATURE_STORE_FAILURES.inc()
    log.warning("the feature store failed: %s", reason(error))
    if isinstance(error, _POSTGRES_AWAY):
        return Problem("feature-store-unavailable", _DOES_NOT_ANSWER)
    # These errors only name what is missing; a database error may quote its statement.
    told = reason(error) if isinstance(error, FeastError | NothingServed) else "the online features cannot be read"
    return Problem("feature-store-unavailable", told)


def reason(error: Exception) -> str:
    """Return the type of `error` and its first line, truncated for the log."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
