"""A request's JSON body: read strictly, so that each way to be wrong gets its own answer."""

from contextlib import suppress
from typing import Any

from flask import Request, Response, request
from werkzeug.exceptions import RequestEntityTooLarge

from serving.problems import Problem

_MOST_LEFT_BYTES = 65_536
"""Of a body that has more left, which is refused as too large, the rest ends the connection."""


class StrictRequest(Request):
    """A request whose body is a JSON object, or a problem.

    flask-openapi3 asks for the body silently: malformed JSON, or none at all, would reach the schema as None
    and be answered like a missing field, and a string that holds JSON would be parsed a second time.
    """

    def get_json(self, force: bool = False, silent: bool = False, cache: bool = True) -> Any:  # noqa: ARG002
        """Return the body as a dict, never silently.

        Raises:
            Problem: encoded-body, not-json, malformed-json or invalid-request.
            RequestEntityTooLarge: a chunked body is above the limit.
        """
        encoding = self.headers.get("Content-Encoding", "").strip()
        if encoding.lower() not in ("", "identity"):
            # The JSON parser would call it malformed.
            raise Problem(
                "encoded-body",
                f"send the body as it is: Content-Encoding {encoding[:40]!r} is not taken, and none is needed",
            )
        # Werkzeug cuts a chunked body off at the limit, instead of refusing it. What is behind is not for its stream.
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
        """Tell whether the content type is application/json, and no other whose name ends in +json."""
        return self.mimetype == "application/json"

    def on_json_loading_failed(self, e: ValueError | None) -> Any:
        """Raise the problem: `e` is what the JSON parser says, None when the content type is not JSON."""
        if e is None:
            given = self.mimetype or "none"
            raise Problem("not-json", f"send the body with Content-Type application/json, not {given}")
        raise Problem("malformed-json", f"the body is not JSON: {e}") from e


def take_the_rest(response: Response) -> Response:
    """Read what the service left unread of a request's body, before the answer is sent. gunicorn would read it after
    that, together with the client's next request, and then wait for this one in vain."""
    # A server that does not end its input where the body ends would wait for more.
    if request.environ.get("wsgi.input_terminated"):
        with suppress(OSError):  # a body that breaks off, or is wrongly chunked
            request.environ["wsgi.input"].read(_MOST_LEFT_BYTES)
    return response
