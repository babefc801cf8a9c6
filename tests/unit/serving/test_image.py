"""The image of the serving API: its lock, its Dockerfile and its health check. CI builds no image."""

import ast
import json
import os
import re
import shlex
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from serving.healthcheck import is_healthy
from tests.conftest import REPOSITORY

SERVING = REPOSITORY / "serving"
DOCKERFILE = (SERVING / "Dockerfile").read_text(encoding="utf-8")
# What the image copies of the checkout.
COPIED = {"include/churn", "include/feature_repo", "include/sql", "serving"}


Lock = dict[str, list[Requirement]]


def locked(file: Path) -> Lock:
    """Return what `file` pins by name; numpy has a pin for each range of Python versions."""
    lock: Lock = {}
    for line in file.read_text(encoding="utf-8").splitlines():
        if re.match(r"[A-Za-z0-9]", line):
            pin = Requirement(line.rstrip("\\ "))
            lock.setdefault(canonicalize_name(pin.name), []).append(pin)
    return lock


def instructions(dockerfile: str) -> list[tuple[str, str]]:
    """Return (instruction, its arguments on one line) in order, comments left out."""
    lines = [line for line in dockerfile.splitlines() if not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [(first.upper(), rest.strip()) for first, _, rest in (x.partition(" ") for x in joined.splitlines() if x)]


def of_kind(kind: str) -> list[str]:
    return [rest for instruction, rest in instructions(DOCKERFILE) if instruction == kind]


def last_stage() -> list[tuple[str, str]]:
    every = instructions(DOCKERFILE)
    return every[max(i for i, (kind, _) in enumerate(every) if kind == "FROM") :]


@pytest.fixture(scope="module")
def lean() -> Lock:
    return locked(SERVING / "requirements.txt")


# The lock.


def test_every_version_of_the_image_is_the_one_that_the_tests_run_on(lean: Lock) -> None:
    main = locked(REPOSITORY / "requirements.txt")
    assert len(lean) > 40
    assert [name for name in lean if name not in main] == []
    assert {name: versions(pins) for name, pins in lean.items()} == {name: versions(main[name]) for name in lean}


def versions(pins: list[Requirement]) -> set[str]:
    return {str(each.specifier) for each in pins}


def test_every_library_of_the_lock_is_pinned_and_hashed(lean: Lock) -> None:
    text = (SERVING / "requirements.txt").read_text(encoding="utf-8")
    entries = re.findall(r"(?m)^[A-Za-z0-9].*(?:\n .*)*", text)
    assert len(entries) == sum(map(len, lean.values()))
    assert [each for each in entries if not re.match(r"[\w.-]+==\S+.*\\\n    --hash=sha256:[0-9a-f]{64}", each)] == []


def test_what_the_image_asks_for_is_in_its_lock(lean: Lock) -> None:
    lines = (SERVING / "requirements.in").read_text(encoding="utf-8").splitlines()
    asked = {canonicalize_name(Requirement(line).name) for line in lines if line and line[0] not in "#-"}
    assert asked <= set(lean)
    assert "-c ../requirements.txt" in lines


@pytest.mark.parametrize("library", ["mlflow", "apache-airflow-core", "matplotlib", "pytest", "ruff", "mypy"])
def test_the_image_is_without(library: str, lean: Lock) -> None:
    assert library not in lean


# What serving imports.


def test_every_import_of_serving_and_of_what_it_imports_is_in_the_lock(lean: Lock) -> None:
    distributions = packages_distributions()
    imported = {
        name: distributions.get(name, [])
        for name in imports_of_all(serving_modules())
        if name not in sys.stdlib_module_names
    }
    assert {"feast", "flask", "mlflow", "psycopg", "sklearn"} <= set(imported)
    assert {
        name: owners for name, owners in imported.items() if not {canonicalize_name(o) for o in owners} & set(lean)
    } == {}


def test_serving_starts_with_the_files_of_its_lock_and_of_its_image_alone(lean: Lock) -> None:
    program = f"{ONLY_THE_FILES_OF_THE_LOCK}\n{START}"
    environment = {**os.environ, "PYTHONPATH": f"{REPOSITORY / 'include'}:{REPOSITORY}"}
    started = subprocess.run(
        [sys.executable, "-c", program, *serving_types()],
        input=json.dumps(sorted(files_of(lean))),
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        cwd=REPOSITORY,
    )
    assert started.returncode == 0, started.stderr
    loaded = [Path(name).relative_to(REPOSITORY).as_posix() for name in json.loads(started.stdout.splitlines()[-1])]
    assert "serving/app.py" in loaded
    assert "include/churn/features/online_store.py" in loaded
    assert [name for name in loaded if not any(name.startswith(f"{each}/") for each in COPIED)] == []


ONLY_THE_FILES_OF_THE_LOCK = """
import json, os, sys, sysconfig
from importlib.machinery import PathFinder

allowed = set(json.load(sys.stdin))
libraries = [sysconfig.get_path(kind) + os.sep for kind in ("purelib", "platlib")]

class Lean(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        spec = PathFinder.find_spec(name, path, target)
        origin = spec.origin if spec else None
        if origin and origin.startswith(tuple(libraries)) and origin not in allowed:
            return None
        return spec

sys.meta_path[:] = [Lean if finder is PathFinder else finder for finder in sys.meta_path]
"""

START = """
from importlib import import_module
from serving.app import create_app
from serving.settings import Settings

create_app(Settings(database_url="postgresql://nobody@127.0.0.1:1/churn", tracking_uri="http://127.0.0.1:1"))
for path in sys.argv[1:]:
    module, name = path.rsplit(".", 1)
    getattr(import_module(module), name)
own = [getattr(module, "__file__", None) or "" for module in list(sys.modules.values())]
print(json.dumps([file for file in own if file.startswith(os.getcwd() + os.sep) and ".venv" not in file]))
"""


def serving_types() -> list[str]:
    """Return the class paths that opening Feast's store imports: feature_store.yaml and its like name them."""
    return sorted({
        value["type"]
        for path in (REPOSITORY / "include/feature_repo").glob("*.yaml")
        for value in yaml.safe_load(path.read_text(encoding="utf-8")).values()
        if isinstance(value, dict) and "type" in value
    })  # fmt: skip


def serving_modules() -> list[str]:
    """Return every module of serving/, and those that feature_store.yaml and its like name."""
    return [f"serving.{each.stem}" for each in SERVING.glob("*.py") if each.name != "gunicorn.conf.py"] + [
        path.rpartition(".")[0] for path in serving_types()
    ]


def imports_of_all(modules: list[str]) -> set[str]:
    """Return the top-level names of the libraries that these modules import, and whatever they import of ours."""
    libraries: set[str] = set()
    seen: set[str] = set()
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name in seen or not (file := file_of(name)):
            continue
        seen.add(name)
        for found in imports_in(ast.parse(file.read_text(encoding="utf-8"))):
            if found.split(".")[0] in {"churn", "serving"}:
                waiting += [found, found.rpartition(".")[0]]
            else:
                libraries.add(found.split(".")[0])
    return libraries


def file_of(module: str) -> Path | None:
    base = (REPOSITORY if module.startswith("serving") else REPOSITORY / "include") / module.replace(".", "/")
    return next((each for each in (base.with_suffix(".py"), base / "__init__.py") if each.is_file()), None)


def imports_in(node: ast.AST) -> Iterator[str]:
    """Yield what is imported anywhere in `node`, in functions too, but not for type checkers alone."""
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
        return
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module:
        yield node.module
        yield from (f"{node.module}.{alias.name}" for alias in node.names)
    for child in ast.iter_child_nodes(node):
        yield from imports_in(child)


def files_of(lock: Lock) -> Iterator[str]:
    """Yield every file that the libraries of `lock` have installed here."""
    for name, pins in lock.items():
        if any(each.marker is None or each.marker.evaluate() for each in pins):
            try:
                found = distribution(name)
            except PackageNotFoundError as error:
                raise AssertionError(f"{name} is locked for the image and is not installed here") from error
            yield from (os.path.normpath(found.locate_file(file)) for file in found.files or [])


# The Dockerfile.


def test_the_base_image_is_the_one_build_argument_and_every_stage_is_made_from_it() -> None:
    assert instructions(DOCKERFILE)[0] == ("ARG", "BASE=docker.io/library/python:3.11-slim-bookworm")
    assert len(of_kind("ARG")) == 1
    assert {each.split()[0] for each in of_kind("FROM")} == {"${BASE}"}


def test_no_image_is_named_by_a_tag_that_moves_at_will() -> None:
    assert "latest" not in DOCKERFILE
    assert re.fullmatch(r"BASE=[\w./-]+:[\w.-]+", of_kind("ARG")[0])


def test_the_service_runs_as_a_user_who_is_not_root_and_has_no_name_to_look_up() -> None:
    users = [rest for kind, rest in last_stage() if kind == "USER"]
    assert len(users) == 1
    user, group = users[0].split(":")
    assert user.isdecimal()
    assert group.isdecimal()
    assert min(int(user), int(group)) >= 1000


def test_only_the_code_of_serving_is_copied_and_seen_by_the_build() -> None:
    copied = [shlex.split(each) for each in of_kind("COPY") if not each.startswith("--from")]
    sources = {words[0] for words in copied}
    assert sources == COPIED | {"serving/requirements.txt"}
    assert all((REPOSITORY / each).exists() for each in sources)
    patterns = (REPOSITORY / ".dockerignore").read_text(encoding="utf-8").splitlines()
    patterns = [line for line in patterns if line and not line.startswith("#")]
    assert patterns[0] == "*"
    let_in = {line[1:] for line in patterns if line.startswith("!")}
    assert [each for each in COPIED if not {each, *map(str, Path(each).parents)} & let_in] == []


def test_libraries_are_installed_from_the_lock_by_their_hashes_when_the_image_is_built_and_never_later() -> None:
    installs = [each for each in of_kind("RUN") if "install" in each]
    assert len(installs) == 1
    assert {"--require-hashes", "--no-deps", "--only-binary", "--no-cache-dir"} <= set(shlex.split(installs[0]))
    started = [rest for kind, rest in last_stage() if kind in {"CMD", "ENTRYPOINT"}]
    assert [json.loads(each) for each in started] == [
        ["python", "-m", "gunicorn", "--config", "serving/gunicorn.conf.py"]
    ]


def test_no_secret_no_address_and_no_package_index_is_in_the_image() -> None:
    named = " ".join([*of_kind("ENV"), *of_kind("ARG"), *of_kind("LABEL")])
    assert not re.search(r"(?i)password|secret|token|_key|database_url|tracking_uri|://", named)
    # A file that is mounted for one command is in no layer.
    assert not re.search(r"(?i)--(extra-)?index-url|--trusted-host|://|pip\.conf", re.sub(
        r"--mount=type=secret,\S+", "", " ".join(of_kind("RUN"))
    ))  # fmt: skip


def test_the_health_check_runs_a_file_of_the_image_with_python_alone() -> None:
    (check,) = [rest for kind, rest in last_stage() if kind == "HEALTHCHECK"]
    command = json.loads(check.partition("CMD")[2])
    assert command[0] == "python"
    assert (REPOSITORY / command[-1]).is_file()
    imported = set(imports_in(ast.parse((REPOSITORY / command[-1]).read_text(encoding="utf-8"))))
    assert {each.split(".")[0] for each in imported} <= sys.stdlib_module_names


# The health check, and the address.


class Answer(BaseHTTPRequestHandler):
    status, body = 200, "{}"

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/health/ready" else 404)
        self.end_headers()
        self.wfile.write(self.body.encode())

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[HTTPServer]:
    class Own(Answer):
        pass

    with HTTPServer(("127.0.0.1", 0), Own) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("status", "body", "healthy"),
    [
        (200, {}, True),
        (503, {"type": "not-ready", "workers_behind": 0}, True),
        (503, {"type": "not-ready", "workers_behind": 1}, False),
        (503, {"type": "overloaded"}, False),
        (503, [], False),
        (500, None, False),
    ],
)
def test_a_service_is_healthy_while_no_worker_is_behind(
    server: HTTPServer, status: int, body: object, healthy: bool
) -> None:
    server.RequestHandlerClass.status = status  # type: ignore[attr-defined]
    server.RequestHandlerClass.body = json.dumps(body) if body is not None else "<html>"  # type: ignore[attr-defined]
    assert is_healthy(server.server_port) == healthy


def test_a_port_where_nobody_listens_is_no_healthy_service() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert not is_healthy(port)


def test_a_proxy_of_the_environment_is_not_asked(server: HTTPServer) -> None:
    (check,) = [rest for kind, rest in last_stage() if kind == "HEALTHCHECK"]
    command = [sys.executable, *json.loads(check.partition("CMD")[2])[1:]]
    proxied = {"http_proxy": "http://127.0.0.1:1", "SERVING_PORT": str(server.server_port)}
    assert subprocess.run(command, env=proxied, cwd=REPOSITORY, check=False).returncode == 0


@pytest.mark.parametrize(
    ("environment", "address"),
    [({}, "127.0.0.1:8000"), ({"SERVING_HOST": "0.0.0.0", "SERVING_PORT": "18000"}, "0.0.0.0:18000")],
)
def test_the_service_listens_on_this_machine_alone_unless_it_is_told_another_address(
    environment: dict[str, str], address: str, tmp_path: Path
) -> None:
    program = f"import runpy; print(runpy.run_path({str(SERVING / 'gunicorn.conf.py')!r})['bind'])"
    found = subprocess.run(
        [sys.executable, "-c", program],
        env={"CHURN_HOME": str(tmp_path), **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == address


def test_in_the_image_the_service_listens_to_the_outside() -> None:
    assert "SERVING_HOST=0.0.0.0" in shlex.split(" ".join(of_kind("ENV")))
