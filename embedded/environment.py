"""What services, tasks and tools of the embedded stack are told, as environment variables; `make env` prints them."""

import json
import os
import secrets
import sys
from base64 import urlsafe_b64encode
from pathlib import Path

from churn.postgres.database_url import feast_environment
from embedded.postgres_url import airflow_connection, database_url, with_driver
from embedded.settings import REPOSITORY, Settings


def environment(settings: Settings) -> dict[str, str]:
    """Return the variables by which every service, task and tool of the stack finds the others.

    Generates the secrets on first use.
    """
    server = settings.postgres_server
    shared = {
        "CHURN_HOME": str(settings.home),
        **feast_environment(database_url(server, "churn")),
        **_serving_database(settings),
        **({"CHURN_REDIS_URL": settings.redis} if settings.redis else {}),
        "LANDING_DIR": str(settings.landing),
        "ARCHIVE_DIR": str(settings.archive),
        "AIRFLOW_PORT": str(settings.airflow_port),
        "MLFLOW_PORT": str(settings.mlflow_port),
        "SERVING_PORT": str(settings.serving_port),
        "AIRFLOW_URL": settings.airflow_url,
        "MLFLOW_URL": settings.mlflow_url,
        "SERVING_URL": settings.serving_url,
        "PYTHONPATH": f"{REPOSITORY / 'include'}:{REPOSITORY}",
        # With another session time zone Feast's joins shift by a day, silently; libpq reads this everywhere.
        "PGTZ": "UTC",
        # Arrow's own choice keeps for good what one join took.
        "ARROW_DEFAULT_MEMORY_POOL": "jemalloc",
        # A proxy of the machine must not get between services on 127.0.0.1.
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
        "MLFLOW_TRACKING_URI": settings.mlflow_url,
        "MLFLOW_BACKEND_STORE_URI": with_driver(database_url(server, "mlflow"), "psycopg2"),
        "MLFLOW_ARTIFACTS_DESTINATION": str(settings.home / "mlflow" / "artifacts"),
        # The job runner of the server takes 0.9 GB and serves nothing that we use.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "SCARF_ANALYTICS": "false",
        "FEAST_USAGE": "False",
        "AIRFLOW_HOME": str(settings.home / "airflow"),
        "AIRFLOW_CONN_CHURN_POSTGRES": airflow_connection(server, "churn"),
    }
    airflow = _airflow_options(settings) | {
        "DATABASE__SQL_ALCHEMY_CONN": with_driver(database_url(server, "airflow"), "psycopg2"),
        **_airflow_secrets(settings.home / "secrets.json"),
    }
    return shared | {f"AIRFLOW__{name}": value for name, value in airflow.items()}


def _serving_database(settings: Settings) -> dict[str, str]:
    """Serving's own role, which may read what it serves and no more. On a server of your own, its password is yours to
    say: SERVING_DATABASE_URL."""
    if settings.server:
        return {}
    return {
        "SERVING_DATABASE_URL": database_url(
            settings.postgres_server.replace("postgres@", "churn_serving@", 1), "churn"
        )
    }


def _airflow_options(settings: Settings) -> dict[str, str]:
    return {
        **_executor(settings),
        "CORE__DAGS_FOLDER": str(REPOSITORY / "dags"),
        "CORE__PLUGINS_FOLDER": str(REPOSITORY / "plugins"),
        "CORE__LOAD_EXAMPLES": "False",
        "CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        # Everybody who reaches 127.0.0.1 is an admin: right for a stack on one's own machine, and only there.
        "CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "CORE__EXECUTION_API_SERVER_URL": f"{settings.airflow_url}/execution/",
        "API__BASE_URL": settings.airflow_url,
        "API__HOST": "127.0.0.1",
        "API__PORT": str(settings.airflow_port),
        "API__WORKERS": "1",
        "LOGGING__COLORED_CONSOLE_LOG": "False",
        # The loop's sleep is paid at every step of the chain: task to task, and DAG to DAG.
        "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.3",
        # The supervisor of a task (3.3.2) may overlook its end until it looks again: after 5 s by default. As many
        # seconds without an answer as by default end the task.
        "WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
        "WORKERS__MAX_FAILED_HEARTBEATS": "15",
        "DAG_PROCESSOR__REFRESH_INTERVAL": "10",
        "DAG_PROCESSOR__PARSING_PROCESSES": "1",
    }


def _executor(settings: Settings) -> dict[str, str]:
    if settings.broker is None:
        # Each worker is a fork of the scheduler; two cores gain nothing from more than four.
        return {"CORE__EXECUTOR": "LocalExecutor", "CORE__PARALLELISM": "4"}
    return {
        "CORE__EXECUTOR": "CeleryExecutor",
        # How many run is for the workers to say; this is how many may be in their queues too.
        "CORE__PARALLELISM": "32",
        "CELERY__BROKER_URL": settings.broker,
        # Not Airflow's database: a worker needs no access to it.
        "CELERY__RESULT_BACKEND": settings.broker,
        # Seconds after which Redis gives a task out again: longer than any task may take.
        "CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT": "86400",
    }


def _airflow_secrets(path: Path) -> dict[str, str]:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = {
            "API_AUTH__JWT_SECRET": secrets.token_hex(32),
            "API__SECRET_KEY": secrets.token_hex(32),
            "CORE__FERNET_KEY": urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        }
        # Written whole under another name, then linked: of two first commands at once, one set of secrets
        # wins.
        draft = path.with_name(f"{path.name}.{os.getpid()}")
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            json.dump(fresh, file)
        try:
            os.link(draft, path)
        except FileExistsError:
            print(f"{path} was made by another command; using it", file=sys.stderr)  # noqa: T201
        finally:
            draft.unlink()
    loaded: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    return loaded
