"""Tests docker-compose.airflow.yml end to end: `make prove`, with docker, or podman and podman-compose.

It builds the images, starts all services with their own project name, ports, secrets and volumes, and checks that:

- a generated drop passes the chain on Celery, and the serving API predicts;
- a second drop is promoted, and the serving API answers with that version without a restart;
- after a worker is killed during a training, the other one finishes it;
- the proxy holds off clients that send half a request, while predictions are answered;
- an erased customer is unknown to the serving API, and a search finds the id in no file of the volumes and no row of
  the databases;
- after everything is stopped and started in the least convenient order, the answers are as before;
- a backup, restored on new volumes with the commands of docs/backup.md, answers as before.

It prints the time of each step, the sizes of the images and the memory of each service, and cleans up. On a failure it
prints the service's log and exits with a status other than 0.

With --spark the cluster of the profile `spark` writes the snapshots as Parquet and joins, and one of its workers is
killed during a training. The environment can name other images (POSTGRES_IMAGE=…, see .env), and --without leaves out
services.
"""

import argparse
import shutil
import socket
import sys
import tempfile
from pathlib import Path

import requests
import yaml

from churn.code import git_commit
from churn.synthetic.generate import write_drops
from containers.engine import COMPOSE_FILE, SPARK, ComposeError, Project, find_engine, images_of_environment
from containers.env_file import write
from containers.proof import Proof
from embedded.commands.airflow_api import AirflowError
from embedded.commands.chain import ChainError
from embedded.commands.prediction import PredictionError

NAME = "churn-prove"
CUSTOMERS, DROPS, SEED = 2500, 3, 7
EXPECTED = (AirflowError, ChainError, ComposeError, PredictionError, requests.RequestException)


def fresh_settings(directory: Path, **own: str) -> dict[str, str]:
    """Write the proof's .env with free ports and its `own` settings into `directory`, readable by its owner only, and
    return its settings.

    Workers run as another user and can read only `directory`/landing.
    """
    free = {name: str(_free_port()) for name in ("AIRFLOW_PORT", "MLFLOW_PORT", "SERVING_PORT")}
    own |= {
        **free,
        "AIRFLOW_URL": f"http://127.0.0.1:{free['AIRFLOW_PORT']}",
        "LANDING_DIR": str(directory / "landing"),
    }
    own |= {"GIT_COMMIT": git_commit(), **images_of_environment()}
    directory.chmod(0o711)
    (directory / "landing").mkdir()
    (directory / "landing").chmod(0o755)
    write(directory / ".env", "".join(f"{name}={value}\n" for name, value in own.items()))
    lines = (directory / ".env").read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def main() -> int:
    parser = argparse.ArgumentParser(prog="make prove", description=__doc__)
    parser.add_argument("--engine", choices=("docker", "podman"), help="default: the first that runs")
    parser.add_argument("--without", nargs="*", default=[], metavar="SERVICE", help="services to leave out")
    parser.add_argument("--spark", action="store_true", help="with the profile spark and CHURN_OFFLINE=spark")
    parser.add_argument("--keep", action="store_true", help="after a failure, do not clean up")
    arguments = parser.parse_args()
    known = list(yaml.safe_load(COMPOSE_FILE.read_text(encoding="utf-8"))["services"])
    left_out = {*arguments.without, *(() if arguments.spark else SPARK)}
    services = [service for service in known if service not in left_out]
    directory = Path(tempfile.mkdtemp(prefix="churn-prove-"))
    project, proved = None, False
    try:
        settings = fresh_settings(directory, **({"CHURN_OFFLINE": "spark"} if arguments.spark else {}))
        write_drops(directory / "drops", customers=CUSTOMERS, months=DROPS, seed=SEED)
        project = Project(arguments.engine or find_engine(), NAME, directory / ".env", services)
        Proof(project, settings, directory / "drops").run()
        proved = True
    except EXPECTED as error:
        print(f"\nFAILED: {error}", file=sys.stderr)  # noqa: T201
    finally:
        if not proved and arguments.keep:
            print(f"kept: project {NAME}, settings in {directory}/.env", file=sys.stderr)  # noqa: T201
        else:
            clean_up(None if proved else project, directory)
    print("\nproved" if proved else "\nnot proved")  # noqa: T201
    return 0 if proved else 1


def clean_up(project: Project | None, directory: Path) -> None:
    """Remove the project, and in any case the directory with its secrets. An error is printed, not raised, so that it
    does not hide an earlier one."""
    try:
        if project:
            project.compose("down", "-v")
    except (ComposeError, OSError) as error:
        print(f"\nFAILED to clean up: {error}", file=sys.stderr)  # noqa: T201
    finally:
        shutil.rmtree(directory)


if __name__ == "__main__":
    sys.exit(main())
