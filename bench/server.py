"""The benchmarks' own stacks in temporary directories, and their Postgres, which is started like the embedded one."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import psycopg
from psycopg import sql

from bench.processes import free_ports
from churn.postgres.database_url import url_on
from embedded.settings import Settings
from embedded.stack import lifecycle as stack
from embedded.stack.process_manager import ProcessManager
from embedded.stack.services import POSTGRES

Say = Callable[[str], None]


@dataclass(frozen=True)
class Server:
    """A running Postgres, and the directory for all other files of a run."""

    settings: Settings
    directory: Path
    pid: int

    @contextmanager
    def database(self, name: str = "churn") -> Iterator[str]:
        """Create an empty database, yield its URL, and drop it."""
        self._execute("CREATE DATABASE {}", name)
        # As the migrations set it for ours.
        self._execute("ALTER DATABASE {} SET timezone TO 'UTC'", name)
        yield url_on(self.settings.postgres_server, name)
        self._execute("DROP DATABASE {} WITH (FORCE)", name)

    def settle(self) -> None:
        """Write the dirty pages of earlier steps to disk, so that the next step does not pay for them."""
        self._execute("CHECKPOINT")

    def backend_bytes(self) -> int:
        """Return the private memory of the largest server process now."""
        return max(map(_private_bytes, psutil.Process(self.pid).children()), default=0)

    @property
    def version(self) -> str:
        with psycopg.connect(self.settings.postgres_server) as connection:
            return connection.info.parameter_status("server_version") or "unknown"

    def _execute(self, statement: str, *names: str) -> None:
        with psycopg.connect(self.settings.postgres_server, autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


def _private_bytes(process: psutil.Process) -> int:
    try:
        held: Any = process.memory_info()
    except psutil.NoSuchProcess:
        return 0
    # Off Linux the shared pages are not known.
    return int(held.rss - getattr(held, "shared", 0))


@contextmanager
def running_server(parent: Path | None, say: Say) -> Iterator[Server]:
    """Start the Postgres of a temporary stack below `parent`, and remove both at the end."""
    with temporary_stack(parent) as settings, stack.only(settings, [POSTGRES], say):
        pid = ProcessManager(settings).processes()[POSTGRES].pid
        yield Server(settings, settings.home.parent, pid)


@contextmanager
def temporary_stack(parent: Path | None = None, broker: str | None = None) -> Iterator[Settings]:
    """Yield the settings of a stack in a temporary directory below `parent`, on free ports; at the end stop it and
    remove all its files."""
    directory = Path(tempfile.mkdtemp(prefix="churn-bench-", dir=parent))
    # Postgres may run as another user.
    directory.chmod(0o711)
    airflow_port, mlflow_port, serving_port = free_ports(3)
    erasure = directory / "erasure"
    settings = Settings(directory / "home", airflow_port, mlflow_port, serving_port, erasure, broker=broker)
    try:
        yield settings
    finally:
        stack.down(settings, lambda _: None)
        shutil.rmtree(settings.runtime, ignore_errors=True)
        shutil.rmtree(directory)
