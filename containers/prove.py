"""Proves docker-compose.airflow.yml, for real: `make prove`, with docker, or podman and podman-compose.

It builds the images, starts everything under a name, ports, secrets and volumes of its own, and sees:

- a generated drop go through the chain on Celery, and a prediction;
- a second drop promoted, and the serving API answer with that version without a restart;
- a worker killed in the middle of a training, and the other one finish it;
- clients that send half a request held off by the proxy, while predictions are answered;
- everything stopped, and started again in the least convenient order, answer as before;
- a backup restored on new volumes, by the lines of docs/backup.md, answer as before.

It prints how long each step took, what the images and the memory of each service come to, and leaves nothing behind.
Exit status other than 0: something was not as it should be, and the log of the service was printed.

Images in place of those of a registry are named in the environment (POSTGRES_IMAGE=…, see .env), and a service whose
image cannot be had is left out by --without.
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
from containers.engine import COMPOSE_FILE, ComposeError, Project, find_engine, images_of_environment
from containers.env_file import write
from containers.proof import Proof
from embedded.commands.airflow_api import AirflowError
from embedded.commands.chain import ChainError

NAME = "churn-prove"
CUSTOMERS, DROPS, SEED = 2500, 3, 7
EXPECTED = (AirflowError, ChainError, ComposeError, requests.RequestException)


def fresh_settings(directory: Path) -> dict[str, str]:
    """Write a .env of the proof's own into `directory`, for its owner alone, with free ports, and return what it says.

    Workers, who are another user, read the drops in `directory`/landing, and nothing else there.
    """
    free = {name: str(_free_port()) for name in ("AIRFLOW_PORT", "MLFLOW_PORT", "SERVING_PORT")}
    own = {**free, "AIRFLOW_URL": f"http://127.0.0.1:{free['AIRFLOW_PORT']}", "LANDING_DIR": str(directory / "landing")}
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
    parser.add_argument("--engine", choices=("docker", "podman"), help="default: the one that answers")
    parser.add_argument("--without", nargs="*", default=[], metavar="SERVICE", help="services to leave out")
    parser.add_argument("--keep", action="store_true", help="where it fails, leave everything as it is")
    arguments = parser.parse_args()
    known = list(yaml.safe_load(COMPOSE_FILE.read_text(encoding="utf-8"))["services"])
    services = [service for service in known if service not in arguments.without]
    directory = Path(tempfile.mkdtemp(prefix="churn-prove-"))
    project, proved = None, False
    try:
        settings = fresh_settings(directory)
        write_drops(directory / "drops", customers=CUSTOMERS, months=DROPS, seed=SEED)
        project = Project(arguments.engine or find_engine(), NAME, directory / ".env", services)
        Proof(project, settings, directory / "drops").run()
        proved = True
    except EXPECTED as error:
        print(f"\nFAILED: {error}", file=sys.stderr)  # noqa: T201
    finally:
        if not proved and arguments.keep:
            print(f"left as it is: project {NAME}, settings in {directory}/.env", file=sys.stderr)  # noqa: T201
        else:
            clean_up(None if proved else project, directory)
    print("\nproved" if proved else "\nnot proved")  # noqa: T201
    return 0 if proved else 1


def clean_up(project: Project | None, directory: Path) -> None:
    """Take away what there is of the project, and the directory with its secrets, which goes whatever happens. What
    fails is told, and does not hide what failed before."""
    try:
        if project:
            project.compose("down", "-v")
    except (ComposeError, OSError) as error:
        print(f"\nFAILED to clean up: {error}", file=sys.stderr)  # noqa: T201
    finally:
        shutil.rmtree(directory)


if __name__ == "__main__":
    sys.exit(main())
