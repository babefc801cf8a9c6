"""The helpers in the containers: waiting for dependencies, and health checks."""

import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import yaml

from churn.postgres.roles import OWNERS
from containers.airflow.start import why_not_ready
from containers.engine import COMPOSE_FILE, ComposeError, Project, mebibytes
from containers.proof import recipes
from containers.prove import clean_up, fresh_settings
from embedded.operator.backup import ORDER
from tests.conftest import REPOSITORY

SERVICES = yaml.safe_load(COMPOSE_FILE.read_text(encoding="utf-8"))["services"]
AIRFLOW = REPOSITORY / "containers" / "airflow"


@contextmanager
def answering(status: int, body: object = None) -> Iterator[int]:
    """Answer every GET on a port of 127.0.0.1."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.fixture
def nobody() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


def test_a_service_that_answers_200_is_ready() -> None:
    with answering(200) as port:
        assert why_not_ready(f"http://127.0.0.1:{port}/health") is None


def test_a_service_that_answers_with_an_error_is_not_ready() -> None:
    with answering(503) as port:
        assert "503" in str(why_not_ready(f"http://127.0.0.1:{port}/health"))


@pytest.mark.parametrize("address", ["http://127.0.0.1:{}/", "tcp://127.0.0.1:{}", "postgresql://a:b@127.0.0.1:{}/c"])
def test_an_unreachable_service_is_not_ready(address: str, nobody: int) -> None:
    assert why_not_ready(address.format(nobody))


def test_a_listening_port_is_ready() -> None:
    with answering(200) as port:
        assert why_not_ready(f"tcp://127.0.0.1:{port}") is None


def started(wait_for: str, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(AIRFLOW / "start.py"), *command],
        env={"PATH": os.environ["PATH"], "WAIT_FOR": wait_for, "PYTHONPATH": str(AIRFLOW.parents[1] / "include")},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_the_entry_point_execs_the_command() -> None:
    with answering(200) as port:
        done = started(f"http://127.0.0.1:{port}", "sh", "-c", "echo $WAIT_FOR; exit 3")
    assert (done.returncode, done.stdout) == (3, f"http://127.0.0.1:{port}\n")


def test_a_mistyped_address_fails_at_once_without_its_password() -> None:
    done = started("postgres://user:hidden@host/db", "true")
    assert done.returncode == 1
    assert "host/db" in done.stderr
    assert "hidden" not in done.stderr + done.stdout


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://user:hidden%zz@host/db",
        "postgresql://user:hid/den@host/db",
        "postgresql://user:x@hidden@host/db",
        "postgresql://user:[hidden@host/db",
        "http://user:hidden@host:none/",
        "tcp://hidden:port",
        "http://hidden\x7f/",
    ],
)
def test_an_invalid_address_fails_at_once_and_is_not_quoted(address: str) -> None:
    done = started(address, "true")
    assert (done.returncode, "WAIT_FOR" in done.stderr) == (1, True)
    assert not {"hid", "Traceback"} & set(re.findall("Traceback|hid", done.stderr + done.stdout))


def test_the_backup_commands_of_the_manual_cover_the_settings_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a fake docker that records its arguments and echoes them or its input."""
    (tmp_path / "docker").write_text(f'#!/bin/sh\nshift 8; echo "$*" >>{tmp_path}/called; echo "$*"; cat\n')
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    home, backup = tmp_path / "home", tmp_path / "backup"
    (home / "landing" / "2024-01-31").mkdir(parents=True)
    (home / ".env").write_text("kept")
    project = Project("docker", "any", home / ".env", [])
    for name, lines in zip(("to", "from"), recipes(), strict=True):
        project.script(f"{name}={backup}\n{lines}")
    assert {path.name for path in backup.iterdir()} == {
        *(".env", "landing", "artifacts.tar", "archive.tar", "scores.tar"),
        *(f"{name}.dump" for name in OWNERS),
    }
    assert (backup / "landing" / "2024-01-31").is_dir()
    assert (backup.stat().st_mode & 0o777, (backup / ".env").read_text()) == (0o700, "kept")
    called = (tmp_path / "called").read_text(encoding="utf-8").splitlines()
    order = [line.split()[-1] for line in called if " pg_dump " in line]
    assert (order, [line for line in called if "pause" in line]) == (list(ORDER), [called[0], called[7]])
    services = {word for line in called for word in line.split() if word in SERVICES}
    assert services == {"airflow-api", "postgres", "databases", "mlflow", "worker-1"}


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fake docker that records its environment in a file and fails. Yields the file."""
    noted = tmp_path / "noted"
    (tmp_path / "docker").write_text(f"#!/bin/sh\nenv >{noted}\nexit 1\n")
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return noted


def test_the_proof_ignores_the_settings_of_the_shell(
    docker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANDING_DIR", "/of/the/embedded/stack")
    monkeypatch.setenv("DOCKER_HOST", "unix:///where")
    with pytest.raises(ComposeError):
        Project("docker", "none", tmp_path / ".env", []).compose("up")
    seen = docker.read_text(encoding="utf-8")
    assert ("/of/the/embedded/stack" in seen, "DOCKER_HOST=unix:///where" in seen) == (False, True)


def test_the_proofs_secrets_are_private_and_its_drops_are_readable(tmp_path: Path) -> None:
    settings = fresh_settings(tmp_path)
    modes = {path.name: oct(path.stat().st_mode & 0o777) for path in (tmp_path, *tmp_path.iterdir())}
    assert modes == {tmp_path.name: "0o711", ".env": "0o600", "landing": "0o755"}
    assert (settings["LANDING_DIR"], len(settings["POSTGRES_PASSWORD"])) == (str(tmp_path / "landing"), 64)


def test_the_proofs_secrets_are_deleted_even_if_the_engine_fails(
    docker: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    directory = tmp_path / "proof"
    directory.mkdir()
    clean_up(Project("docker", "none", directory / ".env", []), directory)
    assert (directory.exists(), "ended with status 1" in capsys.readouterr().err) == (False, True)


REPORT = {"scheduler": {"status": "healthy"}, "dag_processor": {"status": "unhealthy"}, "triggerer": {"status": None}}


@pytest.mark.parametrize(
    ("component", "status"), [("api", 0), ("scheduler", 0), ("dag_processor", 1), ("triggerer", 1)]
)
def test_an_airflow_component_is_as_healthy_as_the_api_server_reports(component: str, status: int) -> None:
    with answering(200, REPORT) as port:
        assert checked(component, port) == status


def test_without_the_api_server_no_component_is_healthy(nobody: int) -> None:
    assert checked("api", nobody) == 1


def checked(component: str, port: int) -> int:
    command = [sys.executable, "-I", "-S", str(AIRFLOW / "healthcheck.py"), component]
    server = {"AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/"}
    proxied = {"http_proxy": "http://127.0.0.1:1"}
    return subprocess.run(command, env=server | proxied, capture_output=True, check=False).returncode


@pytest.mark.parametrize(
    ("shown", "expected"), [("1.5GB", 1430.51), ("512MiB", 512), ("90.2kB", 0.086021), ("7B", 6.6757e-06)]
)
def test_memory_figures_of_docker_and_podman_are_parsed(shown: str, expected: float) -> None:
    assert mebibytes(shown) == pytest.approx(expected, rel=1e-4)
