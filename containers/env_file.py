"""`python containers/env_file.py [PATH]`: writes a fresh .env for docker-compose.airflow.yml, with random secrets.

The file is readable by its owner alone. One that is there is never overwritten: the databases know its passwords. It
needs the standard library only.
"""

import os
import secrets
import sys
from base64 import urlsafe_b64encode
from collections.abc import Callable
from pathlib import Path


def password() -> str:
    """Return a password that goes into a URI as it is: 32 bytes in hexadecimal."""
    return secrets.token_hex(32)


def fernet_key() -> str:
    return urlsafe_b64encode(secrets.token_bytes(32)).decode()


SECRETS: dict[str, tuple[str, Callable[[], str]]] = {
    "POSTGRES_PASSWORD": ("the administrator of Postgres; read by Postgres when its volume is new", password),
    "PIPELINE_DB_PASSWORD": ("role churn_pipeline: owns the database churn; tasks and migrations", password),
    "SERVING_DB_PASSWORD": ("role churn_serving: reads online features, appends to the prediction log", password),
    "MLFLOW_DB_PASSWORD": ("role mlflow: owns the database mlflow", password),
    "AIRFLOW_DB_PASSWORD": ("role airflow: owns the database airflow", password),
    "REDIS_PASSWORD": ("the broker of Celery", password),
    "AIRFLOW_ADMIN_PASSWORD": ("Airflow's first user, admin; change it in Airflow later", password),
    "AIRFLOW_FERNET_KEY": ("encrypts the connections and variables in Airflow's database", fernet_key),
    "AIRFLOW_JWT_SECRET": ("signs the tokens of Airflow's API and of its tasks", password),
    "AIRFLOW_SECRET_KEY": ("signs the sessions of Airflow's pages", password),
    "GRAFANA_ADMIN_PASSWORD": ("Grafana's user admin; read by Grafana when its volume is new", password),
}
"""What each secret is for, and how one is made."""

SETTINGS: dict[str, tuple[str, str]] = {
    "PUBLISH_ADDRESS": (
        "127.0.0.1",
        "the address that the three front doors are published on; MLflow asks for no login",
    ),
    "AIRFLOW_PORT": ("8080", "Airflow on that address"),
    "MLFLOW_PORT": ("5001", "MLflow"),
    "SERVING_PORT": ("8000", "the serving API"),
    "AIRFLOW_URL": ("http://127.0.0.1:8080", "Airflow as browsers reach it; with another port or a proxy, change it"),
    "MLFLOW_URL": ("http://127.0.0.1:5001", "MLflow as browsers reach it"),
    "SERVING_URL": ("http://127.0.0.1:8000", "the serving API as browsers reach it"),
    "MLFLOW_ALLOWED_HOSTS": (
        "mlflow:5000,127.0.0.1:*,localhost:*",
        "what MLflow answers to; add the host and port that browsers reach it by, where that is another",
    ),
    "LANDING_DIR": ("./landing", "the directory that drops are put into; workers read it"),
    "ARCHIVE_URI": ("/archive", "where accepted drops are kept: the volume archive, or s3://bucket/path"),
    "WORKER_CONCURRENCY": ("2", "tasks at once in each of the two workers"),
    "WORKER_MEMORY": ("1408m", "the memory limit of each worker; a million customers want 8g"),
    "PROXY_LISTEN": ("./containers/nginx/plain", "where the proxy's listen.conf is; with TLS, a directory of yours"),
    "SERVING_WORKERS": ("2", "processes of the serving API"),
    "SERVING_POLL_SECONDS": ("10", "how often each asks which version is in Production"),
    "SERVING_MAX_FEATURES_AGE_DAYS": ("", "features of an older AS_OF are refused; empty: none is"),
    "SERVING_MAX_BODY_BYTES": ("16384", "a longer request is refused"),
    "SERVING_MAX_WAITING": ("64", "limit of single predictions, and of other requests, under way in a process"),
    "SERVING_API_KEY_DIGESTS": (
        "",
        "sha256 of each API key that is good, separated by commas; none: no key is asked for",
    ),
    "CHURN_APPROVAL": ("false", "true: a person is asked before a promotion"),
    "CHURN_DEADLINE": ("0 6 * * *", "when churn_deadline looks for drops without a decision: cron, UTC"),
    "CHURN_DROP_EVERY_DAYS": ("", "how often drops were promised: an older newest one is told; empty: never"),
    "AIRFLOW_CONN_CHURN_ALERTS": (
        "",
        'where alerts go: \'{"conn_type": "apprise", "extra": {"config": {"path": "…"}}}\', see docs/operations.md',
    ),
    "CHURN_PREDICTIONS_DAYS": ("365", "how long an answer stays in the prediction log"),
    "CHURN_RAW_DAYS": ("", "older dates lose their rows of raw.*; empty: none does"),
    "CHURN_SNAPSHOTS_DAYS": ("", "older dates lose their snapshots; empty: none does"),
    "CHURN_VERSIONS_DAYS": ("", "model versions that were registered earlier are removed; empty: none is"),
    "CHURN_REDIS_URL": ("", "a Redis of its own that features are served from, docs/redis.md; empty: Postgres"),
    "BASE_IMAGE": ("docker.io/library/python:3.11-slim-bookworm", "what the two images are built on"),
    "GIT_COMMIT": ("unknown", "the commit that images are made of, to set at each build; it tags model versions"),
    "PIP_CONF": ("/dev/null", "a pip.conf for the builds, where the package index is one of your own"),
    "POSTGRES_IMAGE": ("docker.io/library/postgres:18.3", "Postgres, 15 or newer"),
    "REDIS_IMAGE": ("docker.io/library/redis:8.2.2-bookworm", "Redis"),
    "NGINX_IMAGE": ("docker.io/library/nginx:1.28.0-alpine", "the proxy in front of the serving API"),
    "PROMETHEUS_IMAGE": ("docker.io/prom/prometheus:v3.13.3", "Prometheus (profile monitoring)"),
    "GRAFANA_IMAGE": ("docker.io/grafana/grafana:12.4.4", "Grafana (profile monitoring)"),
}
"""The default of each setting, which docker-compose.airflow.yml has too, and what it is."""


def text() -> str:
    """Return the content of a fresh file: every secret, and every setting as a comment with its default."""
    lines = [
        "# For docker-compose.airflow.yml. Keep it to yourself, and keep it: the databases know these passwords.",
        "",
    ]
    for name, (purpose, make) in SECRETS.items():
        lines += [f"# {purpose}", f"{name}={make()}"]
    lines += ["", "# Settings. What is commented out is the default.", ""]
    for name, (default, purpose) in SETTINGS.items():
        lines += [f"# {purpose}", f"#{name}={default}"]
    return "\n".join(lines) + "\n"


def write(path: Path, more: str = "") -> bool:
    """Write a fresh file at `path`, mode 0600, with `more` at its end, and return whether it was written: not where one
    is there already."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return False
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(text() + more)
    return True


def main() -> None:
    path = Path(sys.argv[1] if len(sys.argv) > 1 else ".env")
    # Where nobody makes it, docker does, as root.
    Path("landing").mkdir(exist_ok=True)
    if write(path):
        print(f"wrote {path} with fresh secrets; docker-compose.airflow.yml reads it")  # noqa: T201
    else:
        print(f"{path} is there already, and stays as it is")  # noqa: T201


if __name__ == "__main__":
    main()
