"""The services that are compared: how each is started, and what it is asked. Each has two workers."""

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from configparser import RawConfigParser
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from bench.load import Load, load
from bench.mlflow_server import free_port
from bench.service import Service, running
from bench.serving_world import World
from churn.registry.model_version import MODEL_NAME, PRODUCTION
from embedded.environment import environment
from embedded.settings import REPOSITORY
from embedded.stack.process_manager import CONFIGURATION

OURS, NAIVE, MLFLOW, CONSTANT, SELECT = "ours", "naive", "mlflow models serve", "constant", "constant + SELECT"
SIDES = (NAIVE, OURS, SELECT, CONSTANT, MLFLOW)
"""In the order of their turns: what is compared with ours has its turn next to that of ours."""

WORKERS = 2

_LIMIT = "the limit"
_SERVICES = {OURS: OURS, NAIVE: NAIVE, MLFLOW: MLFLOW, CONSTANT: _LIMIT, SELECT: _LIMIT}
_ROUTES = {OURS: "/predict", NAIVE: "/predict", MLFLOW: "/invocations", CONSTANT: "/constant", SELECT: "/select"}
_READY = {OURS: "/health/ready"}


@dataclass(frozen=True)
class Started:
    """A side whose service runs."""

    service: Service
    route: str
    bodies: Path

    def load(self, connections: int, seconds: int) -> Load:
        return load(self.service.url(self.route), self.bodies, connections, seconds)


def service_of(side: str) -> str:
    """Return the name of the service that answers for the side: the two limits are routes of one."""
    return _SERVICES[side]


def started(side: str, service: Service, world: World) -> Started:
    return Started(service, _ROUTES[side], world.frames if side == MLFLOW else world.questions)


def start(name: str, world: World, workers: int = WORKERS) -> AbstractContextManager[Service]:
    """Start the service of that name on what stage Production holds; it is stopped at the end of the block.

    Raises:
        BenchError: it does not start.
    """
    port = free_port()
    log = world.directory / f"{name.replace(' ', '-')}.log"
    return running(
        _command(name, port, workers), _environment(world, port, workers), port, _READY.get(name, "/health"), log
    )


def _environment(world: World, port: int, workers: int) -> Mapping[str, str]:
    """Return the variables of the stack's processes."""
    return environment(replace(world.settings, serving_port=port)) | {
        "SERVING_WORKERS": str(workers),
        "CHURN_PYTHON": sys.executable,
        "CHURN_REPOSITORY": str(REPOSITORY),
        # A process that writes its title over its environment cannot be found by it any more.
        "SPT_NOENV": "1",
        "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}",
    }


def _command(name: str, port: int, workers: int) -> Sequence[str]:
    python = (sys.executable, "-m")
    listen = ("--host", "127.0.0.1", "--port", str(port), "--workers", str(workers))
    if name == OURS:
        return _stack_command()
    if name == NAIVE:
        return (*python, "uvicorn", "bench.naive_service:app", *listen, "--no-access-log", "--log-level", "warning")
    if name == MLFLOW:
        model = ("--model-uri", f"models:/{MODEL_NAME}/{PRODUCTION}", "--env-manager", "local")
        return (*python, "mlflow", "models", "serve", *model, *listen)
    return (*python, "gunicorn", "--config", str(REPOSITORY / "bench" / "limit_gunicorn.conf.py"))


def _stack_command() -> Sequence[str]:
    """Return the command by which supervisord starts the stack's service."""
    configuration = RawConfigParser(comment_prefixes=(";",))
    configuration.read(CONFIGURATION, encoding="utf-8")
    variables = {"ENV_CHURN_PYTHON": sys.executable, "ENV_CHURN_REPOSITORY": str(REPOSITORY)}
    return shlex.split(configuration.get("program:serving", "command") % variables)
