"""The model that is served: what stage Production holds, swapped without a restart.

A thread asks the registry, loads a new version whole, and only then puts it in the old one's place: a request
works with one version from its start to its end. A registry that is away changes nothing, and a version that
cannot be loaded leaves the old one in place, and is tried again after longer and longer pauses: up to minutes where it
was refused, up to seconds where a fault kept it from being read. When no version holds Production any more, none is
served: a person took it away.

The thread also finds out how features are read: nothing that a request waits for asks a registry. An unexpected error
does not end it: the error is logged, counted and seen by /health/ready, and the thread goes on after a pause.
"""

import logging
import random
import threading
import time
from contextlib import suppress
from functools import cached_property
from typing import NamedTuple

import mlflow
from mlflow import MlflowClient

from churn.features.lookup import OnlineLookup
from churn.features.store import FEATURE_SERVICE
from churn.registry.client import production
from churn.registry.model_version import ModelNotLoadable, ModelVersion
from churn.registry.provenance import NotTrusted
from serving.features import OnlineStore, reason
from serving.loading import VersionRefused, load
from serving.metrics import (
    COMPILED,
    LAST_ANSWER,
    MODEL_LOADS,
    MODEL_VERSION,
    POLL_ERRORS,
    POLL_SECONDS,
    REGISTRY_FAILURES,
)
from serving.problems import Problem
from serving.registry_watch import RegistryWatch
from serving.served import ServedModel

log = logging.getLogger(__name__)

# Without a model the registry is asked more often, so that the service recovers within seconds.
_SECONDS_WITHOUT_MODEL = 2.0
# Workers and services that started together must not ask together.
_JITTER = 0.2
# A load takes a core for a second: what was refused once is tried again at the next poll, then half as often each time.
_LONGEST_PAUSE_SECONDS = 300.0
# After an error that nobody expected: what it was may pass, as a full disk does.
_LONGEST_PAUSE_AFTER_ERROR_SECONDS = 60.0
# Where nothing is said against the version: the store of its files was away, or a disk full, perhaps for a moment.
_LONGEST_PAUSE_IN_DOUBT_SECONDS = 10.0
# Less than gunicorn's timeout, after which a worker that does not come up is killed.
_LONGEST_FIRST_POLL_SECONDS = 20.0


class _Refused(NamedTuple):
    """A version that could not be loaded, why, and when it is tried again (monotonic seconds)."""

    held: ModelVersion
    trouble: Problem
    pause_seconds: float
    until: float


class ProductionModel:
    """The model in stage Production, as of the last poll."""

    def __init__(self, tracking_uri: str, poll_seconds: float, store: OnlineStore, database_url: str) -> None:
        # MLflow resolves models:/ addresses by its one global tracking URI, whatever a client is told.
        mlflow.set_tracking_uri(tracking_uri)
        self._tracking_uri = tracking_uri
        self._poll_seconds = poll_seconds
        self._store = store
        self._database_url = database_url
        self._served: ServedModel | None = None
        self._otherwise: OnlineLookup | None = None
        self._refused: _Refused | None = None
        self._trouble = Problem("model-unavailable", "the model registry was not asked yet")
        self._in_trouble = False
        self._registry = RegistryWatch()
        self._looked = threading.Event()
        self._stop = threading.Event()

    @cached_property
    def _client(self) -> MlflowClient:
        # Made at the first poll: of a registry that is a database it opens connections, which a fork would share.
        return MlflowClient(self._tracking_uri)

    @property
    def served(self) -> ServedModel | None:
        """The model that is served, None while there is none."""
        return self._served

    @property
    def trouble(self) -> str | None:
        """Why the last poll did not end with what stage Production holds, None where it did."""
        return self._trouble.description if self._in_trouble else None

    @property
    def registry(self) -> list[str]:
        """What is odd in the registry, and what counts, as of the last poll."""
        return self._registry.odd

    def current(self) -> ServedModel:
        """Return the model to answer with.

        Raises:
            Problem: model-unavailable or feature-store-unavailable, with the reason.
        """
        if served := self._served:
            return served
        raise Problem(self._trouble.type, self._trouble.description or "")

    def lookup(self) -> OnlineLookup:
        """Return what reads the features of the served model; while there is none, those that new models learn from.

        Raises:
            Problem: feature-store-unavailable.
        """
        if served := self._served:
            return served.lookup
        if otherwise := self._otherwise:
            return otherwise
        raise Problem("feature-store-unavailable", "the feature service could not be looked up yet")

    def start(self) -> None:
        """Follow the registry from now on, in a thread of this process, and return after its first poll, or some
        seconds; call it after the fork. A worker that has not asked yet accepts no connections."""
        POLL_SECONDS.set(self._poll_seconds)
        # Before the first answer too there is an age to tell, and not that of 1970.
        LAST_ANSWER.set_to_current_time()
        threading.Thread(target=self._follow, name="production-model", daemon=True).start()
        self._looked.wait(_LONGEST_FIRST_POLL_SECONDS)

    def stop(self) -> None:
        """End the thread after the poll under way."""
        self._stop.set()

    def poll(self) -> None:
        """Ask the registry once, and serve what stage Production holds if that is not served yet."""
        self._follow_production()
        if self._served is None:
            self._find_features()

    def _follow_production(self) -> None:
        try:
            held = production(self._client)
        except Exception as error:
            # Whatever the registry answered, the model in memory is as good as before.
            REGISTRY_FAILURES.inc()
            self._failed("the model registry cannot be asked", error)
            return
        LAST_ANSWER.set_to_current_time()
        self._registry.look(self._client)
        if held is None:
            self._serve(None)
            self._trouble = Problem(
                "model-unavailable", "no model version is in stage Production: run the chain, or promote one"
            )
            return
        if self._refused and self._refused.held == held and time.monotonic() < self._refused.until:
            # Meanwhile the registry may have been away, or Production empty.
            self._trouble = self._refused.trouble
            self._in_trouble = True
            return
        try:
            if not _is(self._served, held):
                self._serve(load(held, self._store, self._database_url))
                MODEL_LOADS.labels("success").inc()
        except Exception as error:
            # A broken version must not take the service down.
            self._failed(f"version {held.version} in stage Production cannot be loaded", error)
            if isinstance(error, Problem):
                # Nothing is said against the version: the feature store is away, or does not know its features yet.
                MODEL_LOADS.labels("no-features").inc()
            else:
                MODEL_LOADS.labels("failure").inc()
                self._refused = self._refused_again(held, error)
        else:
            self._refused = None
            self._in_trouble = False

    def _find_features(self) -> None:
        # What was found before is as good; why there is nothing new, the store has logged.
        with suppress(Problem):
            self._otherwise = self._store.lookup(FEATURE_SERVICE)

    def _serve(self, served: ServedModel | None) -> None:
        if served or self._served:
            log.info("serving version %s", served.version if served else "none")
        self._served = served
        self._in_trouble = False
        MODEL_VERSION.set(served.version if served else 0)
        COMPILED.set(bool(served and served.is_compiled))

    def _failed(self, what: str, error: Exception) -> None:
        if isinstance(error, Problem):
            why = f"{what}: {error.description}"
        elif isinstance(error, VersionRefused | ModelNotLoadable):
            why = f"{what}: {error}"
        else:
            # An error of a client names hosts, and what not.
            why = f"{what}; the service's log has the reason"
        still = f"still serving version {self._served.version}" if self._served else "serving none"
        is_news = why != self._trouble.description and not isinstance(error, Problem)
        log.warning("%s: %s; %s", what, reason(error), still, exc_info=error if is_news else None)
        self._trouble = Problem(error.type if isinstance(error, Problem) else "model-unavailable", why)
        self._in_trouble = True

    def _refused_again(self, held: ModelVersion, error: Exception) -> _Refused:
        refused = self._refused
        pause = 2 * refused.pause_seconds if refused and refused.held == held else self._poll_seconds / 2
        # A version that is not trusted may be at any moment, and to find out costs no more than fetching its files.
        is_refused = isinstance(error, VersionRefused | ModelNotLoadable) and not isinstance(error, NotTrusted)
        pause = min(pause, _LONGEST_PAUSE_SECONDS if is_refused else _LONGEST_PAUSE_IN_DOUBT_SECONDS)
        return _Refused(held, self._trouble, pause, time.monotonic() + pause)

    def _follow(self) -> None:
        errors = 0
        while True:
            try:
                self.poll()
                errors = 0
            except Exception as error:
                # Nobody else follows the registry: a worker without this thread serves what it has for ever.
                errors += 1
                POLL_ERRORS.inc()
                self._failed("stage Production cannot be followed", error)
            self._looked.set()
            pause = self._poll_seconds if self._served else min(self._poll_seconds, _SECONDS_WITHOUT_MODEL)
            # By the power of 2 alone an error that lasts for days would make a number that is no float any more.
            pause = min(pause * 2 ** min(errors, 10), max(pause, _LONGEST_PAUSE_AFTER_ERROR_SECONDS))
            if self._stop.wait(pause * random.uniform(1 - _JITTER, 1 + _JITTER)):
                return


def _is(served: ServedModel | None, held: ModelVersion) -> bool:
    # A changed threshold is a changed answer: tags count, not only the number. Nor does the number alone say which
    # version it is: those of a model that was deleted and made again begin at 1 again.
    return served is not None and (
        (served.version, served.run_id, served.as_of, served.threshold, served.feature_service)
        == (held.version, held.run_id, held.as_of, held.threshold, held.feature_service)
    )
