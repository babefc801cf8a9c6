"""How the serving API does in its container under the load of `make bench ARGS=serving`, in turns with the same code
outside of any container, on the same Postgres, MLflow and model."""

import csv
import json
import random
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from bench.context import SEED
from bench.load import Load, load, together
from bench.mlflow_server import free_port
from bench.service import running
from bench.serving import ROUNDS, SECONDS, WARM_UP_SECONDS
from containers.engine import COMPOSE_FILE, Project

NEEDED = ("postgres", "mlflow", "serving")
"""The services that a prediction needs: what else runs takes its part of the cores."""

HOLDS = 0.9
"""Of the requests a second outside of containers, at least so many are answered in one."""

PUBLISHED, DIRECT, OUTSIDE = "by its published port", "by its own address", "outside of containers"

Loads = dict[tuple[str, int], list[Load]]


def measure(project: Project, settings: Mapping[str, str], drop: Path, directory: Path) -> Loads:
    """Load each side in turns and return its loads by side and number of connections.

    Args:
        drop: whose customers are asked about.
        directory: where the bodies and the log of the service outside of containers go.

    Raises:
        bench.context.BenchError: wrk is not installed, or the service outside of containers does not start.
    """
    bodies = directory / "questions.jsonl"
    _write_questions(drop, bodies)
    loads: Loads = {}
    with _outside(project, settings, directory / "outside.log") as outside:
        addresses = {
            PUBLISHED: f"http://127.0.0.1:{settings['SERVING_PORT']}",
            OUTSIDE: outside,
            DIRECT: f"http://{project.address('serving')}:8000",
        }
        for connections, seconds in SECONDS.items():
            for address in addresses.values():
                load(f"{address}/predict", bodies, connections, WARM_UP_SECONDS)
            for _ in range(ROUNDS):
                for side, address in addresses.items():
                    done = load(f"{address}/predict", bodies, connections, seconds)
                    loads.setdefault((side, connections), []).append(done)
    return loads


def rows(loads: Loads) -> Iterator[tuple[str, ...]]:
    """Yield a row of each side and number of connections: medians of its rounds, and their ratio to those outside."""
    for (side, connections), rounds in loads.items():
        found, held = together(rounds), ratio(loads, side, connections)
        yield side, str(connections), f"{found.rate:,.0f}", f"{found.p50:.2f}", f"{held:.2f}", str(found.errors)


def ratio(loads: Loads, side: str, connections: int) -> float:
    """Return the median of the rounds' ratios of requests/s, each of loads that were run one after the other."""
    pairs = zip(loads[side, connections], loads[OUTSIDE, connections], strict=True)
    return median(one.rate / outside.rate for one, outside in pairs)


def trouble(loads: Loads) -> str | None:
    """Return in words what is wrong with the loads: requests that failed, or a container that costs more than it may;
    None where nothing is."""
    errors = {key: sum(done.errors for done in rounds) for key, rounds in loads.items()}
    if any(errors.values()):
        return f"requests failed: {errors}"
    held = {connections: ratio(loads, side, connections) for side, connections in loads if side == PUBLISHED}
    return f"in its container it answers less: {held} of the rate outside" if min(held.values()) < HOLDS else None


def _write_questions(drop: Path, bodies: Path) -> None:
    with (drop / "users.csv").open(encoding="utf-8", newline="") as file:
        users = [row["user_id"] for row in csv.DictReader(file)]
    random.Random(SEED).shuffle(users)
    bodies.write_text("".join(f"{json.dumps({'user_id': user})}\n" for user in users), encoding="utf-8")


@contextmanager
def _outside(project: Project, settings: Mapping[str, str], log: Path) -> Iterator[str]:
    """Run the service as the image does, of this checkout, and give its address."""
    port, repository = free_port(), COMPOSE_FILE.parent
    login = f"churn_serving:{settings['SERVING_DB_PASSWORD']}"
    environment = {
        "SERVING_DATABASE_URL": f"postgresql://{login}@{project.address('postgres')}:5432/churn",
        "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{settings['MLFLOW_PORT']}",
        "SERVING_PORT": str(port),
        "SERVING_WORKERS": settings.get("SERVING_WORKERS", "2"),
        "PYTHONPATH": f"{repository / 'include'}:{repository}",
        "PGTZ": "UTC",
        "MALLOC_ARENA_MAX": "2",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }
    command = (sys.executable, "-m", "gunicorn", "--config", str(repository / "serving" / "gunicorn.conf.py"))
    with running(command, environment, port, "/health/ready", log) as service:
        yield service.url("")
