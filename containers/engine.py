"""A compose project on docker or podman, with the operations that the proof needs."""

import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from containers.env_file import SECRETS, SETTINGS

COMPOSE_FILE = Path(__file__).parents[1] / "docker-compose.airflow.yml"
COMPLETED = ("databases", "airflow-init")
"""The services that run once and exit."""

SPARK = ("worker-spark", "spark-master", "spark-worker-1", "spark-worker-2")
"""The services of the profile `spark`: the driver, which is a worker of Celery, and the cluster."""


class ComposeError(RuntimeError):
    """A command of the engine failed, or a service is not ready; the message has the end of its log."""


def find_engine() -> str:
    """Return the engine that runs here, docker or podman.

    Raises:
        ComposeError: neither runs.
    """
    for engine in ("docker", "podman"):
        if shutil.which(engine) and subprocess.run([engine, "info"], capture_output=True, check=False).returncode == 0:
            return engine
    raise ComposeError("neither `docker info` nor `podman info` answers here: start or install one of them")


@dataclass(frozen=True)
class Project:
    """The services of the compose file under one name, with the settings of one .env.

    Attributes:
        services: the services to run, in the order of the file.
    """

    engine: str
    name: str
    env_file: Path
    services: Sequence[str]

    def compose(self, *arguments: str) -> None:
        """Run docker compose or podman-compose with inherited output."""
        self._run(*self._program, *arguments)

    def script(self, lines: str) -> None:
        """Run a shell script in the directory of the settings, with a function `compose` for this project."""
        compose = f'compose() {{ {shlex.join(self._program)} "$@"; }}\n'
        self._run("sh", "-euc", compose + lines, directory=self.env_file.parent)

    @property
    def _program(self) -> list[str]:
        if self.engine == "docker":
            program = ["docker", "compose"]
        else:
            # podman's own image format has no health checks, and builds of podman 4 have no network by default.
            build = ["--podman-build-args=--format docker", "--podman-build-args=--network host"]
            # Without systemd, podman warns at every container that it cannot run health checks.
            quiet = ["--podman-args=--log-level=fatal"]
            program = [str(Path(sys.executable).with_name("podman-compose")), *quiet, *build]
        files = ["--env-file", str(self.env_file), "-p", self.name, "-f", str(COMPOSE_FILE)]
        return [*program, *files, "--profile", "monitoring", "--profile", "spark"]

    def _run(self, *command: str, directory: Path = COMPOSE_FILE.parent) -> None:
        # The environment would override the file, and `make env` exports some of the same names.
        environment = {name: value for name, value in os.environ.items() if name not in {*SECRETS, *SETTINGS}}
        done = subprocess.run(command, check=False, cwd=directory, env=environment)
        if done.returncode:
            raise ComposeError(f"{shlex.join(command)} ended with status {done.returncode}")

    def up(self) -> None:
        """Start every service; docker waits for healthy dependencies."""
        # podman 4 cannot start a service that depends on a completed one.
        order = [] if self.engine == "docker" else ["--no-deps"]
        self.compose("up", "-d", *order, *self.services)

    def up_alone(self, service: str) -> None:
        """Start one service without its dependencies."""
        self.compose("up", "-d", "--no-deps", service)

    def call(self, *arguments: str) -> str:
        """Run a command of the engine itself and return what it printed."""
        done = subprocess.run([self.engine, *arguments], capture_output=True, text=True, check=False)
        if done.returncode:
            raise ComposeError(f"{self.engine} {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout.strip()

    def execute(self, service: str, *command: str) -> str:
        """Run a command in the service's container and return what it printed."""
        return self.call("exec", self.container(service) or "", *command)

    def container(self, service: str) -> str | None:
        """Return the id of the service's container, None if it has none."""
        labels = {"project": self.name, "service": service}
        filters = [f"--filter=label=com.docker.compose.{label}={value}" for label, value in labels.items()]
        return self.call("ps", "-a", "-q", *filters).partition("\n")[0] or None

    def trouble(self, service: str) -> str | None:
        """Return in words why the service is not healthy or not completed, None if it is."""
        container = self.container(service)
        if container is None:
            return "it has no container"
        state, code = self.call("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", container).split()
        if service in COMPLETED:
            return None if (state, code) == ("exited", "0") else f"it is {state} ({code})"
        if state != "running":
            return f"it is {state} ({code})"
        return None if self._is_healthy(container) else "its health check fails"

    def _is_healthy(self, container: str) -> bool:
        if self.engine == "docker":
            return self.call("inspect", "-f", "{{.State.Health.Status}}", container) == "healthy"
        # Runs the health check, which podman leaves to systemd.
        return subprocess.run(["podman", "healthcheck", "run", container], capture_output=True).returncode == 0  # noqa: PLW1510

    def log(self, service: str, lines: int = 40) -> str:
        """Return the end of the service's log."""
        container = self.container(service)
        command = [self.engine, "logs", "--tail", str(lines), container or ""]
        return subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        ).stdout.strip()

    def wait(self, patience: float) -> None:
        """Wait until every service is healthy or completed.

        Raises:
            ComposeError: one is not, after `patience` seconds.
        """
        deadline = time.monotonic() + patience
        late = list(self.services)
        while late := [service for service in late if self.trouble(service)]:
            if time.monotonic() > deadline:
                logs = [f"{service}: {self.trouble(service)}\n{self.log(service)}" for service in late]
                raise ComposeError(f"not ready after {patience:.0f} seconds:\n" + "\n\n".join(logs))
            time.sleep(1)

    def kill(self, service: str) -> None:
        """Kill and remove the service's container, as if its machine were lost: nothing restarts it."""
        container = self.container(service) or ""
        self.call("kill", container)
        self.call("rm", "-f", container)

    def memory(self) -> dict[str, float]:
        """Return the memory of each running service in MiB."""
        used = {}
        for service in self.services:
            if service not in COMPLETED and (container := self.container(service)):
                shown = self.call("stats", "--no-stream", "--format", "{{.MemUsage}}", container)
                used[service] = mebibytes(shown.partition("/")[0].strip())
        return used

    def image_sizes(self) -> dict[str, float]:
        """Return the size of each image on disk in MB, by its name."""
        sizes = {}
        for service in self.services:
            if container := self.container(service):
                image = self.call("inspect", "-f", "{{.Config.Image}}", container)
                sizes[image] = int(self.call("image", "inspect", "-f", "{{.Size}}", image)) / 1e6
        return sizes

    def left_over(self) -> list[str]:
        """Return the project's containers, volumes and networks that exist."""
        label = f"--filter=label=com.docker.compose.project={self.name}"
        kinds = (("ps", "-a"), ("volume", "ls"), ("network", "ls"))
        return [found for kind in kinds for found in self.call(*kind, "-q", label).split()]


UNITS = {"B": 1, "kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


def mebibytes(text: str) -> float:
    """Convert a size like 123.4MB to MiB, the unit of the memory limits."""
    number = text.rstrip("BKMGTikmgt")
    return float(number) * UNITS[text[len(number) :]] / 2**20


def images_of_environment() -> dict[str, str]:
    """Return the environment variables that name other images."""
    images = [name for name in SETTINGS if name.endswith("_IMAGE") or name == "PIP_CONF"]
    return {name: os.environ[name] for name in images if os.environ.get(name)}
