"""The running stack as tests use it: make, SQL, HTTP, the registry."""

import csv
import os
import shutil
import socket
import subprocess
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import psycopg
import requests
from mlflow import MlflowClient

from tests.patience import SLOWNESS

REPOSITORY = Path(__file__).parents[2]
JANUARY, FEBRUARY, MARCH = "2024-01-31", "2024-02-29", "2024-03-31"
APRIL = "2024-04-30"
"""Of a drop that the first stack never loads: it waits, its run queued, while the backup is taken."""


@dataclass(frozen=True)
class Stack:
    """A running stack: its settings, and the drops that it started with."""

    settings: dict[str, str]
    drops: Path

    def make(self, *arguments: str) -> subprocess.CompletedProcess:
        """Run `make` with these arguments."""
        return subprocess.run(
            ["make", "--silent", *arguments],
            cwd=REPOSITORY,
            env={**clean_environment(), **self.settings},
            capture_output=True,
            text=True,
            timeout=280 * SLOWNESS,
            check=False,
        )

    def start(self, *arguments: str) -> subprocess.CompletedProcess:
        """Run the `make` that starts the stack, and keep the settings it has then."""
        done = self.make(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        self.settings.update(line.split("=", 1) for line in self.make("env").stdout.splitlines())
        return done

    def query(self, statement: str) -> list[tuple]:
        with psycopg.connect(self.settings["CHURN_DATABASE_URL"]) as connection:
            return connection.execute(statement).fetchall()

    def forget_list(self, as_of: date) -> int:
        """Make the list of a date look as if other code wrote it, so that churn_score writes the next revision.

        Returns:
            the number of revisions.
        """
        with psycopg.connect(self.settings["CHURN_DATABASE_URL"]) as connection:
            of = [as_of]
            connection.execute("UPDATE scores.runs SET code_digest = 'other' WHERE as_of = %s", of)
            return connection.execute("SELECT max(revision) FROM scores.runs WHERE as_of = %s", of).fetchone()[0]

    def decided(self) -> list[tuple]:
        """Return AS_OF, outcome and version of every decision, in order."""
        return self.query("SELECT as_of, outcome, candidate_version FROM gate.decisions ORDER BY id")

    def predict(self, user_id: str) -> requests.Response:
        url = f"{self.settings['SERVING_URL']}/predict"
        return requests.post(url, json={"user_id": user_id}, timeout=30 * SLOWNESS)

    def airflow(self, method: str, path: str, **arguments: Any) -> Any:
        """Call Airflow's REST API."""
        url = self.settings["AIRFLOW_URL"]
        token = requests.get(f"{url}/auth/token", timeout=30 * SLOWNESS).json()["access_token"]
        arguments |= {"headers": {"Authorization": f"Bearer {token}"}, "timeout": 30 * SLOWNESS}
        answer = requests.request(method, f"{url}/api/v2{path}", **arguments)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def runs(self, dag_id: str = "~") -> list[dict]:
        return self.airflow("GET", f"/dags/{dag_id}/dagRuns", params={"limit": 1000})["dag_runs"]

    def client(self) -> MlflowClient:
        # Without the second one it would be the registry that an earlier test of this process named.
        return MlflowClient(self.settings["MLFLOW_TRACKING_URI"], self.settings["MLFLOW_TRACKING_URI"])

    def land_with_another_value(self, drop: Path, day: date, skips: int) -> None:
        """Put `drop` into the landing directory as the one of `day`, its first customer with `skips` in skips_7d."""
        landing = Path(self.settings["LANDING_DIR"])
        draft = landing / f".{day}"
        shutil.copytree(drop, draft)
        (draft / "manifest.json").unlink(missing_ok=True)
        usage = draft / "usage_agg_30d.csv"
        with usage.open(newline="") as file:
            rows = list(csv.DictReader(file))
        rows[0]["skips_7d"] = str(skips)
        with usage.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
        draft.rename(landing / str(day))

    def log(self, service: str) -> str:
        """Return the end of a service's log."""
        return (Path(self.settings["CHURN_HOME"]) / "logs" / f"{service}.log").read_text()[-4000:]

    def production(self) -> int:
        return int(self.client().get_latest_versions("streamflow_churn", stages=["Production"])[0].version)


def clean_environment() -> dict[str, str]:
    """The environment of this process without the variables that other tests or libraries have set for services."""
    for_services = ("AIRFLOW", "MLFLOW", "_MLFLOW", "PROMETHEUS", "CHURN", "PYTEST", "PYTHONPATH")
    return {name: value for name, value in os.environ.items() if not name.startswith(for_services)}


def free_ports(*names: str) -> dict[str, str]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in names]
    ports = {name: str(each.getsockname()[1]) for name, each in zip(names, sockets, strict=True)}
    for each in sockets:
        each.close()
    return ports
