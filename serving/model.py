"""The model that is served: what stage Production holds, swapped without a restart.

A thread asks the registry, loads a new version whole, and only then puts it in the old one's place: a request
works with one version from its start to its end. A registry that is away changes nothing, and a version that
cannot be loaded leaves the old one in place. When no version holds Production any more, none is served: a
person took it away.
"""

import logging
import random
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import mlflow
from feast import FeatureService
from mlflow import MlflowClient
from sklearn.pipeline import Pipeline

from churn.registry import MODEL_NAME, ModelVersion, load_pipeline, production
from churn.scorer import score_online
from serving.features import reason
from serving.metrics import MODEL_LOADS, MODEL_VERSION, REGISTRY_FAILURES
from serving.problems import Problem
from serving.schemas import ModelIdentity

log = logging.getLogger(__name__)

# Without a model the registry is asked more often, so that the service recovers within seconds.
_SECONDS_WITHOUT_MODEL = 2.0
# Workers and services that started together must not ask together.
_JITTER = 0.2


@dataclass(frozen=True)
class ServedModel:
    """One version of the model, loaded, and what its tags say of it."""

    version: int
    as_of: date
    threshold: float
    feature_service: str
    pipeline: Pipeline

    def churn_probability(self, features: Mapping[str, Any], service: FeatureService) -> float:
        """Return the probability that the customer leaves in the period that the features' AS_OF starts.

        Raises:
            Problem: model-unavailable, when a version that was promoted by hand wants other features than its tag says.
        """
        try:
            return float(score_online(self.pipeline, [features], service)[0])
        except (ValueError, KeyError) as error:
            why = f"version {self.version} in stage Production cannot score the features of {self.feature_service}"
            raise Problem("model-unavailable", f"{why}: {reason(error)}") from error

    def identity(self) -> ModelIdentity:
        """Return what an answer says about the model that gave it."""
        return ModelIdentity(name=MODEL_NAME, version=self.version, as_of=self.as_of)


class ProductionModel:
    """The model in stage Production, as of the last poll."""

    def __init__(self, tracking_uri: str, poll_seconds: float) -> None:
        # MLflow resolves models:/ addresses by its one global tracking URI, whatever a client is told.
        mlflow.set_tracking_uri(tracking_uri)
        self._client = MlflowClient(tracking_uri)
        self._poll_seconds = poll_seconds
        self._served: ServedModel | None = None
        self._why_none = "the model registry was not asked yet"
        self._stop = threading.Event()

    @property
    def served(self) -> ServedModel | None:
        """The model that is served, None while there is none."""
        return self._served

    def current(self) -> ServedModel:
        """Return the model to answer with.

        Raises:
            Problem: model-unavailable, with the reason.
        """
        if served := self._served:
            return served
        raise Problem("model-unavailable", self._why_none)

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
            self._serve(None, "no model version is in stage Production: run the chain, or promote one")
            return
        try:
            if not _is(self._served, held):
                self._serve(_load(held), "")
        except Exception as error:
            # A broken version must not take the service down; it is tried again at the next poll.
            MODEL_LOADS.labels("failure").inc()
            self._failed(f"version {held.version} in stage Production cannot be loaded", error)

    def _serve(self, served: ServedModel | None, why_none: str) -> None:
        if served or self._served:
            log.info("serving version %s", served.version if served else f"none: {why_none}")
        self._served, self._why_none = served, why_none
        MODEL_VERSION.set(served.version if served else 0)

    def _failed(self, what: str, error: Exception) -> None:
        why = f"{what}: {reason(error)}"
        still = f"still serving version {self._served.version}" if self._served else "serving none"
        log.warning("%s; %s", why, still, exc_info=why != self._why_none and error)
        self._why_none = why

    def _follow(self) -> None:
        while True:
            self.poll()
            pause = self._poll_seconds if self._served else min(self._poll_seconds, _SECONDS_WITHOUT_MODEL)
            if self._stop.wait(pause * random.uniform(1 - _JITTER, 1 + _JITTER)):
                return


def _load(held: ModelVersion) -> ServedModel:
    served = ServedModel(held.version, held.as_of, held.threshold, held.feature_service, load_pipeline(held.version))
    MODEL_LOADS.labels("success").inc()
    return served


def _is(served: ServedModel | None, held: ModelVersion) -> bool:
    # A changed threshold is a changed answer: tags count, not only the number.
    return served is not None and (served.version, served.threshold, served.feature_service) == (
        held.version,
        held.threshold,
        held.feature_service,
    )
