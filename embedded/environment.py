"""The environment variables of the embedded stack's services, tasks and tools; `make env` prints them."""

import json
import os
import secrets
import sys
from base64 import urlsafe_b64encode
from pathlib import Path

from churn.postgres.database_url import feast_environment, url_on
from embedded.postgres_url import airflow_connection, with_driver
from embedded.settings import REPOSITORY, Settings


def environment(settings: Settings) -> dict[str, str]:
    """Return the variables that configure every service, task and tool. The first call generates the secrets."""
    server = settings.postgres_server
    shared = {
        "CHURN_HOME": str(settings.home),
        **feast_environment(url_on(server, "churn")),
        **_serving_database(settings),
        **({"CHURN_REDIS_URL": settings.redis} if settings.redis else {}),
        "CHURN_LABEL_DAYS": str(settings.label_days),
        "CHURN_REPLACE_DAYS": str(settings.replace_days),
        **({"CHURN_VALUE": settings.value} if settings.value else {}),
        "CHURN_TRAINING_ROWS": str(settings.training_rows),
        "LANDING_DIR": str(settings.landing),
        "ARCHIVE_DIR": str(settings.archive),
        "SCORES_URL": str(settings.scores),
        "SNAPSHOTS_URL": str(settings.snapshots),
        "CHURN_OFFLINE": settings.offline,
        "CHURN_ERASURE_DIR": str(settings.erasure),
        "AIRFLOW_PORT": str(settings.airflow_port),
        "MLFLOW_PORT": str(settings.mlflow_port),
        "SERVING_PORT": str(settings.serving_port),
        "AIRFLOW_URL": settings.airflow_url,
        "MLFLOW_URL": settings.mlflow_url,
        "SERVING_URL": settings.serving_url,
        "PYTHONPATH": f"{REPOSITORY / 'include'}:{REPOSITORY}",
        # libpq's session time zone. In any other, Feast's joins silently shift by a day.
        "PGTZ": "UTC",
        # Arrow's default allocator does not return the memory of a join.
        "ARROW_DEFAULT_MEMORY_POOL": "jemalloc",
        # Services on 127.0.0.1 bypass an HTTP proxy of the machine.
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
        "MLFLOW_TRACKING_URI": settings.mlflow_url,
        "MLFLOW_BACKEND_STORE_URI": with_driver(url_on(server, "mlflow"), "psycopg2"),
        "MLFLOW_ARTIFACTS_DESTINATION": str(settings.home / "mlflow" / "artifacts"),
        # The server's job runner takes 0.9 GB, and no feature of it is used.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "DO_NOT_TRACK": "true",
        "SCARF_ANALYTICS": "false",
        "FEAST_USAGE": "False",
        "AIRFLOW_HOME": str(settings.home / "airflow"),
        "AIRFLOW_CONN_CHURN_POSTGRES": airflow_connection(server, "churn"),
    }
    airflow = _airflow_options(settings) | {
        "DATABASE__SQL_ALCHEMY_CONN": with_driver(url_on(server, "airflow"), "psycopg2"),
        **_airflow_secrets(settings.home / "secrets.json"),
    }
    return shared | {f"AIRFLOW__{name}": value for name, value in airflow.items()}


def _serving_database(settings: Settings) -> dict[str, str]:
    """Return the URL of serving's read-only role. With CHURN_POSTGRES, the operator sets SERVING_DATABASE_URL, since
    it holds that role's password."""
    if settings.server:
        return {}
    return {"SERVING_DATABASE_URL": url_on(settings.postgres_server.replace("postgres@", "churn_serving@", 1), "churn")}


def _airflow_options(settings: Settings) -> dict[str, str]:
    return {
        **_executor(settings),
        "CORE__DAGS_FOLDER": str(REPOSITORY / "dags"),
        "CORE__PLUGINS_FOLDER": str(REPOSITORY / "plugins"),
        "CORE__LOAD_EXAMPLES": "False",
        "CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        # Anyone who can reach 127.0.0.1 is an admin: acceptable only on a personal machine.
        "CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "CORE__EXECUTION_API_SERVER_URL": f"{settings.airflow_url}/execution/",
        "API__BASE_URL": settings.airflow_url,
        "API__HOST": "127.0.0.1",
        "API__PORT": str(settings.airflow_port),
        "API__WORKERS": "1",
        "LOGGING__COLORED_CONSOLE_LOG": "False",
        # The scheduler sleeps this long before each task and each DAG run of the chain.
        "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.3",
        # A task supervisor (3.3.2) can notice a task's end only at its next heartbeat, by default 5 s later. The
        # product of both settings, the seconds without a heartbeat that fail a task, stays at Airflow's default.
        "WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
        "WORKERS__MAX_FAILED_HEARTBEATS": "15",
        "DAG_PROCESSOR__REFRESH_INTERVAL": "10",
        # Of unchanged files: the default is 30. A changed one is parsed at the next refresh; a change of what it
        # imports, run.py for example, within five minutes.
        "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "300",
        "DAG_PROCESSOR__PARSING_PROCESSES": "1",
    }


def _executor(settings: Settings) -> dict[str, str]:
    if settings.broker is None:
        # Each worker is a fork of the scheduler; on two cores more than four add no throughput.
        return {"CORE__EXECUTOR": "LocalExecutor", "CORE__PARALLELISM": "4"}
    return {
        "CORE__EXECUTOR": "CeleryExecutor",
        # Tasks running or queued; each worker's own concurrency limits the running ones.
        "CORE__PARALLELISM": "32",
        "CELERY__BROKER_URL": settings.broker,
        # Redis instead of Airflow's database, so that workers need no access to the database.
        "CELERY__RESULT_BACKEND": settings.broker,
        # Seconds after which Redis redelivers a task: longer than any task may take.
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
        # Written to a temporary file, then linked: of two concurrent first commands, one set of secrets wins.
        draft = path.with_name(f"{path.name}.{os.getpid()}")
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            json.dump(fresh, file)
        try:
            os.link(draft, path)
        except FileExistsError:
            print(f"another command has created {path}; using it", file=sys.stderr)  # noqa: T201
        finally:
            draft.unlink()
    loaded: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    return loaded
