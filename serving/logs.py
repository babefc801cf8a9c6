"""JSON logs, one line per record, with the request id."""

import json
import logging
import re
import uuid
from datetime import UTC, datetime
from typing import Any

from flask import Flask, Response, g, has_request_context, request
from gunicorn.glogging import Logger

HEADER = "X-Request-ID"
_GOOD_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class JsonFormatter(logging.Formatter):
    """Formats a record as one JSON line: time, level, logger, message, and request_id and exception if any."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if has_request_context():
            line["request_id"] = request_id()
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class ServerLogger(Logger):
    """gunicorn's logger without an access log. Configured by logconfig_dict, gunicorn formats an access line for every
    request, a tenth of its time, even if no handler wants it."""

    def access(self, resp: Any, req: Any, environ: Any, request_time: Any) -> None:
        """Log nothing: /metrics counts requests, and paths contain customer ids."""


def request_id() -> str:
    """Return the id of the current request: the one sent by the client or a proxy, or a new one."""
    if "request_id" not in g:
        given = request.headers.get(HEADER, "")
        g.request_id = given if _GOOD_ID.fullmatch(given) else uuid.uuid4().hex
    return g.request_id


def tell_request_ids(app: Flask) -> None:
    """Send the request id with every response."""
    app.after_request(_set_id)


def _set_id(response: Response) -> Response:
    response.headers[HEADER] = request_id()
    return response
