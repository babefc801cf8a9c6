"""How gunicorn runs the service: `gunicorn --config serving/gunicorn.conf.py`, with include/ on PYTHONPATH.

A slow client holds a thread: put a buffering proxy in front, as gunicorn's deployment guide says. The compose file has
one (containers/nginx).

The application is imported once, before the fork: importing feast and mlflow takes seconds and hundreds of
megabytes, and workers share both. It opens no connection there; each worker starts its threads after the
fork.
"""

import gc
import os
import shutil
import socket
import tempfile
from pathlib import Path
from typing import Any

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

workers = int(os.environ.get("SERVING_WORKERS") or 2)
wsgi_app = f"serving.app:create_app(workers={workers})"
preload_app = True
bind = f"{os.environ.get('SERVING_HOST') or '127.0.0.1'}:{os.environ.get('SERVING_PORT') or 8000}"
# Stock threads: a request waits in one. As many as may be under way (serving.overload), and some for refusing others.
worker_class = "gthread"
threads = 2 * int(os.environ.get("SERVING_MAX_WAITING") or 64) + 8
# A request takes milliseconds; whoever stops the service should not wait longer than this for a stuck one.
graceful_timeout = 5
# Clients that ask often keep their connection. A worker that ends waits for idle ones too, for graceful_timeout.
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


def on_starting(_server: Any) -> None:
    """Drop what an earlier run counted."""
    for file in _metrics.glob("*.db"):
        file.unlink()


def when_ready(_server: Any) -> None:
    """Keep the garbage collector off what was imported: workers then share those pages, and end sooner."""
    gc.freeze()


def post_worker_init(worker: Any) -> None:
    """Start the threads of this worker: started before the fork they would be gone."""
    from serving import app  # noqa: PLC0415

    app.start(worker.wsgi)


def post_request(_worker: Any, req: Any, environ: dict[str, Any], _resp: Any) -> None:
    """Answer pipelined requests. A gthread worker waits for its socket to become readable, though the next request is
    in its buffer. After the end of input the socket is readable: the worker answers what is buffered, then closes."""
    if environ and req.unreader.buf.getvalue():
        environ["gunicorn.socket"].shutdown(socket.SHUT_RD)


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
