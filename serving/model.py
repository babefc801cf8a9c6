"""The model that is served: what stage Production holds, swapped without a restart.

A thread asks the registry, loads a new version whole, and only then puts it in the old one's place: a request
works with one version from its start to its end. A registry that is away changes nothing, and a version that
cannot be loaded leaves the old one in place. When no version holds Production any more, none is served: a
person took it away.
"""

import logging
import random
import threading

import mlflow
from mlflow import MlflowClient

from churn.registry import ModelVersion, production
from serving.features import OnlineStore, reason
from serving.loading import load
from serving.metrics import COMPILED, MODEL_LOADS, MODEL_VERSION, REGISTRY_FAILURES
from serving.problems import Problem
from serving.served import ServedModel

log = logging.getLogger(__name__)

# Without a model the registry is asked more often, so that the service recovers within seconds.
_SECONDS_WITHOUT_MODEL = 2.0
# Workers and services that started together must not ask together.
_JITTER = 0.2


class ProductionModel:
    """The model in stage Production, as of the last poll."""

    def __init__(self, tracking_uri: str, poll_seconds: float, store: OnlineStore) -> None:
        # MLflow resolves models:/ addresses by its one global tracking URI, whatever a client is told.
        mlflow.set_tracking_uri(tracking_uri)
        self._client = MlflowClient(tracking_uri)
        self._poll_seconds = poll_seconds
        self._store = store
        self._served: ServedModel | None = None
        self._trouble = Problem("model-unavailable", "the model registry was not asked yet")
        self._in_trouble = False
        self._stop = threading.Event()

    @property
    def served(self) -> ServedModel | None:
        """The model that is served, None while there is none."""
        return self._served

    @property
    def trouble(self) -> str | None:
        """Why the last poll did not end with what stage Production holds, None where it did."""
        return self._trouble.description if self._in_trouble else None

    def current(self) -> ServedModel:
        """Return the model to answer with.

        Raises:
            Problem: model-unavailable or feature-store-unavailable, with the reason.
        """
        if served := self._served:
            return served
        raise Problem(self._trouble.type, self._trouble.description or "")

    def start(self) -> None:
        """Follow the registry from now on, in a thread of this process; call it after the fork."""
        threading.Thread(target=self._follow, name="production-model", daemon=True).start()

    def stop(self) -> None:
        """End the thread after the poll under way."""
        self._stop.set()

    def poll(self) -> None:
        """Ask the registry once, and serve what stage Production holds if that is not served yet."""
        try:
            held = production(self._client)
        except Exception as error:
            # Whatever the registry answered, the model in memory is as good as before.
            REGISTRY_FAILURES.inc()
            self._failed("the model registry cannot be asked", error)
            return
        if held is None:
            self._serve(None)
            self._trouble = Problem(
                "model-unavailable", "no model version is in stage Production: run the chain, or promote one"
            )
            return
        try:
            if not _is(self._served, held):
                self._serve(load(held, self._store))
                MODEL_LOADS.labels("success").inc()
        except Exception as error:
            # A broken version must not take the service down; it is tried again at the next poll.
            MODEL_LOADS.labels("failure").inc()
            self._failed(f"version {held.version} in stage Production cannot be loaded", error)
        else:
            self._in_trouble = False

    def _serve(self, served: ServedModel | None) -> None:
        if served or self._served:
            log.info("serving version %s", served.version if served else "none")
        self._served = served
        self._in_trouble = False
        MODEL_VERSION.set(served.version if served else 0)
        COMPILED.set(bool(served and served.is_compiled))

    def _failed(self, what: str, error: Exception) -> None:
        away = isinstance(error, Problem)
        why = f"{what}: {error.description if isinstance(error, Problem) else reason(error)}"
        still = f"still serving version {self._served.version}" if self._served else "serving none"
        is_news = why != self._trouble.description
        log.warning("%s; %s", why, still, exc_info=error if is_news and not away else None)
        self._trouble = Problem(error.type if isinstance(error, Problem) else "model-unavailable", why)
        self._in_trouble = True

    def _follow(self) -> None:
        while True:
            self.poll()
            pause = self._poll_seconds if self._served else min(self._poll_seconds, _SECONDS_WITHOUT_MODEL)
            if self._stop.wait(pause * random.uniform(1 - _JITTER, 1 + _JITTER)):
                return


def _is(served: ServedModel | None, held: ModelVersion) -> bool:
    # A changed threshold is a changed answer: tags count, not only the number.
    return served is not None and (served.version, served.threshold, served.feature_service) == (
        held.version,
        held.threshold,
        held.feature_service,
    )
