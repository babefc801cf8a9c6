"""API keys and security headers.

Without configured keys no key is required. Several keys are valid at once, for rotation without an outage.
"""

import hmac
from typing import Any

from flask import Flask, Response, request

from serving import state
from serving.keys import digest_of
from serving.problems import Problem

SCHEME = "api_key"
SECURITY_SCHEMES: dict[str, Any] = {
    SCHEME: {"type": "http", "scheme": "bearer", "description": "If the service requires a key"}
}
OPTIONAL_KEY: list[dict[str, list[str]]] = [{SCHEME: []}, {}]

_HEADERS = (
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    # Proxies must not store customer data.
    ("Cache-Control", "no-store"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
)


def require_key() -> None:
    """Require one of the configured keys, if there are any.

    Raises:
        Problem: unauthorized.
    """
    digests = state.current().settings.api_key_digests
    if not digests:
        return
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    key = key.strip() if scheme.lower() == "bearer" else ""
    digest = digest_of(key)
    # sum() compares all digests, in constant time. An empty key is refused even if its digest is configured.
    if not sum(hmac.compare_digest(digest, each) for each in digests) or not key:
        raise Problem("unauthorized", "send one of the API keys: Authorization: Bearer <key>")


def protect(app: Flask) -> None:
    """Add security headers to every response; pages may set their own."""
    app.after_request(_set_headers)


def _set_headers(response: Response) -> Response:
    given = response.headers
    for name, value in _HEADERS:
        if name not in given:
            given.add(name, value)
    return response
