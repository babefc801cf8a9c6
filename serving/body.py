"""Strict reading of JSON bodies: each kind of malformed body gets its own problem."""

from contextlib import suppress
from typing import Any

from flask import Request, Response, request
from werkzeug.exceptions import RequestEntityTooLarge

from serving.problems import Problem

_MOST_LEFT_BYTES = 65_536
"""Maximum unread bytes to drain. If a refused body has more, the connection is closed."""


class StrictRequest(Request):
    """A request whose body must be a JSON object.

    flask-openapi3 reads the body silently: malformed or missing JSON would reach the schema as None and be reported as
    a missing field. A JSON string that contains JSON would be parsed twice.
    """

    def get_json(self, force: bool = False, silent: bool = False, cache: bool = True) -> Any:  # noqa: ARG002
        """Return the body as a dict; `silent` is ignored.

        Raises:
            Problem: encoded-body, not-json, malformed-json or invalid-request.
            RequestEntityTooLarge: a chunked body is above the limit.
        """
        encoding = self.headers.get("Content-Encoding", "").strip()
        if encoding.lower() not in ("", "identity"):
            # Otherwise the JSON parser reports it as malformed.
            raise Problem(
                "encoded-body",
                f"send the body uncompressed: Content-Encoding {encoding[:40]!r} is not supported",
            )
        # Werkzeug truncates a chunked body at the limit instead of refusing it, so look for more in the raw stream.
        at_limit = self.content_length is None and len(self.get_data()) == self.max_content_length
        if at_limit and self.input_stream.read(1):
            raise RequestEntityTooLarge
        try:
            body = super().get_json(force=force, cache=cache)
        except RecursionError as error:
            raise Problem("malformed-json", "the body is nested too deeply") from error
        if not isinstance(body, dict):
            raise Problem("invalid-request", 'the body must be a JSON object such as {"user_id": "7892-POOKP"}')
        return body

    @property
    def is_json(self) -> bool:
        """Tell whether the content type is exactly application/json; types that end in +json are refused."""
        return self.mimetype == "application/json"

    def on_json_loading_failed(self, e: ValueError | None) -> Any:
        """Raise the problem. `e` is the parser's error, None if the content type is not JSON."""
        if e is None:
            given = self.mimetype or "none"
            raise Problem("not-json", f"send the body with Content-Type application/json, not {given}")
        raise Problem("malformed-json", f"the body is not JSON: {e}") from e


def take_the_rest(response: Response) -> Response:
    """Drain the unread rest of a request's body before the response is sent. Otherwise gunicorn drains it afterwards,
    takes the client's next request with it, and then waits in vain for that request."""
    # Without input_terminated, reading past the end of the body blocks.
    if request.environ.get("wsgi.input_terminated"):
        with suppress(OSError):  # a truncated or wrongly chunked body
            request.environ["wsgi.input"].read(_MOST_LEFT_BYTES)
    return response
