"""Errors as RFC 9457 problem details. Each has one of these types, or about:blank if the status says it all (section
4.2.1).

`type` is a plain word, a URI reference relative to the service. An unexpected error is logged with its stack trace and
answered as `internal-error` without it.
"""

import logging
from http import HTTPStatus
from typing import Any

from flask import Flask, Response, jsonify
from pydantic import ValidationError
from werkzeug.exceptions import HTTPException

log = logging.getLogger(__name__)

# type: (status, title)
TYPES = {
    "malformed-json": (400, "The request's body is not JSON"),
    "unauthorized": (401, "The request has no valid API key"),
    "not-found": (404, "There is nothing at this address"),
    "unknown-user": (404, "No online features for this customer"),
    "method-not-allowed": (405, "The method is not allowed here"),
    "incomplete-features": (409, "Some feature views lack this customer"),
    "stale-features": (409, "The customer's features are too old"),
    "body-too-large": (413, "The request's body is too large"),
    "not-json": (415, "The request's content type is not JSON"),
    "encoded-body": (415, "The request's body is compressed"),
    "invalid-request": (422, "The request is not of the declared form"),
    "internal-error": (500, "The service failed"),
    "model-unavailable": (503, "No model can be served"),
    "feature-store-unavailable": (503, "The feature store cannot be reached"),
    "overloaded": (503, "Too many requests wait"),
    "not-ready": (503, "The service is not ready"),
}

# Errors that Flask and Werkzeug raise, by status.
_RAISED_BY_FLASK = {
    400: "malformed-json",
    404: "not-found",
    405: "method-not-allowed",
    413: "body-too-large",
    415: "not-json",
}

# Overload passes within a second; a recovered model or store is found within a few.
_RETRY_AFTER_SECONDS = {"overloaded": "1"}
_RETRY_AFTER_SECONDS_OTHERWISE = "5"


class Problem(HTTPException):
    """An error of one of TYPES; `members` are further fields of the answer, such as missing_features."""

    def __init__(self, type_: str, detail: str, **members: Any) -> None:
        super().__init__(description=detail)
        self.type = type_
        self.code, self.title = TYPES[type_]
        self.members = members


def register(app: Flask) -> None:
    """Answer every error of `app` with application/problem+json."""
    app.register_error_handler(HTTPException, _answer_http_exception)
    app.register_error_handler(Exception, _answer_unexpected)


def invalid_request(error: ValidationError) -> Response:
    """Return a 422 with the first validation error."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    return answer(Problem("invalid-request", f"{place}: {first['msg']}" if place else first["msg"]))


def members(problem: Problem) -> dict[str, Any]:
    """Return the fields of the response to `problem`."""
    detail = problem.description or problem.title
    return {"type": problem.type, "title": problem.title, "status": problem.code, "detail": detail, **problem.members}


def answer(problem: Problem) -> Response:
    """Return `problem` as a response."""
    response = _response(problem.type, problem.code or 500, problem.title, problem.description, problem.members)
    if problem.code == HTTPStatus.SERVICE_UNAVAILABLE:
        response.headers["Retry-After"] = _RETRY_AFTER_SECONDS.get(problem.type, _RETRY_AFTER_SECONDS_OTHERWISE)
    elif problem.type == "encoded-body":
        # RFC 9110, section 15.5.16: name the supported encodings.
        response.headers["Accept-Encoding"] = "identity"
    elif problem.code == HTTPStatus.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def _answer_http_exception(error: HTTPException) -> Response:
    if isinstance(error, Problem):
        return answer(error)
    status = error.code or 500
    type_ = _RAISED_BY_FLASK.get(status, "about:blank")
    _, title = TYPES.get(type_, (status, HTTPStatus(status).phrase))
    response = _response(type_, status, title, error.description, {})
    # Keeps Allow of a 405; the content headers describe Werkzeug's HTML page.
    response.headers.extend((k, v) for k, v in error.get_headers() if not k.lower().startswith("content-"))
    return response


def _answer_unexpected(error: Exception) -> Response:
    log.error("unexpected error", exc_info=error)
    return answer(Problem("internal-error", "an unexpected error; the service's log has the details"))


def _response(type_: str, status: int, title: str, detail: str | None, members: dict[str, Any]) -> Response:
    response = jsonify({"type": type_, "title": title, "status": status, "detail": detail or title} | members)
    response.status_code = status
    response.mimetype = "application/problem+json"
    return response
