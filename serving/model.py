"""Hot swap of the served model: a thread polls the registry and follows stage Production.

The thread loads a new version completely before it swaps it in, so a request uses one version from start to end. If
the registry is unavailable or a version cannot be loaded, the old version stays. Loading is retried with exponential
backoff: up to minutes for a refused version, up to seconds after a fault. If a person empties stage Production, no
version is served.

The thread also looks up the feature service, so that requests never read a registry. After an unexpected error the
thread continues; the error is logged, counted and reported by /health/ready.
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
from churn.registry.version_scorer import VersionRefused, load_scorer
from serving.features import OnlineStore, reason
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
from serving.verdict_watch import VerdictWatch

log = logging.getLogger(__name__)

# Poll interval without a model, so that the service recovers within seconds.
_SECONDS_WITHOUT_MODEL = 2.0
# Workers that started together must not poll together.
_JITTER = 0.2
# A load occupies a core for a second, so a refused version is retried at the next poll, then with exponential backoff.
_LONGEST_PAUSE_SECONDS = 300.0
# After an unexpected error, which may pass, such as a full disk.
_LONGEST_PAUSE_AFTER_ERROR_SECONDS = 60.0
# After a fault that is not the version's, such as an unavailable artifact store.
_LONGEST_PAUSE_IN_DOUBT_SECONDS = 10.0
# Below gunicorn's timeout, after which it kills a worker that has not booted.
_LONGEST_FIRST_POLL_SECONDS = 20.0


class _Refused(NamedTuple):
    """A version that could not be loaded, the reason, and when to retry (monotonic seconds)."""

    held: ModelVersion
    trouble: Problem
    pause_seconds: float
    until: float


class ProductionModel:
    """The model in stage Production, as of the last poll."""

    def __init__(self, tracking_uri: str, poll_seconds: float, store: OnlineStore, database_url: str) -> None:
        # MLflow resolves models:/ URIs with the global tracking URI, not with that of a client.
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
        self._verdict = VerdictWatch(database_url)
        self._looked = threading.Event()
        self._stop = threading.Event()

    @cached_property
    def _client(self) -> MlflowClient:
        # Created at the first poll, after the fork: for a database registry it opens connections.
        return MlflowClient(self._tracking_uri)

    @property
    def served(self) -> ServedModel | None:
        """The served model, None if there is none."""
        return self._served

    @property
    def trouble(self) -> str | None:
        """Why the last poll could not serve the version in stage Production, None if it could."""
        return self._trouble.description if self._in_trouble else None

    @property
    def registry(self) -> list[str]:
        """Odd states of the registry as of the last poll; see churn.registry.state."""
        return self._registry.odd

    def current(self) -> ServedModel:
        """Return the served model.

        Raises:
            Problem: model-unavailable or feature-store-unavailable, with the reason.
        """
        if served := self._served:
            return served
        raise Problem(self._trouble.type, self._trouble.description or "")

    def lookup(self) -> OnlineLookup:
        """Return the lookup of the served model's features; without a model, of the features for training.

        Raises:
            Problem: feature-store-unavailable.
        """
        if served := self._served:
            return served.lookup
        if otherwise := self._otherwise:
            return otherwise
        raise Problem("feature-store-unavailable", "the feature service could not be looked up yet")

    def start(self) -> None:
        """Start the polling thread; call it after the fork. Waits for the first poll, up to a limit, so that a worker
        accepts no connections before it."""
        POLL_SECONDS.set(self._poll_seconds)
        # Without it, the age before the first answer would count from 1970.
        LAST_ANSWER.set_to_current_time()
        threading.Thread(target=self._follow, name="production-model", daemon=True).start()
        self._looked.wait(_LONGEST_FIRST_POLL_SECONDS)

    def stop(self) -> None:
        """Stop the thread after the current poll."""
        self._stop.set()

    def poll(self) -> None:
        """Poll the registry once, load the version in stage Production unless it is served already, and read its
        verdict and how many columns drifted."""
        self._follow_production()
        if self._served is None:
            self._find_features()
        self._verdict.look(self._served)

    def _follow_production(self) -> None:
        try:
            held = production(self._client)
        except Exception as error:
            # The model in memory stays valid, whatever the registry answers.
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
            # Other trouble may have replaced this one in the meantime.
            self._trouble = self._refused.trouble
            self._in_trouble = True
            return
        try:
            if not _is(self._served, held):
                self._serve(self._load(held))
                MODEL_LOADS.labels("success").inc()
        except Exception as error:
            # A broken version must not take the service down.
            self._failed(f"version {held.version} in stage Production cannot be loaded", error)
            if isinstance(error, Problem):
                # Not the version's fault: the feature store is unavailable or lacks its features.
                MODEL_LOADS.labels("no-features").inc()
            else:
                MODEL_LOADS.labels("failure").inc()
                self._refused = self._refused_again(held, error)
        else:
            self._refused = None
            self._in_trouble = False

    def _load(self, held: ModelVersion) -> ServedModel:
        as_of, threshold = held.as_of, held.threshold
        lookup = self._store.lookup(held.feature_service)
        loaded = load_scorer(held, lookup.service, self._database_url)
        return ServedModel(held.version, held.run_id, as_of, threshold, lookup, loaded.scorer, loaded.background)

    def _find_features(self) -> None:
        # An earlier lookup stays valid, and the store has logged the reason.
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
            # Client errors name hosts, so they only go to the log.
            why = f"{what}; the service's log has the reason"
        still = f"still serving version {self._served.version}" if self._served else "serving none"
        is_news = why != self._trouble.description and not isinstance(error, Problem)
        log.warning("%s: %s; %s", what, reason(error), still, exc_info=error if is_news else None)
        self._trouble = Problem(error.type if isinstance(error, Problem) else "model-unavailable", why)
        self._in_trouble = True

    def _refused_again(self, held: ModelVersion, error: Exception) -> _Refused:
        refused = self._refused
        pause = 2 * refused.pause_seconds if refused and refused.held == held else self._poll_seconds / 2
        # An untrusted version may become trusted at any time, and checking costs no more than fetching its files.
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
                # Without this thread the worker would serve its version forever.
                errors += 1
                POLL_ERRORS.inc()
                self._failed("stage Production cannot be followed", error)
            self._looked.set()
            pause = self._poll_seconds if self._served else min(self._poll_seconds, _SECONDS_WITHOUT_MODEL)
            # Bound the exponent, or an error that lasts for days overflows a float.
            pause = min(pause * 2 ** min(errors, 10), max(pause, _LONGEST_PAUSE_AFTER_ERROR_SECONDS))
            if self._stop.wait(pause * random.uniform(1 - _JITTER, 1 + _JITTER)):
                return


def _is(served: ServedModel | None, held: ModelVersion) -> bool:
    # A changed tag changes predictions, and a registered model that was deleted and recreated reuses version numbers.
    return served is not None and (
        (served.version, served.run_id, served.as_of, served.threshold, served.feature_service)
        == (held.version, held.run_id, held.as_of, held.threshold, held.feature_service)
    )
