"""How gunicorn runs the service: `gunicorn --config serving/gunicorn.conf.py`, with include/ on PYTHONPATH.

The application is imported once, before the fork: importing feast and mlflow takes seconds and hundreds of
megabytes, and workers share both. It opens no connection there; each worker starts its threads after the
fork.
"""

import gc
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from gunicorn import util

# Always a directory of our own: whoever started us may have one too (feast makes one in every process that imports
# it). prometheus_client chooses files over memory when it is imported, so this comes before the application.
_home = os.environ.get("CHURN_HOME")
_metrics = Path(_home) / "serving-metrics" if _home else Path(tempfile.mkdtemp(prefix="churn-serving-metrics-"))
_metrics.mkdir(parents=True, exist_ok=True)
for _name in ("PROMETHEUS_MULTIPROC_DIR", "PROMETHEUS_MULTIPROCESS_DIR"):
    os.environ[_name] = str(_metrics)
# MLflow would repeat a failed request for minutes; the next poll comes in seconds anyway.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "15")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
# One customer at a time is nothing to share among threads: waiting for each other, they take longer than one.
os.environ.setdefault("OMP_NUM_THREADS", "1")
logconfig_dict = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": "serving.logs.JsonFormatter"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "json"}},
    "root": {"level": "WARNING", "handlers": ["console"]},
    "loggers": {
        "serving": {"level": "INFO"},
        "gunicorn.error": {"level": "INFO", "handlers": ["console"], "propagate": False},
    },
}

wsgi_app = "serving.app:create_app()"
preload_app = True
bind = f"{os.environ.get('SERVING_HOST') or '127.0.0.1'}:{os.environ.get('SERVING_PORT') or 8000}"
worker_class = "serving.worker.Worker"
workers = int(os.environ.get("SERVING_WORKERS") or 2)
# Threads take the interpreter from each other, and a prediction without its explanation takes none (serving.worker).
# Two for everything else, so that a batch, or a client that is slow to send one, does not stop the others.
threads = int(os.environ.get("SERVING_THREADS") or 2)
# A request takes milliseconds; whoever stops the service should not wait longer than this for a stuck one.
graceful_timeout = 10
# Clients that ask often keep their connection. Less than graceful_timeout: a worker ends when the last idle one is
# closed, and then writes what the prediction log holds.
keepalive = 5
# A process may have 1,024 descriptors on many machines; nobody is accepted beyond these.
worker_connections = 500
# No client of ours has many or long headers.
limit_request_line = 4094
limit_request_fields = 50
limit_request_field_size = 4096
# gunicorn would open a control socket in the home directory, the same one for every checkout.
control_socket_disable = True
# The kernel would wait for a client that is slow to read, and with it the thread.
sendfile = False
logger_class = "serving.logs.ServerLogger"


def _write_problem(client: Any, status: int, reason: str, _message: str) -> None:
    """Answer what gunicorn refuses by itself, a request that is no HTTP or has headers without end, as the service
    answers errors. The message would repeat what was sent."""
    body = json.dumps({"type": "about:blank", "title": reason, "status": status, "detail": reason})
    head = (
        f"HTTP/1.1 {status} {reason}\r\nConnection: close\r\nContent-Type: application/problem+json\r\n"
        f"Content-Length: {len(body)}\r\nX-Content-Type-Options: nosniff\r\n\r\n"
    )
    util.write_nonblock(client, (head + body).encode())


# gunicorn writes HTML there, and has no setting for it.
util.write_error = _write_problem


def on_starting(_server: Any) -> None:
    """Drop what an earlier run counted."""
    for file in _metrics.glob("*.db"):
        file.unlink()


def when_ready(_server: Any) -> None:
    """Keep the garbage collector off what was imported: workers then share those pages, and end sooner."""
    gc.freeze()


def post_worker_init(worker: Any) -> None:
    """Start the threads of this worker: started before the fork they would be gone."""
    from serving import app, state  # noqa: PLC0415

    serving = state.of(worker.wsgi)
    worker.short = ("/predict", "/health")
    worker.answer_gathered = serving.gathering.answer
    worker.most_waiting = serving.settings.max_waiting
    serving.line.watch(worker.waiting)
    app.start(worker.wsgi)


def worker_exit(_server: Any, worker: Any) -> None:
    """End them, when the worker has answered its last request."""
    from serving import app  # noqa: PLC0415

    app.stop(worker.wsgi)


def child_exit(_server: Any, worker: Any) -> None:
    """Take a worker's gauges out of /metrics when it ends."""
    from prometheus_client.multiprocess import mark_process_dead  # noqa: PLC0415

    mark_process_dead(worker.pid)


def on_exit(_server: Any) -> None:
    """Leave nothing behind."""
    shutil.rmtree(_metrics, ignore_errors=True)
