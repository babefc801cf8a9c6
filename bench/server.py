"""A Postgres of the benchmarks' own: the embedded one, started as the stack starts it, in a temporary directory."""

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from configparser import RawConfigParser
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from bench.interrupts import interrupted_later
from embedded.postgres_url import database_url
from embedded.settings import Settings
from embedded.stack.postgres import PostgresError, create_databases, prepare_cluster
from embedded.stack.process_manager import CONFIGURATION, end_of

SECONDS_TO_STOP = 30


@dataclass(frozen=True)
class Server:
    """A running server, and the directory beside it where everything else of a run goes."""

    settings: Settings
    directory: Path
    pid: int

    def url(self, database: str) -> str:
        return database_url(self.settings.postgres_server, database)

    def create(self, database: str) -> str:
        """Make the database anew, empty, and return its URL."""
        self.drop(database)
        self._execute("CREATE DATABASE {}", database)
        # As the migrations set it for ours.
        self._execute("ALTER DATABASE {} SET timezone TO 'UTC'", database)
        return self.url(database)

    def drop(self, database: str) -> None:
        """Remove the database, and whoever still works in it."""
        self._execute("DROP DATABASE IF EXISTS {} WITH (FORCE)", database)

    def settle(self) -> None:
        """Write to disk what earlier steps left to be written, so that the next one does not pay for it."""
        self._execute("CHECKPOINT")

    def end_sessions(self, database: str) -> None:
        """End what still runs in the database, and return when it has."""
        self._execute(
            "SELECT pg_terminate_backend(pid, 30000) FROM pg_stat_activity WHERE datname = %(name)s", database
        )

    def backend_bytes(self) -> int | None:
        """Return the memory of its own (not shared) that the largest server process holds now; None off Linux."""
        try:
            children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text(encoding="ascii").split()
        except OSError:
            return None
        return max((_anonymous_bytes(pid) for pid in children), default=0)

    @property
    def version(self) -> str:
        with psycopg.connect(self.settings.postgres_server) as connection:
            return connection.info.parameter_status("server_version") or "unknown"

    def _execute(self, statement: str, database: str = "") -> None:
        with psycopg.connect(self.settings.postgres_server, autocommit=True) as connection:
            query = sql.SQL(statement).format(sql.Identifier(database))
            connection.execute(query, {"name": database})


def _anonymous_bytes(pid: str) -> int:
    # A process that ended since has no status.
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    return 0


@contextmanager
def running_server(parent: Path | None = None) -> Iterator[Server]:
    """Start the server in a temporary directory below `parent`; both are gone at the end, however it comes.

    Raises:
        PostgresError: the server does not answer, or ended by itself.
    """
    directory = Path(tempfile.mkdtemp(prefix="churn-bench-", dir=parent))
    # The server may run as another user.
    directory.chmod(0o711)
    # No port is ever opened: the server listens on its socket alone.
    settings = Settings(home=directory / "home", airflow_port=0, mlflow_port=0, serving_port=0)
    try:
        settings.runtime.mkdir(mode=0o711)
        with _started(settings, prepare_cluster(settings)) as pid:
            create_databases(settings)
            yield Server(settings, directory, pid)
    finally:
        shutil.rmtree(settings.runtime, ignore_errors=True)
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def _started(settings: Settings, postgres: dict[str, str]) -> Iterator[int]:
    owner = int(postgres["CHURN_POSTGRES_UID"])
    path = settings.home / "postgres.log"
    with contextlib.ExitStack() as at_the_end:
        with interrupted_later(), path.open("wb") as log:
            process = subprocess.Popen(
                _command(settings, postgres),
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=settings.home / "postgres",
                user=owner if owner != os.getuid() else None,
                # Ctrl-C is for us; the server is stopped when the processes that use it are.
                start_new_session=True,
            )
            at_the_end.callback(_stop, process)
        try:
            yield process.pid
        except Exception as error:
            if process.poll() is None:
                raise
            raise PostgresError(f"Postgres ended by itself; the end of its log:\n{end_of(path)}") from error


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGINT)  # Postgres' fast shutdown
    try:
        process.wait(SECONDS_TO_STOP)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGQUIT)  # at once; what it held is removed anyhow
        process.wait()


def _command(settings: Settings, postgres: dict[str, str]) -> list[str]:
    """Return the command by which supervisord starts the stack's server, for these settings."""
    configuration = RawConfigParser(comment_prefixes=(";",))
    configuration.read(CONFIGURATION, encoding="utf-8")
    variables = {**postgres, "CHURN_HOME": str(settings.home), "CHURN_RUNTIME": str(settings.runtime)}
    command = configuration.get("program:postgres", "command")
    return shlex.split(command % {f"ENV_{name}": value for name, value in variables.items()})
