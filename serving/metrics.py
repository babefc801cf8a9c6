"""Prometheus metrics: requests, predictions, the served model and its verdict, drifted columns, and failures of
registry and feature store.

Under gunicorn each worker writes to files in PROMETHEUS_MULTIPROC_DIR; a scrape of any worker aggregates them.
"""

import time

from flask import Flask, Response, g, request
from flask_openapi3 import APIBlueprint, Tag
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.values import MutexValue, ValueClass

from serving.drift_gauge import DRIFT
from serving.schemas import answers
from serving.verdict_gauges import VERDICT

REQUESTS = Counter("churn_http_requests", "Requests answered", ["method", "route", "status"])
LATENCY = Histogram(
    "churn_http_request_duration_seconds",
    "Time from a request to its answer",
    ["method", "route"],
    # An answer takes about a millisecond, a refusal less, a probe of an unavailable store up to a second.
    buckets=(0.00025, 0.0005, 0.001, 0.0015, 0.002, 0.003, 0.005, 0.01, 0.025, 0.1, 0.25, 1),
)
PREDICTIONS = Counter("churn_predictions", "Predictions answered", ["prediction"])
PROBABILITY = Histogram("churn_probability", "Probabilities answered", buckets=[tenth / 10 for tenth in range(1, 11)])
FEATURES_AS_OF = Gauge(
    "churn_features_as_of_timestamp_seconds",
    "AS_OF of the features read last, as Unix time of its midnight (UTC): time() minus this is their age",
    # A labelled gauge has no series before the first read; an unlabelled one would report an age since 1970.
    ["feature_service"],
    multiprocess_mode="livemostrecent",
)
REQUESTS_WAITING = Gauge(
    "churn_http_requests_waiting",
    "Requests in progress in a worker, not counting health and metrics",
    multiprocess_mode="liveall",
)
# One series per worker: they differ briefly during a hot swap.
MODEL_VERSION = Gauge("churn_model_version", "The model version served; 0: none", multiprocess_mode="liveall")
COMPILED = Gauge(
    "churn_scorer_compiled", "1: the compiled scorer answers, 0: the pipeline or none", multiprocess_mode="liveall"
)
MODEL_LOADS = Counter(
    "churn_model_loads",
    "Loads of a Production version. failure: it was refused or could not be read; no-features: its features could not "
    "be looked up",
    ["outcome"],
)
for _outcome in ("success", "failure", "no-features"):
    MODEL_LOADS.labels(_outcome)  # An alert on a counter needs it to begin at 0.
REGISTRY_FAILURES = Counter("churn_registry_failures", "Polls of the model registry that failed")
POLL_ERRORS = Counter(
    "churn_registry_poll_errors",
    "Unexpected errors of the thread that polls the model registry; it continues after a pause",
)
LAST_ANSWER = Gauge(
    "churn_registry_last_answer_timestamp_seconds",
    "Unix time of a worker's last successful poll of the model registry, initially of its start",
    multiprocess_mode="liveall",
)
POLL_SECONDS = Gauge(
    "churn_registry_poll_seconds", "Interval at which a worker polls the model registry", multiprocess_mode="livemax"
)
FEATURE_STORE_FAILURES = Counter("churn_feature_store_failures", "Failed reads of the feature store or its registry")

REGISTRY.register(VERDICT)
REGISTRY.register(DRIFT)

api = APIBlueprint("metrics", __name__, abp_tags=[Tag(name="operations")])

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


@api.get(
    "/metrics",
    summary="Metrics for Prometheus",
    responses=answers({"content": {"text/plain": {"schema": {"type": "string"}}}}),
)
def metrics() -> Response:
    return Response(generate_latest(_registry()), content_type=CONTENT_TYPE_LATEST)


def observe(app: Flask) -> None:
    """Count and time every request of `app`, including errors, by route, so that a path scan adds no series."""
    app.before_request(_start)
    app.after_request(_finish)


def _start() -> None:
    g.started = time.perf_counter()


def _finish(response: Response) -> Response:
    method = request.method if request.method in _METHODS else "other"
    route = request.url_rule.rule if request.url_rule else "unmatched"
    REQUESTS.labels(method, route, response.status_code).inc()
    LATENCY.labels(method, route).observe(time.perf_counter() - g.started)
    return response


def versions_served() -> list[float]:
    """Return the model version of each live worker, 0 if it has none yet."""
    found = [family for family in _registry().collect() if family.name == "churn_model_version"]
    return [sample.value for family in found for sample in family.samples]


def _registry() -> CollectorRegistry:
    # prometheus_client chose between memory and files at import.
    if ValueClass is MutexValue:
        return REGISTRY
    registry = CollectorRegistry()
    MultiProcessCollector(registry)
    registry.register(VERDICT)
    registry.register(DRIFT)
    return registry
