"""docker-compose.airflow.yml and the files it uses, checked statically: `make prove` runs them, CI does not."""

import ast
import configparser
import json
import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from cryptography.fernet import Fernet

from containers.engine import SPARK
from containers.env_file import SECRETS, SETTINGS, write
from containers.proof import BUDGET
from serving.schemas import MOST_BATCH_BYTES
from tests.conftest import REPOSITORY

CONTAINERS = REPOSITORY / "containers"
TEXT = (REPOSITORY / "docker-compose.airflow.yml").read_text(encoding="utf-8")
COMPOSE = yaml.safe_load(TEXT)
SERVICES: dict[str, dict] = COMPOSE["services"]
COMPLETED = {"databases", "airflow-init"}
LONG_RUNNING = sorted(set(SERVICES) - COMPLETED)

# ${NAME}, ${NAME:-default}, ${NAME:?message}; $${NAME} is the shell's.
VARIABLE = re.compile(r"(?<!\$)\$\{([A-Za-z0-9_]+)(?:(:?[-?])([^}]*))?\}")
USES = VARIABLE.findall("\n".join(line for line in TEXT.splitlines() if not line.lstrip().startswith("#")))


def filled_in(value: object) -> str:
    """Return `value` with every setting at its default."""
    return VARIABLE.sub(lambda found: found[3] if found[2] == ":-" else f"<{found[1]}>", str(value))


def mebibytes(service: str) -> int:
    """Return the memory limit of the service; the file has each in MiB."""
    return int(re.fullmatch(r"(\d+)m", filled_in(SERVICES[service]["mem_limit"]))[1])


def secrets_of(service: str) -> set[str]:
    return {name for name, _, _ in VARIABLE.findall(json.dumps(SERVICES[service]))} & set(SECRETS)


# Variables.


def test_every_variable_of_the_file_is_explained_in_env_and_every_one_of_env_is_used() -> None:
    assert {name for name, _, _ in USES} == set(SECRETS) | set(SETTINGS)


def test_every_secret_is_required_and_has_no_default() -> None:
    assert {(name, kind) for name, kind, _ in USES if name in SECRETS} == {(name, ":?") for name in SECRETS}


def test_every_setting_has_the_default_that_env_says_it_has() -> None:
    used = {(name, kind, default) for name, kind, default in USES if name in SETTINGS}
    assert used == {(name, ":-", default) for name, (default, _) in SETTINGS.items()}


@pytest.mark.parametrize("service", sorted(SERVICES))
def test_no_service_variable_shadows_a_setting(service: str) -> None:
    """podman-compose would use the variable for the setting if .env leaves that at its default."""
    rest = {key: value for key, value in SERVICES[service].items() if key != "environment"}
    assert {name for name, _, _ in VARIABLE.findall(json.dumps(rest))} & told(service) == set()


NOT_OF_ENV = {
    "CHURN_GIT_COMMIT": "the image sets it",
    "LANDING_DIR": "the image sets it; that of .env is what is mounted there",
    "SERVING_HOST": "the image sets it",
    "SERVING_PORT": "in its container it is always 8000; that of .env is where it is published",
    "CHURN_HOME": "the embedded stack's",
    "CHURN_DATABASE_URL": "airflow-init has it, and serving its own SERVING_DATABASE_URL",
    **dict.fromkeys(
        (
            *("CHURN_SQLALCHEMY_URL", "CHURN_PGDATABASE", "CHURN_PGHOST", "CHURN_PGPASSWORD", "CHURN_PGPORT"),
            *("CHURN_PGSSLMODE", "CHURN_PGUSER", "MLFLOW_DISABLE_TELEMETRY", "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"),
            *("MLFLOW_CONFIGURE_LOGGING", "MLFLOW_HTTP_REQUEST_MAX_RETRIES", "MLFLOW_HTTP_REQUEST_TIMEOUT"),
        ),
        "what reads it sets it",
    ),
}
"""What the code reads and no service is told, and why."""


def read_in(*directories: str) -> set[str]:
    """Return the names of environment variables in the code: literals with our prefixes."""
    files = [path for directory in directories for path in (REPOSITORY / directory).rglob("*.py")]
    nodes = [node for path in files for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
    name = re.compile("(CHURN|SERVING|MLFLOW|LANDING|ARCHIVE|SCORES)(_[A-Z]+)+")
    literals = [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return {text for text in literals if name.fullmatch(text)}


def told(*services: str) -> set[str]:
    return {name for service in services for name in SERVICES[service].get("environment", {})}


def test_every_variable_read_by_dags_pipeline_and_plugins_is_set_in_a_service() -> None:
    ours = [name for name, spec in SERVICES.items() if "churn-airflow" in spec["image"]]
    assert read_in("dags", "include", "plugins") - told(*ours) - set(NOT_OF_ENV) == set()


def test_every_variable_read_by_serving_is_set() -> None:
    assert read_in("serving") - told("serving") - set(NOT_OF_ENV) == set()


def test_dag_settings_are_set_wherever_dag_files_are_parsed() -> None:
    readers = ("worker-1", "worker-2", *(name for name in SERVICES if name.startswith("airflow-")))
    assert {name: read_in("dags") - told(name) for name in readers} == {name: set() for name in readers}


def test_links_in_airflow_use_the_browsers_addresses() -> None:
    links = (REPOSITORY / "plugins" / "churn_links.py").read_text(encoding="utf-8")
    addresses = {name: SERVICES["airflow-api"]["environment"][name] for name in re.findall(r'"(\w+_URL)"', links)}
    assert addresses == {name: f"${{{name}:-{SETTINGS[name][0]}}}" for name in ("MLFLOW_URL", "SERVING_URL")}


def test_every_variable_named_like_a_secret_is_a_secret() -> None:
    assert [name for name in SETTINGS if re.search("PASSWORD|SECRET|TOKEN|_KEY$", name)] == []


def test_no_password_is_written_down_in_any_file_of_the_containers() -> None:
    files = [path for path in CONTAINERS.rglob("*") if path.suffix in {".yml", ".cfg", ".json", ".sh"}]
    found = re.compile(r"(?im)^\s*[\w-]*(password|secret|fernet_key|token)[\w-]*\s*[:=]\s*['\"]?\w+")
    assert {path.name: found.findall(path.read_text(encoding="utf-8")) for path in files} == {
        path.name: [] for path in files
    }


# The .env.


@pytest.fixture
def env(tmp_path: Path) -> Path:
    path = tmp_path / ".env"
    assert write(path)
    return path


def values(path: Path) -> dict[str, str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def test_a_fresh_env_holds_every_secret_and_nothing_else(env: Path) -> None:
    assert set(values(env)) == set(SECRETS)


def test_only_the_owner_can_read_the_env_file(env: Path) -> None:
    assert stat.S_IMODE(env.stat().st_mode) == 0o600


def test_an_existing_env_file_is_never_overwritten(env: Path) -> None:
    before = env.read_bytes()
    assert not write(env)
    assert env.read_bytes() == before


def test_secrets_differ_within_and_between_env_files(env: Path, tmp_path: Path) -> None:
    write(tmp_path / "other")
    every = [*values(env).values(), *values(tmp_path / "other").values()]
    assert len(set(every)) == 2 * len(SECRETS)
    assert min(map(len, every)) >= 43


def test_the_fernet_key_is_valid(env: Path) -> None:
    Fernet(values(env)["AIRFLOW_FERNET_KEY"])


def test_passwords_need_no_encoding_in_a_uri(env: Path) -> None:
    assert all(re.fullmatch(r"[0-9a-f]{64}", value) for name, value in values(env).items() if "PASSWORD" in name)


def test_the_env_command_needs_only_python(tmp_path: Path) -> None:
    command = [sys.executable, "-I", "-S", str(CONTAINERS / "env_file.py"), str(tmp_path / ".env")]
    for said in ("wrote", "is unchanged"):
        assert said in subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path).stdout


def test_the_env_command_creates_the_landing_directory(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-I", "-S", str(CONTAINERS / "env_file.py")], check=True, cwd=tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {".env", "landing"}


def test_both_images_are_built_on_the_base_that_one_setting_names() -> None:
    bases = {json.dumps(spec["build"]["args"]["BASE"]) for spec in SERVICES.values() if "build" in spec}
    assert bases == {json.dumps(f"${{BASE_IMAGE:-{SETTINGS['BASE_IMAGE'][0]}}}")}


def test_git_and_the_images_leave_env_out() -> None:
    assert ".env" in (REPOSITORY / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert (REPOSITORY / ".dockerignore").read_text(encoding="utf-8").splitlines()[1] == "*"


# Services.


def test_the_compose_file_has_every_service() -> None:
    assert set(LONG_RUNNING) == {
        *("postgres", "redis", "mlflow", "serving", "proxy", "prometheus", "grafana", "worker-1", "worker-2"),
        *("airflow-api", "airflow-scheduler", "airflow-dag-processor", "airflow-triggerer"),
        *SPARK,
    }
    assert [name for name, spec in SERVICES.items() if spec.get("profiles") == ["spark"]] == list(SPARK)


@pytest.mark.parametrize("service", LONG_RUNNING)
def test_every_service_has_health_check_memory_limit_and_restart(service: str) -> None:
    spec = SERVICES[service]
    assert spec["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}
    assert mebibytes(service) > 0
    assert spec["restart"] == "unless-stopped"


@pytest.mark.parametrize("service", sorted(COMPLETED))
def test_one_shot_services_are_restarted_until_they_succeed(service: str) -> None:
    assert SERVICES[service]["restart"] == "on-failure"
    assert mebibytes(service) > 0


@pytest.mark.parametrize("service", sorted(SERVICES))
def test_services_are_unprivileged_and_write_only_to_volumes_and_tmp(service: str) -> None:
    spec = SERVICES[service]
    assert re.fullmatch(r"(postgres|redis)|[1-9]\d*:\d+", spec["user"])
    assert spec["read_only"] is True
    assert spec["cap_drop"] == ["ALL"]
    assert spec["security_opt"] == ["no-new-privileges:true"]
    assert spec["tmpfs"] == ["/tmp"]
    assert not spec.get("privileged")


@pytest.mark.parametrize("service", sorted(SERVICES))
def test_the_log_of_every_service_is_limited(service: str) -> None:
    assert SERVICES[service]["logging"]["options"]["max-size"] == "10m"


def test_the_limits_of_all_services_together_are_no_more_than_what_the_proof_allows_them_to_take() -> None:
    assert sum(mebibytes(name) for name in LONG_RUNNING if name not in SPARK) <= BUDGET == 8192


def test_the_manual_has_the_limit_of_each_service_and_what_they_come_to() -> None:
    manual = (REPOSITORY / "docs" / "containers.md").read_text(encoding="utf-8")
    table = manual.partition("| limit, MiB |")[2].partition("\n\n")[0]
    told = {name: int(limit.replace(",", "")) for name, limit in re.findall(r"\| (\S+) \| .* \| ([\d,]+) \|", table)}
    limits = {name: mebibytes(name) for name in LONG_RUNNING}
    assert told == limits | {"all": sum(limit for name, limit in limits.items() if name not in SPARK)}


def test_only_airflow_mlflow_and_serving_are_published_on_loopback() -> None:
    published = {
        name: [filled_in(port) for port in spec["ports"]] for name, spec in SERVICES.items() if "ports" in spec
    }
    assert published == {
        "airflow-api": ["127.0.0.1:8080:8080"],
        "mlflow": ["127.0.0.1:5001:5000"],
        "proxy": ["127.0.0.1:8000:8000"],
    }


def test_clients_reach_serving_by_the_proxy_which_reaches_nothing_else() -> None:
    in_front = [name for name, spec in SERVICES.items() if "front" in spec.get("networks", [])]
    assert in_front == ["serving", "proxy"]
    assert SERVICES["proxy"]["networks"] == ["front"]


def test_nginx_takes_its_configuration(tmp_path: Path) -> None:
    if not shutil.which("nginx"):
        pytest.skip("nginx is not installed")
    text = (CONTAINERS / "nginx" / "nginx.conf").read_text(encoding="utf-8").replace("RESOLVER", "127.0.0.1")
    (tmp_path / "nginx.conf").write_text(text.replace("/etc/nginx/listen", str(CONTAINERS / "nginx" / "plain")))
    command = ["nginx", "-t", "-e", str(tmp_path / "log"), "-c", str(tmp_path / "nginx.conf")]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr


def test_nginx_takes_as_large_a_body_as_serving() -> None:
    text = (CONTAINERS / "nginx" / "nginx.conf").read_text(encoding="utf-8")
    assert re.findall(r"client_max_body_size (\d+);", text) == [str(MOST_BATCH_BYTES)]


@pytest.mark.parametrize("service", sorted(SERVICES))
def test_no_image_uses_the_tag_latest(service: str) -> None:
    name, _, tag = filled_in(SERVICES[service]["image"]).rpartition(":")
    assert name
    assert re.match(r"v?\d|local$", tag)


def test_every_persistent_volume_is_named() -> None:
    mounted = [volume.split(":")[0] for spec in SERVICES.values() for volume in spec.get("volumes", [])]
    named = {volume for volume in mounted if re.fullmatch(r"[a-z-]+", volume)}
    assert named == set(COMPOSE["volumes"])
    others = {filled_in(volume) for spec in SERVICES.values() for volume in spec.get("volumes", [])}
    assert [each for each in others if each.startswith(".") and not each.endswith(":ro")] == []


def database(role: str, name: str) -> str:
    variable = {"postgres": "POSTGRES", "churn_pipeline": "PIPELINE_DB"}.get(role, f"{role.upper()}_DB")
    return f"postgresql://{role}:<{variable}_PASSWORD>@postgres:5432/{name}"


OURS = [name for name, spec in SERVICES.items() if "churn-airflow" in spec["image"] and name != "spark-master"]


def test_every_own_service_waits_for_its_dependencies_itself() -> None:
    airflow = [database("airflow", "airflow"), "airflow-migrations"]
    worker = [
        *("tcp://redis:6379", "http://mlflow:5000/health", "http://airflow-api:8080/api/v2/monitor/health"),
        "churn-migrations",
    ]
    assert {name: filled_in(SERVICES[name]["environment"]["WAIT_FOR"]).split() for name in OURS} == {
        "databases": [database("postgres", "postgres")],
        "airflow-init": [database("churn_pipeline", "churn"), database("airflow", "airflow")],
        "airflow-api": airflow,
        "airflow-scheduler": airflow,
        "airflow-dag-processor": airflow,
        "airflow-triggerer": airflow,
        "worker-1": worker,
        "worker-2": worker,
        "mlflow": [database("mlflow", "mlflow")],
        "worker-spark": worker,
        "spark-worker-1": ["tcp://spark-master:7077"],
        "spark-worker-2": ["tcp://spark-master:7077"],
    }


def test_services_that_wait_for_churn_migrations_have_its_address() -> None:
    waiting = [name for name in OURS if "churn-migrations" in SERVICES[name]["environment"]["WAIT_FOR"]]
    told = {filled_in(SERVICES[name]["environment"]["AIRFLOW_CONN_CHURN_POSTGRES"]) for name in waiting}
    assert told == {database("churn_pipeline", "churn")}


@pytest.mark.parametrize("service", sorted(SERVICES))
def test_every_dependency_has_a_condition(service: str) -> None:
    needed = SERVICES[service].get("depends_on", {})
    for other in needed:
        expected = "service_completed_successfully" if other in COMPLETED else "service_healthy"
        assert needed[other]["condition"] == expected


def test_each_service_has_only_the_secrets_it_needs() -> None:
    core = {"AIRFLOW_DB_PASSWORD", "AIRFLOW_FERNET_KEY"}
    assert {service: secrets_of(service) for service in SERVICES} == {
        "postgres": {"POSTGRES_PASSWORD"},
        "redis": {"REDIS_PASSWORD"},
        "databases": {name for name in SECRETS if "DB_PASSWORD" in name} | {"POSTGRES_PASSWORD"},
        "airflow-init": core | {"PIPELINE_DB_PASSWORD", "AIRFLOW_ADMIN_PASSWORD"},
        "airflow-api": core | {"PIPELINE_DB_PASSWORD", "AIRFLOW_JWT_SECRET", "AIRFLOW_SECRET_KEY"},
        "airflow-scheduler": core | {"REDIS_PASSWORD", "AIRFLOW_JWT_SECRET"},
        "airflow-dag-processor": core,
        "airflow-triggerer": core,
        # A task reaches Airflow by the token that it was sent with, and by nothing else.
        "worker-1": {"REDIS_PASSWORD", "PIPELINE_DB_PASSWORD"},
        "worker-2": {"REDIS_PASSWORD", "PIPELINE_DB_PASSWORD"},
        "worker-spark": {"REDIS_PASSWORD", "PIPELINE_DB_PASSWORD"},
        # Executors get code and customers, and no address of a database.
        **{name: set() for name in set(SPARK) - {"worker-spark"}},
        "mlflow": {"MLFLOW_DB_PASSWORD"},
        "serving": {"SERVING_DB_PASSWORD"},
        "proxy": set(),
        "prometheus": set(),
        "grafana": {"GRAFANA_ADMIN_PASSWORD"},
    }


def test_all_airflow_services_have_the_same_settings() -> None:
    told = [SERVICES[name]["environment"] for name in SERVICES if name.startswith("airflow-")]
    for name in ("CORE__FERNET_KEY", "DATABASE__SQL_ALCHEMY_CONN", "CORE__EXECUTION_API_SERVER_URL"):
        assert len({each[f"AIRFLOW__{name}"] for each in told}) == 1


def test_mlflow_migrates_its_database_before_the_server_starts() -> None:
    upgrade, serve = SERVICES["mlflow"]["command"][-1].split(" && ")
    assert upgrade == "python -m embedded.stack.mlflow_metadata"
    assert serve.startswith("exec mlflow server ")


def test_both_workers_consume_both_queues() -> None:
    commands = {SERVICES[name]["command"] for name in ("worker-1", "worker-2")}
    assert len(commands) == 1
    assert "--queues default,training " in commands.pop()


def test_a_worker_can_only_read_what_has_landed() -> None:
    assert "./landing:/landing:ro" in map(filled_in, SERVICES["worker-1"]["volumes"])
    assert "LANDING_DIR=/landing" in " ".join(rest for kind, rest in AIRFLOW_IMAGE if kind == "ENV").split()


def test_only_workers_have_the_key_of_erased_customers_in_a_volume_of_its_own() -> None:
    having = {name for name, spec in SERVICES.items() if any("erasure" in each for each in spec.get("volumes", []))}
    assert having == {"worker-1", "worker-2", "worker-spark"}
    for name in having:
        assert "erasure:/erasure" in SERVICES[name]["volumes"]
        assert SERVICES[name]["environment"]["CHURN_ERASURE_DIR"] == "/erasure"


def test_the_api_server_can_only_read_the_logs_of_tasks() -> None:
    assert "airflow-logs:/logs:ro" in SERVICES["airflow-api"]["volumes"]


PROGRAMS = ("celery", "redis-cli", "redis-server")


@pytest.mark.parametrize("service", sorted(SERVICES))
def test_no_secret_is_in_a_command_line_of_a_service(service: str, tmp_path: Path) -> None:
    """Runs the shell commands with fake programs that record their arguments."""
    spec = SERVICES[service]
    commands = [spec.get("command", ""), spec.get("healthcheck", {}).get("test", "")]
    assert not {name for name, _, _ in VARIABLE.findall(json.dumps(commands))} & set(SECRETS)
    for program in PROGRAMS:
        (tmp_path / program).write_text(f'#!/bin/sh\necho {program} "$@" >>{tmp_path}/called\n')
        (tmp_path / program).chmod(0o755)
    environment = {name: filled_in(value) for name, value in spec.get("environment", {}).items()}
    scripts = [command[-1].replace("$$", "$") for command in commands if {"CMD-SHELL", "-c"} & set(command)]
    for script in [text for text in scripts if any(program in text for program in PROGRAMS)]:
        subprocess.run(["sh", "-c", script], env=environment | {"PATH": f"{tmp_path}:/usr/bin:/bin"}, check=False)
        called = (tmp_path / "called").read_text(encoding="utf-8")
        assert not [name for name in SECRETS if f"<{name}>" in called]
    assert [text for text in scripts if "$" in text and not any(program in text for program in PROGRAMS)] == []


# Images.


def instructions(file: Path) -> list[tuple[str, str]]:
    lines = [line for line in file.read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [(first, rest.strip()) for first, _, rest in (line.partition(" ") for line in joined.splitlines() if line)]


AIRFLOW_IMAGE = instructions(CONTAINERS / "airflow" / "Dockerfile")


def test_the_image_installs_the_tested_lock_at_build_time_only() -> None:
    commands = [command for kind, rest in AIRFLOW_IMAGE if kind == "RUN" for command in rest.split("&&")]
    installs = [set(command.split()) for command in commands if "install --no-cache-dir" in command]
    locks = ["requirements.txt", "requirements-build.txt", "requirements-spark.txt"]
    assert [f"/tmp/{lock}" in install for lock, install in zip(locks, installs, strict=True)] == [True] * 3
    assert all({"--require-hashes", "--no-deps"} <= install for install in installs)
    # pyspark, which has no wheel, is built by the setuptools of the lock.
    assert [install & {"--only-binary", "--no-build-isolation"} for install in installs] == [
        *[{"--only-binary"}] * 2,
        {"--no-build-isolation"},
    ]
    scripts = "".join(path.read_text(encoding="utf-8") for path in (CONTAINERS / "airflow").glob("*.py"))
    assert "pip" not in scripts


def test_the_image_names_its_base_in_one_argument_and_its_user_by_number() -> None:
    assert {rest.split()[0] for kind, rest in AIRFLOW_IMAGE if kind == "FROM"} == {"${BASE}"}
    assert [rest for kind, rest in AIRFLOW_IMAGE if kind == "USER"] == ["10001:10001"]


def test_every_file_the_image_copies_exists_and_is_not_ignored() -> None:
    copied = {
        source
        for kind, rest in AIRFLOW_IMAGE
        if kind == "COPY" and "--from" not in rest
        for source in rest.split()[:-1]
    }
    let_in = [line[1:] for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert copied <= set(let_in)
    assert all((REPOSITORY / source).exists() for source in copied)


def test_every_module_a_service_runs_is_in_the_image_with_its_imports(tmp_path: Path) -> None:
    for sources in [rest.split()[:-1] for kind, rest in AIRFLOW_IMAGE if kind == "COPY" and "--from" not in rest]:
        for source in sources:
            copy = shutil.copytree if (REPOSITORY / source).is_dir() else shutil.copy
            (tmp_path / source).parent.mkdir(parents=True, exist_ok=True)
            copy(REPOSITORY / source, tmp_path / source)
    modules = {name for service in OURS for name in re.findall(r"python -m (\S+)", str(SERVICES[service]["command"]))}
    assert modules == {"churn.postgres.roles", "containers.airflow.init", "embedded.stack.mlflow_metadata"}
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "include"), "AIRFLOW_HOME": str(tmp_path / "airflow")}
    command = [sys.executable, "-c", f"import {', '.join(sorted(modules))}"]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True)


def test_no_secret_and_no_address_is_in_the_image() -> None:
    said = " ".join(rest for kind, rest in AIRFLOW_IMAGE if kind in {"ENV", "ARG", "LABEL"})
    assert not re.search(r"(?i)password|secret|token|_key|://", said)


def test_airflow_is_set_up_for_celery_and_for_users_who_sign_in() -> None:
    config = configparser.ConfigParser()
    config.read(CONTAINERS / "airflow" / "airflow.cfg")
    assert config["core"]["executor"] == "CeleryExecutor"
    assert config["core"]["auth_manager"].endswith("FabAuthManager")


# Prometheus and Grafana.


def metrics() -> set[str]:
    """Return the names that the serving API's metrics have in Prometheus."""
    source = "".join(path.read_text(encoding="utf-8") for path in (REPOSITORY / "serving").glob("*.py"))
    gauges = {"Gauge": [""], "GaugeMetricFamily": [""]}
    suffixes = {"Counter": ["_total"], "Histogram": ["_bucket", "_sum", "_count"], **gauges}
    found = re.findall(r'\b(Counter|GaugeMetricFamily|Gauge|Histogram)\(\s*"(\w+)"', source)
    return {name + suffix for kind, name in found for suffix in suffixes[kind]}


RULES = [
    rule
    for group in yaml.safe_load((CONTAINERS / "prometheus" / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
]
DASHBOARD = json.loads((CONTAINERS / "grafana" / "dashboards" / "serving.json").read_text(encoding="utf-8"))
ASKED = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]


@pytest.mark.parametrize("expression", [*(rule["expr"] for rule in RULES), *ASKED])
def test_every_queried_metric_is_exported_by_serving(expression: str) -> None:
    asked = set(re.findall(r"churn_\w+", expression))
    assert asked <= metrics()
    assert asked or "up{" in expression or "ALERTS" in expression


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_every_alert_has_severity_and_advice(rule: dict) -> None:
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert set(rule["annotations"]) == {"summary", "do"}


def test_prometheus_accepts_its_configuration_and_rules() -> None:
    if not shutil.which("promtool"):
        pytest.skip("promtool is not installed")
    command = ["promtool", "check", "config", str(CONTAINERS / "prometheus" / "prometheus.yml")]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr


def test_alerts_fire_exactly_when_expected() -> None:
    if not shutil.which("promtool"):
        pytest.skip("promtool is not installed")
    command = ["promtool", "test", "rules", str(REPOSITORY / "tests" / "unit" / "containers" / "alert_rules.yml")]
    tested = subprocess.run(command, capture_output=True, text=True, check=False)
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_the_dashboard_finds_its_data_and_grafana_its_dashboard() -> None:
    provisioning = CONTAINERS / "grafana" / "provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())["datasources"]
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "churn.yml").read_text())["providers"]
    assert {panel["datasource"]["uid"] for panel in DASHBOARD["panels"]} == {source["uid"]}
    assert source["url"] == "http://prometheus:9090"
    mounted = [volume.split(":")[1] for volume in SERVICES["grafana"]["volumes"]]
    assert provider["options"]["path"] in mounted
