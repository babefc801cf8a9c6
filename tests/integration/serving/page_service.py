"""A fake serving API for tests of its page; its answer depends on the customer's id."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from flask import Flask, Response, jsonify, request
from werkzeug.serving import make_server

from serving import page, security
from serving.problems import TYPES

KEY = "a-key"
METHOD = "one feature at a time, against other customers"
MODEL = {"name": "streamflow_churn", "version": 7, "as_of": "2024-01-31"}
FEATURES = {
    "months_active": 2,
    "monthly_fee": 70.35,
    "paperless_billing": True,
    "plan_stream_tv": None,
    "plan_stream_movies": False,
    "net_service": "<b>Fiber optic</b>",
    "watch_hours_30d": 1234.5,
    "avg_session_mins_7d": 24.123456,
    "unique_devices_30d": 1,
    "skips_7d": 0,
    "rebuffer_events_7d": 3,
    "failed_payments_90d": 2,
    "support_tickets_90d": 4,
    "ticket_avg_resolution_hrs_90d": 0.0042,
}
EFFECTS = {
    "months_active": 0.1824,
    "net_service": 0.093,
    "monthly_fee": -0.0412,
    "plan_stream_tv": -0.0301,
    "skips_7d": 0.0,
}
EFFECTS_TOLD = [{"feature": name, "value": FEATURES[name], "effect": effect} for name, effect in EFFECTS.items()]
# What a customer's id says about the answer: probability, threshold.
SCORES = {"leaver": (0.8234, 0.41), "stayer": (0.07, 0.41), "close": (0.41299, 0.41301), "slow": (0.9, 0.41)}

# Other ids: a type of problem is answered with that problem, these with what is no answer at all.
OTHER_FORMS = {"proxy": ("<h1>Bad gateway</h1>", 502), "nonsense": ('{"hello": "world"}', 200)}
MEMBERS = {"incomplete-features": {"missing_features": ["skips_7d", "failed_payments_90d"]}}


@dataclass
class PageService:
    """The stub: the answers that a test sets, and the requests of the page."""

    address: str = ""
    ready: bool = True
    version: int = 7
    trouble: str | None = None
    needs_key: bool = False
    explanation: dict | None = field(default_factory=lambda: {"method": METHOD, "effects": EFFECTS_TOLD})
    asked: list[str] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    slow_may_answer: threading.Event = field(default_factory=threading.Event)
    slow_has_answered: threading.Event = field(default_factory=threading.Event)

    def answer(self, user_id: str, score: tuple[float, float] = (0.5, 0.41)) -> dict:
        """Return the body of a 200 for `user_id`."""
        probability, threshold = score
        return {
            "user_id": user_id,
            "prediction": int(probability >= threshold),
            "churn_probability": probability,
            "threshold": threshold,
            "model": MODEL | {"version": self.version},
            "features_as_of": "2024-02-29",
            "features_used": FEATURES,
            "explanation": self.explanation,
        }


@contextmanager
def page_service() -> Iterator[PageService]:
    """The page and a stub of the API below it, on a free port of 127.0.0.1."""
    service = PageService()
    # Both take a request each: the slow one must not hold up the others.
    server = make_server("127.0.0.1", 0, _app(service), threaded=True)
    service.address = f"http://127.0.0.1:{server.port}"
    # It looks every so many seconds whether it is to stop.
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield service
    finally:
        service.slow_may_answer.set()
        server.shutdown()
        thread.join()
        server.server_close()


def _app(service: PageService) -> Flask:
    app = Flask(__name__, static_folder=None)
    app.json.sort_keys = False  # type: ignore[attr-defined]
    security.protect(app)
    app.register_blueprint(page.pages)

    @app.post("/predict")
    def predict() -> Response:
        assert request.args.to_dict() == {"explain": "true"}
        assert request.is_json
        user_id = request.json["user_id"]
        service.asked.append(user_id)
        service.keys.append(request.headers.get("Authorization"))
        if service.needs_key and request.headers.get("Authorization") != f"Bearer {KEY}":
            return _problem("unauthorized", "this is not one of the keys")
        if user_id == "slow":
            service.slow_may_answer.wait()
            service.slow_has_answered.set()
        return _told(service, user_id)

    @app.get("/health/ready")
    def ready() -> Response:
        if not service.ready:
            reasons = ["model-unavailable: stage Production is empty"]
            return _problem("not-ready", reasons[0], reasons=reasons)
        return jsonify({"status": "ready", "model": MODEL | {"version": service.version}, "trouble": service.trouble})

    return app


def _told(service: PageService, user_id: str) -> Response:
    if user_id in SCORES:
        return jsonify(service.answer(user_id, SCORES[user_id]))
    if user_id in OTHER_FORMS:
        return Response(*OTHER_FORMS[user_id])
    type_ = user_id if user_id in TYPES else "unknown-user"
    response = _problem(type_, f"detail of {type_}", **MEMBERS.get(type_, {}))
    if type_ == "overloaded":
        response.headers["Retry-After"] = "3"
    return response


def _problem(type_: str, detail: str, **members: object) -> Response:
    status, title = TYPES[type_]
    response = jsonify({"type": type_, "title": title, "status": status, "detail": detail} | members)
    response.status_code, response.mimetype = status, "application/problem+json"
    return response
