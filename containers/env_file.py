"""`python containers/env_file.py [PATH]`: writes a new .env for docker-compose.airflow.yml, with random secrets.

Only its owner can read the file. An existing file is never overwritten, as the databases use its passwords. Needs only
the standard library.
"""

import os
import secrets
import sys
from base64 import urlsafe_b64encode
from collections.abc import Callable
from pathlib import Path


def password() -> str:
    """Return a password that needs no encoding in a URI: 32 bytes in hexadecimal."""
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
"""The purpose of each secret, and the function that generates it."""

SETTINGS: dict[str, tuple[str, str]] = {
    "PUBLISH_ADDRESS": (
        "127.0.0.1",
        "the address that Airflow, MLflow and serving are published on; MLflow has no login",
    ),
    "AIRFLOW_PORT": ("8080", "Airflow on that address"),
    "MLFLOW_PORT": ("5001", "MLflow"),
    "SERVING_PORT": ("8000", "the serving API"),
    "AIRFLOW_URL": ("http://127.0.0.1:8080", "Airflow as browsers reach it; with another port or a proxy, change it"),
    "MLFLOW_URL": ("http://127.0.0.1:5001", "MLflow as browsers reach it"),
    "SERVING_URL": ("http://127.0.0.1:8000", "the serving API as browsers reach it"),
    "MLFLOW_ALLOWED_HOSTS": (
        "mlflow:5000,127.0.0.1:*,localhost:*",
        "the Host headers that MLflow accepts; add the host and port that browsers use",
    ),
    "LANDING_DIR": ("./landing", "the landing directory of drops; workers read it"),
    "ARCHIVE_URI": ("/archive", "the archive of accepted drops: the volume archive, or s3://bucket/path"),
    "SCORES_URL": ("/scores", "the files of the list: the volume scores, or s3://bucket/path"),
    "WORKER_CONCURRENCY": ("2", "concurrent tasks of each of the two workers"),
    "WORKER_MEMORY": ("1408m", "the memory limit of each worker; a million customers need 8g"),
    "PROXY_LISTEN": ("./containers/nginx/plain", "the directory of the proxy's listen.conf; for TLS, one of yours"),
    "SERVING_WORKERS": ("2", "processes of the serving API"),
    "SERVING_POLL_SECONDS": ("10", "how often each process polls MLflow for the version in Production"),
    "SERVING_MAX_FEATURES_AGE_DAYS": ("", "features of an older AS_OF are refused; empty: no limit"),
    "SERVING_MAX_BODY_BYTES": ("16384", "larger request bodies are refused"),
    "SERVING_MAX_WAITING": ("64", "limit of single predictions, and of other requests, under way in a process"),
    "SERVING_API_KEY_DIGESTS": (
        "",
        "sha256 of each valid API key, separated by commas; empty: no key is required",
    ),
    "CHURN_APPROVAL": ("false", "true: a person approves each promotion"),
    "CHURN_ERASE_APPROVAL": ("false", "true: a second person approves each erasure"),
    "CHURN_REPLACE_DAYS": ("30", "days until a version that learned from erased customers must leave Production"),
    "CHURN_DEADLINE": ("0 6 * * *", "when churn_deadline checks for drops without a decision or a list: cron, UTC"),
    "CHURN_DROP_EVERY_DAYS": ("", "the promised interval of drops; a missing drop alerts; empty: never"),
    "AIRFLOW_CONN_CHURN_ALERTS": (
        "",
        'alert channels: \'{"conn_type": "apprise", "extra": {"config": {"path": "…"}}}\', see docs/operations.md',
    ),
    "CHURN_LABEL_DAYS": ("28", "days that a label covers from its AS_OF on, 1 to 366"),
    "CHURN_OFFLINE": ("postgres", "what joins training sets and scores: postgres, or spark, see docs/cluster.md"),
    "CHURN_SPARK_MASTER": ("spark://spark-master:7077", "the master URL of Spark, that of --profile spark"),
    "SNAPSHOTS_URL": ("/snapshots", "the Parquet snapshots, with CHURN_OFFLINE=spark; or s3://bucket/path"),
    "SPARK_WORKER_CORES": ("1", "cores of each of the two workers of --profile spark"),
    "SPARK_EXECUTOR_MEMORY": ("2g", "memory that a worker of --profile spark gives to executors"),
    "SPARK_WORKER_MEMORY": ("3072m", "memory of its container, with Python beside the executors"),
    "SPARK_DRIVER_MEMORY": ("3072m", "memory of the container of worker-spark, which runs the driver"),
    "CHURN_TRAINING_ROWS": ("1000000", "rows to learn from at most, about; more are sampled by customer"),
    "CHURN_PREDICTIONS_DAYS": ("365", "retention of the prediction log"),
    "CHURN_RAW_DAYS": ("", "retention of the rows of raw.*; empty: for ever"),
    "CHURN_SNAPSHOTS_DAYS": ("", "retention of snapshots; empty: for ever"),
    "CHURN_VERSIONS_DAYS": ("", "retention of model versions; empty: for ever"),
    "CHURN_SCORES_DAYS": ("", "retention of lists, the newest is kept; empty: for ever"),
    "CHURN_CONTROL_SHARE": ("0.10", "share of customers whom no campaign may contact, 0 to 0.5"),
    "CHURN_VALUE": (
        "",
        "thresholds by expected profit: contact_cost=10,success_rate=0.3,margin=200; empty: by F1",
    ),
    "CHURN_REDIS_URL": ("", "the Redis of the online store, docs/redis.md; empty: Postgres"),
    "BASE_IMAGE": ("docker.io/library/python:3.11-slim-bookworm", "the base of the two images"),
    "GIT_COMMIT": ("unknown", "the commit of the images, to set at each build; it tags model versions"),
    "PIP_CONF": ("/dev/null", "a pip.conf for the builds, for another package index"),
    "POSTGRES_IMAGE": ("docker.io/library/postgres:18.3", "Postgres, 15 or newer"),
    "REDIS_IMAGE": ("docker.io/library/redis:8.2.2-bookworm", "Redis"),
    "NGINX_IMAGE": ("docker.io/library/nginx:1.28.0-alpine", "the proxy in front of the serving API"),
    "PROMETHEUS_IMAGE": ("docker.io/prom/prometheus:v3.13.3", "Prometheus (profile monitoring)"),
    "GRAFANA_IMAGE": ("docker.io/grafana/grafana:12.4.4", "Grafana (profile monitoring)"),
}
"""The default of each setting, the same as in docker-compose.airflow.yml, and its purpose."""


def text() -> str:
    """Return the content of a new file: every secret, and every setting commented out with its default."""
    lines = [
        "# For docker-compose.airflow.yml. Keep this file, and keep it secret: the databases use these passwords.",
        "",
    ]
    for name, (purpose, make) in SECRETS.items():
        lines += [f"# {purpose}", f"{name}={make()}"]
    lines += ["", "# Settings. The commented values are the defaults.", ""]
    for name, (default, purpose) in SETTINGS.items():
        lines += [f"# {purpose}", f"#{name}={default}"]
    return "\n".join(lines) + "\n"


def write(path: Path, more: str = "") -> bool:
    """Write a new file at `path`, mode 0600, with `more` at its end; return False if it exists already."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return False
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(text() + more)
    return True


def main() -> None:
    path = Path(sys.argv[1] if len(sys.argv) > 1 else ".env")
    # Otherwise docker would create it as root.
    Path("landing").mkdir(exist_ok=True)
    if write(path):
        print(f"wrote {path} with new secrets for docker-compose.airflow.yml")  # noqa: T201
    else:
        print(f"{path} exists and is unchanged")  # noqa: T201


if __name__ == "__main__":
    main()
