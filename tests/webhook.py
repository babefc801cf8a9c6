"""A webhook on 127.0.0.1 that records its requests, in place of the services that receive alerts."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

WORD = "Sesame-42"
"""The password of the webhook, which no message and no log may hold."""


@dataclass
class Webhook:
    """What was sent so far: {title, message, type, …} each."""

    port: int
    received: list[dict] = field(default_factory=list)

    @property
    def connection(self) -> str:
        """The Airflow connection churn_alerts that names it, as a value of AIRFLOW_CONN_CHURN_ALERTS."""
        url = f"json://alerts:{WORD}@127.0.0.1:{self.port}/hook"
        return json.dumps({"conn_type": "apprise", "extra": {"config": {"path": url}}})


@contextmanager
def webhook() -> Iterator[Webhook]:
    """A webhook that answers 200 to everybody."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            hook.received.append(json.loads(body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing: pytest shows the rest."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hook = Webhook(server.server_port)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hook
    finally:
        server.shutdown()
        server.server_close()
