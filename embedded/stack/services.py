"""The services: their names, addresses, ports and readiness."""

import socket
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import psutil
import requests

from embedded.settings import Settings
from embedded.stack import postgres
from embedded.stack.process_manager import Process, StackError
from serving.healthcheck import is_healthy

POSTGRES = "postgres"
AIRFLOW = ("airflow-api", "airflow-scheduler", "airflow-dag-processor", "airflow-triggerer")
# The names in Airflow's health report.
_COMPONENTS = {
    "airflow-scheduler": "scheduler",
    "airflow-dag-processor": "dag_processor",
    "airflow-triggerer": "triggerer",
}


def addresses(settings: Settings) -> dict[str, str]:
    """Return the address of each service that listens, by its name."""
    return {
        POSTGRES: settings.postgres_server,
        "mlflow": settings.mlflow_url,
        "airflow-api": settings.airflow_url,
        "serving": settings.serving_url,
    }


def not_ready(settings: Settings, processes: Mapping[str, Process]) -> list[str]:
    """Return the names of those `processes` that are not ready."""
    any_airflow = any(name in AIRFLOW for name in processes)
    health = _get_json(f"{settings.airflow_url}/api/v2/monitor/health") if any_airflow else None
    return [name for name, process in processes.items() if not _ready(settings, process, health)]


def _ready(settings: Settings, process: Process, health: dict[str, Any] | None) -> bool:
    if not process.alive:
        return False
    match process.name:
        case "postgres":
            return postgres.answers(settings)
        case "mlflow":
            return answers(f"{settings.mlflow_url}/health")
        case "serving":
            return is_healthy(settings.serving_port)
        case "airflow-api":
            return health is not None
        case name:
            return health is not None and _beats(health[_COMPONENTS[name]], _COMPONENTS[name], process)


def _beats(report: Mapping[str, Any], component: str, process: Process) -> bool:
    """Return whether the component is healthy and its latest heartbeat is of this process, not of a previous one."""
    heartbeat = report.get(f"latest_{component}_heartbeat")
    if report.get("status") != "healthy" or not heartbeat:
        return False
    return datetime.fromisoformat(heartbeat).timestamp() >= int(time.time()) - process.uptime


def session() -> requests.Session:
    """Return an HTTP session that ignores the machine's proxy settings."""
    direct = requests.Session()
    direct.trust_env = False
    return direct


def answers(url: str) -> bool:
    """Return whether a GET, over a connection of its own, is answered with a success."""
    try:
        return session().get(url, timeout=5).ok
    except requests.RequestException:
        return False


def _get_json(url: str) -> dict[str, Any] | None:
    try:
        answer = session().get(url, timeout=5)
        return answer.json() if answer.ok else None
    except requests.RequestException:
        return None


def check_ports(settings: Settings, processes: Mapping[str, Process]) -> None:
    """Check that every port of a service is free or used by that service.

    Args:
        processes: the processes of this stack, empty when it is down.

    Raises:
        StackError: a port is taken by something else.
    """
    taken = taken_ports(settings, processes)
    if taken:
        advice = "stop that process, or choose another port, for example: make up " + " ".join(
            f"{variable}={port + 1000}" for _, variable, port in _ports(settings) if variable in taken
        )
        raise StackError("\n".join([*taken.values(), advice]))


def taken_ports(settings: Settings, processes: Mapping[str, Process]) -> dict[str, str]:
    """Return, by its setting, each port that another process than the service uses, and that process in words."""
    return {
        variable: f"{variable}: port {port} of 127.0.0.1 is taken by {_listener(port)}"
        for service, variable, port in _ports(settings)
        if not (service in processes and processes[service].alive) and _is_taken(port)
    }


def _ports(settings: Settings) -> tuple[tuple[str, str, int], ...]:
    return (
        ("airflow-api", "AIRFLOW_PORT", settings.airflow_port),
        ("mlflow", "MLFLOW_PORT", settings.mlflow_port),
        ("serving", "SERVING_PORT", settings.serving_port),
    )


def _is_taken(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As the servers do, so that a recently closed connection does not hold the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def _listener(port: int) -> str:
    try:
        for connection in psutil.net_connections("tcp"):
            if (
                connection.status == psutil.CONN_LISTEN
                and connection.laddr
                and connection.laddr.port == port
                and connection.pid
            ):
                process = psutil.Process(connection.pid)
                return f"pid {process.pid}: {' '.join(process.cmdline())[:120]}"
    except psutil.Error:
        return "a process of another user"
    return "another process"
