"""A temporary MLflow server, used by HTTP as the tasks do."""

import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.service import running


@contextmanager
def mlflow_server(directory: Path) -> Iterator[str]:
    """Run an empty MLflow with all its files below `directory`, and yield its address.

    Raises:
        BenchError: it does not start; the message has the end of its log.
    """
    directory.mkdir()
    port = free_port()
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)),
        *("--backend-store-uri", f"sqlite:///{directory}/mlflow.db"),
        *("--artifacts-destination", str(directory / "artifacts"), "--workers", "1"),
    ]
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with running(command, quiet, port, "/health", directory / "server.log") as service:
        yield service.url("")


def free_port() -> int:
    """Return a free port of 127.0.0.1."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
