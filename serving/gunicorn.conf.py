"""gunicorn settings: `gunicorn --config serving/gunicorn.conf.py`, with include/ on PYTHONPATH.

A slow client occupies a thread: put a buffering proxy in front, as gunicorn's deployment guide says. The compose file
has one (containers/nginx).

The application is imported once, before the fork: importing feast and mlflow takes seconds and hundreds of megabytes,
which workers share. It opens no connection there; each worker starts its threads after the fork.
"""

import gc
import os
import shutil
import socket
import tempfile
from pathlib import Path
from typing import Any

# Override an inherited directory: feast creates one in every process that imports it. prometheus_client reads the
# variable at import, so set it before importing the application.
_home = os.environ.get("CHURN_HOME")
_metrics = Path(_home) / "serving-metrics" if _home else Path(tempfile.mkdtemp(prefix="churn-serving-metrics-"))
_metrics.mkdir(parents=True, exist_ok=True)
for _name in ("PROMETHEUS_MULTIPROC_DIR", "PROMETHEUS_MULTIPROCESS_DIR"):
    os.environ[_name] = str(_metrics)
# MLflow retries a failed request for minutes; the next poll comes within seconds.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "15")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
# For a single row, OpenMP threads are slower than one thread.
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

workers = int(os.environ.get("SERVING_WORKERS") or 2)
wsgi_app = f"serving.app:create_app(workers={workers})"
preload_app = True
bind = f"{os.environ.get('SERVING_HOST') or '127.0.0.1'}:{os.environ.get('SERVING_PORT') or 8000}"
# A thread per request: as many as serving.overload admits, and spare ones that refuse the rest.
worker_class = "gthread"
threads = 2 * int(os.environ.get("SERVING_MAX_WAITING") or 64) + 8
# A request takes milliseconds; a stuck one must not delay a stop for longer.
graceful_timeout = 5
# Frequent clients keep their connection. A stopping worker waits up to graceful_timeout for idle connections too.
keepalive = 5
# Below the common limit of 1,024 file descriptors per process.
worker_connections = 500
# Clients send few and short headers.
limit_request_line = 4094
limit_request_fields = 50
limit_request_field_size = 4096
# gunicorn's control socket is in the home directory, where all checkouts share it.
control_socket_disable = True
# sendfile() blocks the thread on a slow client.
sendfile = False
logger_class = "serving.logs.ServerLogger"


def on_starting(_server: Any) -> None:
    """Delete the metrics of an earlier run."""
    for file in _metrics.glob("*.db"):
        file.unlink()


def when_ready(_server: Any) -> None:
    """Exclude imported objects from garbage collection, so that workers share their pages and exit faster."""
    gc.freeze()


def post_worker_init(worker: Any) -> None:
    """Start this worker's threads; threads do not survive a fork."""
    from serving import app  # noqa: PLC0415

    app.start(worker.wsgi)


def post_request(_worker: Any, req: Any, environ: dict[str, Any], _resp: Any) -> None:
    """Answer pipelined requests. A gthread worker waits for its socket to become readable even if the next request is
    in its buffer. Shutting down the input makes it readable: the worker answers the buffered requests, then closes."""
    if environ and req.unreader.buf.getvalue():
        environ["gunicorn.socket"].shutdown(socket.SHUT_RD)


def worker_exit(_server: Any, worker: Any) -> None:
    """Stop the threads after the worker's last request."""
    from serving import app  # noqa: PLC0415

    app.stop(worker.wsgi)


def child_exit(_server: Any, worker: Any) -> None:
    """Remove a dead worker's gauges from /metrics."""
    from prometheus_client.multiprocess import mark_process_dead  # noqa: PLC0415

    mark_process_dead(worker.pid)


def on_exit(_server: Any) -> None:
    """Delete the metrics directory."""
    shutil.rmtree(_metrics, ignore_errors=True)
