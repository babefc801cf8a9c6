"""Starts, queries and stops supervisord, whose processes are defined in supervisord.conf.

There is one supervisord per CHURN_HOME. Only its user can open its Unix socket.
"""

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xmlrpc.client import Fault, ServerProxy

import psutil
from supervisor.xmlrpc import SupervisorTransport

from embedded.environment import environment
from embedded.settings import REPOSITORY, Settings

CONFIGURATION = Path(__file__).with_name("supervisord.conf")


class StackError(RuntimeError):
    """The stack cannot run; the message says why and what to do."""


@dataclass(frozen=True)
class Process:
    """A process of supervisord; `state` is one of supervisord's: STOPPED, STARTING, RUNNING, BACKOFF, …"""

    name: str
    group: str
    state: str
    pid: int
    uptime: int
    exit_status: int
    problem: str
    log: Path

    @property
    def alive(self) -> bool:
        return self.state in ("STARTING", "RUNNING")

    @property
    def end(self) -> str:
        """How it ended, in words."""
        return f"exit status {self.exit_status}" + (f" ({self.problem})" if self.problem else "")

    @property
    def dead(self) -> bool:
        """Whether it was started and has ended, even if supervisord will restart it."""
        return self.state in ("BACKOFF", "FATAL", "EXITED", "UNKNOWN")

    @property
    def gone(self) -> bool:
        """Whether it does not run and supervisord does not restart it. EXITED can also mean the second before a
        restart."""
        return self.state in ("STOPPED", "FATAL", "EXITED", "UNKNOWN")

    def last_words(self, lines: int) -> str:
        """Its state and the end of its log."""
        how = self.state.lower() + ("" if self.alive else f", {self.end}")
        return f"{self.name} is {how}; the end of {self.log}:\n{end_of(self.log, lines)}"


class ProcessManager:
    """The supervisord of one stack. Every method but `start` needs it to be running."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._socket = settings.supervisor_socket

    @property
    def _rpc(self) -> Any:
        # A new one each time: the transport does not recover from a refused connection.
        transport = SupervisorTransport(serverurl=f"unix://{self._socket}")
        return ServerProxy("http://127.0.0.1", transport=transport).supervisor

    def running(self) -> bool:
        """Return whether it answers and is not shutting down."""
        try:
            state: dict[str, object] = self._rpc.getState()
        except OSError:
            return False
        return state["statename"] == "RUNNING"

    def start(self, extra: Mapping[str, str]) -> None:
        """Start supervisord with the stack's environment plus `extra`, without starting its processes.

        Raises:
            StackError: it does not answer within 15 seconds.
        """
        python = sys.executable
        variables = {
            **os.environ,
            **environment(self._settings),
            **extra,
            "PATH": f"{Path(python).parent}:{os.environ.get('PATH', os.defpath)}",
            "CHURN_PYTHON": python,
            "CHURN_REPOSITORY": str(REPOSITORY),
            "CHURN_UID": str(os.getuid()),
            "CHURN_IDENTITY": self.identity(),
            "CHURN_SUPERVISOR_SOCKET": str(self._socket),
            "CHURN_RUNTIME": str(self._settings.runtime),
            # A process title overwrites the environment of Airflow's processes, which survivors.py reads.
            "SPT_NOENV": "1",
        }
        command = [python, "-m", "supervisor.supervisord", "--configuration", str(CONFIGURATION)]
        started = subprocess.run(command, env=variables, check=False, capture_output=True, text=True)
        if started.returncode:
            raise StackError(f"supervisord did not start: {(started.stderr or started.stdout).strip()}")
        deadline = time.monotonic() + 15
        while not self.running():
            if time.monotonic() > deadline:
                raise StackError(f"supervisord does not answer; see {self._settings.logs / 'supervisord.log'}")
            time.sleep(0.05)

    def identity(self) -> str:
        """Return the ports, database, broker and online store of the settings in words, with hashes for URLs."""
        server, broker, redis = self._settings.server, self._settings.broker, self._settings.redis
        where = f"own Postgres {_hash(server)}" if server else "embedded Postgres"
        where += f", Celery {_hash(broker)}" if broker else ""
        where += f", features in Redis {_hash(redis)}" if redis else ""
        return (
            f"Airflow on {self._settings.airflow_port}, MLflow on {self._settings.mlflow_port}, "
            f"serving on {self._settings.serving_port}, {where}"
        )

    def started_as(self) -> str:
        """Return the identity of the settings that it was started with."""
        return str(self._rpc.getIdentification())

    def processes(self) -> dict[str, Process]:
        """Return every process of supervisord.conf by name, in start order."""
        found = [_process(info) for info in self._rpc.getAllProcessInfo()]
        return {process.name: process for process in sorted(found, key=lambda p: (p.group != "database", p.name))}

    def start_process(self, process: Process) -> None:
        """Start `process` unless it runs; do not wait for it.

        Raises:
            StackError: the command cannot be executed.
        """
        if process.alive:
            return
        try:
            self._rpc.startProcess(f"{process.group}:{process.name}", False)
        except Fault as fault:
            if fault.faultString.startswith("ALREADY_STARTED"):
                return
            raise StackError(f"{process.name} cannot be started: {fault.faultString}") from fault

    def stop(self) -> None:
        """Stop every process and supervisord itself, and wait until all are gone.

        Raises:
            StackError: they are not gone after two minutes.
        """
        pid = int(self._rpc.getPID())
        self._rpc.shutdown()
        deadline = time.monotonic() + 120
        while is_alive(pid):
            if time.monotonic() > deadline:
                raise StackError(
                    f"supervisord (pid {pid}) is still stopping its processes after two minutes; "
                    f"see {self._settings.logs / 'supervisord.log'}"
                )
            time.sleep(0.1)


def _hash(url: str) -> str:
    return hashlib.sha256(url.encode()).hexdigest()[:8]


def _process(info: Mapping[str, object]) -> Process:
    state, now, start = str(info["statename"]), int(str(info["now"])), int(str(info["start"]))
    return Process(
        name=str(info["name"]),
        group=str(info["group"]),
        state=state,
        pid=int(str(info["pid"])),
        uptime=now - start if state in ("STARTING", "RUNNING") else 0,
        exit_status=int(str(info["exitstatus"])),
        problem=str(info["spawnerr"]),
        log=Path(str(info["stdout_logfile"])),
    )


def is_alive(pid: int) -> bool:
    """Return whether the process exists and is not a zombie."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def end_of(log: Path, lines: int = 15) -> str:
    """Return the last lines of `log`, indented, or a note that there is no log."""
    if not log.exists():
        return f"    (no log at {log})"
    with log.open("rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - 16_384))
        text = file.read().decode(errors="replace")
    return "\n".join(f"    {line[:240]}" for line in text.splitlines()[-lines:]) or f"    ({log} is empty)"
