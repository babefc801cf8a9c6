"""The app factory.

gunicorn calls create_app() before the fork, so it opens no connection and starts no thread. start() starts the
threads of a process after the fork.
"""

from collections.abc import Callable
from typing import Any

from flask import Flask
from flask_openapi3 import Info, OpenAPI
from werkzeug.routing import PathConverter

from serving import answering, docs, health, logs, metrics, page, predict, problems, security, state
from serving.batching import MicroBatches
from serving.body import StrictRequest, take_the_rest
from serving.features import OnlineStore
from serving.model import ProductionModel
from serving.overload import Load
from serving.prediction_log import PredictionLog
from serving.schemas import ProblemDetails
from serving.served import Scored
from serving.settings import Settings, from_environment

INFO = Info(
    title="StreamFlow churn",
    version="1.0.0",
    description="Churn predictions of the model in stage Production. Errors are RFC 9457 problems.",
)


class AnyPath(PathConverter):
    """The rest of a path, which may begin with a slash."""

    regex = ".+?"
    part_isolating = False


class Service(OpenAPI):
    request_class = StrictRequest

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Return `func` unchanged. No view is a coroutine, and Flask would check for one eight times per request."""
        return func


def create_app(settings: Settings | None = None, workers: int = 1) -> OpenAPI:
    """Return the app, with `settings` or those of the environment, for a service of that many worker processes."""
    settings = settings or from_environment()
    app = Service(
        __name__,
        info=INFO,
        doc_ui=False,  # serving.docs has both pages
        static_folder=None,  # serving.page serves static/
        security_schemes=security.SECURITY_SCHEMES,
        validation_error_callback=problems.invalid_request,
        # Each operation declares its own 422 and default; flask-openapi3 must not add another.
        validation_error_status="default",
        validation_error_model=ProblemDetails,
    )
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body_bytes
    # Customer ids may contain "//", so slashes must not be merged.
    app.url_map.merge_slashes = False
    app.url_map.converters["path"] = AnyPath
    # Keep features in the order of their feature service.
    app.json.sort_keys = False  # type: ignore[attr-defined]
    store = OnlineStore(settings.database_url)
    model = ProductionModel(settings.tracking_uri, settings.poll_seconds, store, settings.database_url)
    predictions = PredictionLog(settings.database_url)

    batches = MicroBatches[str, Scored](lambda user_ids: answering.score_each(serving, user_ids))
    serving = state.Serving(settings, model, store, predictions, Load(settings.max_waiting), batches, workers)
    state.attach(app, serving)
    problems.register(app)
    # Flask runs after_request functions in reverse order, so metrics and logs see the final response.
    metrics.observe(app)
    logs.tell_request_ids(app)
    security.protect(app)
    app.before_request(serving.load.enter)
    app.teardown_request(serving.load.leave)
    app.after_request(take_the_rest)
    for api in (predict.api, health.api, metrics.api):
        app.register_api(api)
    for pages in (docs.pages, page.pages):
        app.register_blueprint(pages)
    app.add_url_rule("/openapi.json", "contract", lambda: app.api_doc)
    return app


def start(app: Flask) -> None:
    """Start this process's threads: the registry poller and the writer of the prediction log."""
    serving = state.of(app)
    serving.model.start()
    serving.predictions.start()


def stop(app: Flask) -> None:
    """Stop both threads after the last request; the prediction log is flushed."""
    serving = state.of(app)
    serving.model.stop()
    serving.predictions.stop()
