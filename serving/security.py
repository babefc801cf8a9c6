"""Who may ask, and what browsers may do with an answer.

API keys are off where none are configured. Several are good at once, so that one can replace another without an outage.
"""

import hmac
from typing import Any

from flask import Flask, Response, request

from serving import state
from serving.keys import digest_of
from serving.problems import Problem

SCHEME = "api_key"
SECURITY_SCHEMES: dict[str, Any] = {
    SCHEME: {"type": "http", "scheme": "bearer", "description": "Where the service asks for a key"}
}
OPTIONAL_KEY: list[dict[str, list[str]]] = [{SCHEME: []}, {}]

_HEADERS = (
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    # What is answered about a customer is nobody's to keep on the way.
    ("Cache-Control", "no-store"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
)


def require_key() -> None:
    """Let a request pass that has one of the configured keys, or any where none are.

    Raises:
        Problem: unauthorized.
    """
    digests = state.current().settings.api_key_digests
    if not digests:
        return
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    key = key.strip() if scheme.lower() == "bearer" else ""
    digest = digest_of(key)
    # All of them, whichever it is: how long this takes says nothing. No key is none, whatever is configured.
    if not sum(hmac.compare_digest(digest, each) for each in digests) or not key:
        raise Problem("unauthorized", "send one of the API keys: Authorization: Bearer <key>")


def protect(app: Flask) -> None:
    """Send with every answer what keeps browsers from making more of it; pages say what they need themselves."""
    app.after_request(_set_headers)


def _set_headers(response: Response) -> Response:
    given = response.headers
    for name, value in _HEADERS:
        if name not in given:
            given.add(name, value)
    return response
