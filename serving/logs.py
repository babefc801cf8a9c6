"""Logs: a line of JSON for each record, with the id of the request that it belongs to."""

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
    """A record as one line: time, level, logger, message, and where there are any request_id and exception."""

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
    """gunicorn's log without the lines of an access log: configured by a dictionary, gunicorn would put one together
    for each request, which takes a tenth of the time of an answer, and then find nobody who wants it."""

    def access(self, resp: Any, req: Any, environ: Any, request_time: Any) -> None:
        """Say nothing: requests are counted in /metrics, and addresses hold customers' ids."""


def request_id() -> str:
    """Return the id of the request under way: the one that the client or a proxy gave it, or a new one."""
    if "request_id" not in g:
        given = request.headers.get(HEADER, "")
        g.request_id = given if _GOOD_ID.fullmatch(given) else uuid.uuid4().hex
    return g.request_id


def tell_request_ids(app: Flask) -> None:
    """Send every answer's request id with it."""
    app.after_request(_set_id)


def _set_id(response: Response) -> Response:
    response.headers[HEADER] = request_id()
    return response
