"""The service, put together.

create_app() opens nothing and starts nothing, so that gunicorn can call it before the fork; follow() starts
the thread that watches the model registry, and belongs after the fork.
"""

from flask import Flask
from flask_openapi3 import Info, OpenAPI

from serving import docs, health, metrics, predict, problems, state
from serving.body import StrictRequest
from serving.features import OnlineStore
from serving.model import ProductionModel
from serving.schemas import ProblemDetails
from serving.settings import Settings, from_environment

INFO = Info(
    title="StreamFlow churn",
    version="1.0.0",
    description="Who is about to leave, by the model in stage Production. Errors are RFC 9457 problems.",
)


class Service(OpenAPI):
    request_class = StrictRequest


def create_app(settings: Settings | None = None) -> OpenAPI:
    """Return the service, with `settings` or those of the environment."""
    settings = settings or from_environment()
    app = Service(
        __name__,
        info=INFO,
        doc_ui=False,  # /openapi.json and /docs are ours
        validation_error_callback=problems.invalid_request,
        # Every operation declares its own 422 and a default; this keeps flask-openapi3 from adding another.
        validation_error_status="default",
        validation_error_model=ProblemDetails,
    )
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body_bytes
    # Features keep the order of their feature service.
    app.json.sort_keys = False  # type: ignore[attr-defined]
    problems.register(app)
    metrics.observe(app)
    for api in (predict.api, health.api, metrics.api):
        app.register_api(api)
    app.register_blueprint(docs.pages)
    app.add_url_rule("/openapi.json", "contract", lambda: app.api_doc)
    model = ProductionModel(settings.tracking_uri, settings.poll_seconds)
    state.attach(app, state.Serving(settings, model, OnlineStore(settings.database_url)))
    return app


def follow(app: Flask) -> None:
    """Start following the model registry in this process."""
    state.of(app).model.start()
