"""The settings of the embedded stack and the environment they produce."""

import json
import shlex
import stat
import subprocess
from dataclasses import replace
from pathlib import Path
from traceback import format_exception

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from sqlalchemy import make_url

from churn.postgres.database_url import url_on
from embedded.__main__ import _parser, shell_lines
from embedded.environment import environment
from embedded.postgres_url import airflow_connection, with_driver
from embedded.settings import REPOSITORY, Settings, SettingsError, load_settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings({"CHURN_HOME": str(tmp_path / "state"), "AIRFLOW_PORT": "18080"})


def test_without_any_variable_state_lies_beside_the_repository_on_the_documented_ports() -> None:
    settings = load_settings({})
    assert settings.home == REPOSITORY / ".state"
    assert (settings.airflow_port, settings.mlflow_port, settings.serving_port) == (8080, 5001, 8000)
    assert settings.server is None


def test_a_relative_home_becomes_absolute() -> None:
    assert load_settings({"CHURN_HOME": "here"}).home == Path.cwd() / "here"


@pytest.mark.parametrize("port", ["0", "65536", "-1", "http", "80.5", "8080 "])
def test_a_port_that_is_not_a_port_is_named(port: str) -> None:
    with pytest.raises(SettingsError, match="MLFLOW_PORT must be a port number"):
        load_settings({"MLFLOW_PORT": port})


def test_two_services_cannot_share_a_port() -> None:
    with pytest.raises(SettingsError, match="each service needs its own port"):
        load_settings({"SERVING_PORT": "8080"})


@pytest.mark.parametrize(
    "server", ["garbage", "postgresql://%zz@db/postgres", "postgresql://a:1,b:2/postgres", "mysql://db/churn"]
)
def test_a_server_that_is_no_postgres_uri_is_refused_by_the_name_of_its_setting(tmp_path: Path, server: str) -> None:
    with pytest.raises(SettingsError, match="CHURN_POSTGRES is not a libpq URI"):
        load_settings({"CHURN_POSTGRES": server, "CHURN_HOME": str(tmp_path / "state")})
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(
    "broker",
    [
        "garbage",
        "amqp://guest:secret@rabbit",
        "redis://:secret@",
        "redis://:secret@redis:many/0",
        "redis://:secret@redis:70000/0",
        "redis://:not/secret@redis:6379/0",
        "redis://[:secret@redis",
    ],
)
def test_a_broker_that_is_no_redis_is_refused_without_telling_its_password(broker: str) -> None:
    with pytest.raises(SettingsError, match="CHURN_CELERY_BROKER must be a URL") as error:
        load_settings({"CHURN_CELERY_BROKER": broker})
    assert "secret" not in "".join(format_exception(error.value))


@pytest.mark.parametrize(
    "url", ["redis//x", "http://:secret@x", "redis://:secret@redis:many/0", "redis://:not/secret@redis:6379/0"]
)
def test_an_online_store_that_is_no_redis_is_refused_without_telling_its_password(url: str) -> None:
    with pytest.raises(SettingsError, match="CHURN_REDIS_URL is not a URL like") as error:
        load_settings({"CHURN_REDIS_URL": url})
    assert "secret" not in "".join(format_exception(error.value))


def test_with_a_broker_tasks_run_on_celery_and_workers_need_no_database_of_airflow(tmp_path: Path) -> None:
    broker = "redis://:secret@redis:6379/0"
    variables = environment(load_settings({"CHURN_CELERY_BROKER": broker, "CHURN_HOME": str(tmp_path)}))
    assert variables["AIRFLOW__CORE__EXECUTOR"] == "CeleryExecutor"
    assert (variables["AIRFLOW__CELERY__BROKER_URL"], variables["AIRFLOW__CELERY__RESULT_BACKEND"]) == (broker, broker)


def test_without_a_broker_tasks_are_forks_of_the_scheduler(settings: Settings) -> None:
    variables = environment(settings)
    assert variables["AIRFLOW__CORE__EXECUTOR"] == "LocalExecutor"
    assert not [name for name in variables if "CELERY" in name]


def test_the_environment_names_the_online_store(tmp_path: Path, settings: Settings) -> None:
    redis = {"CHURN_REDIS_URL": "redis://:secret@redis:6379/1"}
    assert redis.items() <= environment(load_settings({"CHURN_HOME": str(tmp_path), **redis})).items()
    assert "CHURN_REDIS_URL" not in environment(settings)


def test_the_environment_has_the_value_of_contacts_as_it_was_stated(tmp_path: Path, settings: Settings) -> None:
    stated = {"CHURN_VALUE": "contact_cost=10,success_rate=0.3,margin=200"}
    assert stated.items() <= environment(load_settings({"CHURN_HOME": str(tmp_path), **stated})).items()
    assert "CHURN_VALUE" not in environment(settings)


def test_a_value_of_contacts_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"CHURN_VALUE must be like contact_cost=10.*margin is missing"):
        load_settings({"CHURN_HOME": str(tmp_path), "CHURN_VALUE": "contact_cost=10,success_rate=0.3"})


def test_the_key_of_erased_customers_lies_beside_the_home_and_stays_where_a_restore_builds(settings: Settings) -> None:
    assert settings.erasure == settings.home.with_name("state.erasure")
    assert environment(settings)["CHURN_ERASURE_DIR"] == str(settings.erasure)
    assert replace(settings, home=settings.home.with_name("state.restoring")).erasure == settings.erasure
    assert not settings.erasure.exists()


def test_the_key_of_erased_customers_can_lie_elsewhere_but_not_in_the_home(tmp_path: Path) -> None:
    home = {"CHURN_HOME": str(tmp_path / "state")}
    assert load_settings({**home, "CHURN_ERASURE_DIR": "elsewhere"}).erasure == Path.cwd() / "elsewhere"
    for inside in ("state", "state/erasure", "other/../state/erasure"):
        with pytest.raises(SettingsError, match="CHURN_ERASURE_DIR must lie outside CHURN_HOME"):
            load_settings({**home, "CHURN_ERASURE_DIR": str(tmp_path / inside)})


def test_the_days_until_a_replacement_are_in_the_environment_and_checked(tmp_path: Path, settings: Settings) -> None:
    stated = {"CHURN_REPLACE_DAYS": "7"}
    assert stated.items() <= environment(load_settings({"CHURN_HOME": str(tmp_path), **stated})).items()
    assert environment(settings)["CHURN_REPLACE_DAYS"] == "30"
    with pytest.raises(SettingsError, match="CHURN_REPLACE_DAYS must be a whole number"):
        load_settings({"CHURN_REPLACE_DAYS": "soon"})


def test_a_home_that_supervisord_would_misread_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"CHURN_HOME must be a path without a %, got '/tmp/100%'"):
        load_settings({"CHURN_HOME": "/tmp/100%"})


def test_two_homes_have_two_socket_directories_and_one_home_has_one(tmp_path: Path) -> None:
    here, there = (load_settings({"CHURN_HOME": str(tmp_path / name)}) for name in ("here", "there"))
    assert here.runtime != there.runtime
    assert here.runtime == load_settings({"CHURN_HOME": str(tmp_path / "here")}).runtime


def test_sockets_stay_short_however_long_the_home_is(tmp_path: Path) -> None:
    settings = load_settings({"CHURN_HOME": str(tmp_path / ("deep/" * 60))})
    assert len(str(settings.postgres_sockets / ".s.PGSQL.5432.lock")) < 100


def test_every_promised_name_is_in_the_environment(settings: Settings) -> None:
    promised = (
        "CHURN_HOME CHURN_DATABASE_URL MLFLOW_TRACKING_URI AIRFLOW_HOME AIRFLOW_URL MLFLOW_URL SERVING_URL "
        "LANDING_DIR ARCHIVE_DIR SCORES_URL SNAPSHOTS_URL CHURN_ERASURE_DIR PYTHONPATH AIRFLOW_CONN_CHURN_POSTGRES"
    )
    assert set(promised.split()) <= set(environment(settings))


def test_every_address_is_on_the_loopback_interface(settings: Settings) -> None:
    variables = environment(settings)
    assert variables["AIRFLOW__API__HOST"] == "127.0.0.1"
    urls = [variables[f"{service}_URL"] for service in ("AIRFLOW", "MLFLOW", "SERVING")]
    assert all(url.startswith("http://127.0.0.1:") for url in urls)


def test_secrets_are_made_once_and_only_their_owner_reads_them(settings: Settings) -> None:
    first, second = environment(settings), environment(settings)
    assert first == second
    assert stat.S_IMODE((settings.home / "secrets.json").stat().st_mode) == 0o600


def test_two_stacks_have_different_secrets(settings: Settings, tmp_path: Path) -> None:
    environment(settings)
    other = load_settings({"CHURN_HOME": str(tmp_path / "other")})
    environment(other)
    ours, theirs = (json.loads((s.home / "secrets.json").read_text()) for s in (settings, other))
    assert not set(ours.values()) & set(theirs.values())


def test_the_server_of_churn_postgres_has_the_three_databases(tmp_path: Path) -> None:
    server = "postgresql://churn:secret@db.example:5433/postgres?sslmode=require"
    variables = environment(load_settings({"CHURN_POSTGRES": server, "CHURN_HOME": str(tmp_path)}))
    assert variables["CHURN_DATABASE_URL"] == "postgresql://churn:secret@db.example:5433/churn?sslmode=require"
    assert make_url(variables["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]).database == "airflow"
    assert make_url(variables["MLFLOW_BACKEND_STORE_URI"]).database == "mlflow"


# What may stand in a user name or a password; libpq ends a value at a NUL.
words = st.text(
    st.characters(codec="utf-8", exclude_characters="\0", exclude_categories=["C"]), min_size=1, max_size=20
)


servers = st.builds(
    make_conninfo,
    user=words,
    password=words,
    host=st.sampled_from(["db.example", "127.0.0.1", "/tmp/churn-0123456789ab/postgres", "/var/a dir"]),
    port=st.integers(1, 65535).map(str),
    sslmode=st.sampled_from(["disable", "require"]),
)


@given(servers)
def test_urls_for_libpq_and_sqlalchemy_name_the_same_server(server: str) -> None:
    meant = conninfo_to_dict(server) | {"dbname": "churn"}
    assert conninfo_to_dict(url_on(server, "churn")) == meant
    url = make_url(with_driver(url_on(server, "churn"), "psycopg2"))
    _, found = url.get_dialect()().create_connect_args(url)
    assert {name: str(value) for name, value in found.items()} == meant


# The first example imports Airflow, which takes seconds.
@hypothesis.settings(deadline=None)
@given(servers)
def test_an_airflow_connection_names_the_same_server(server: str) -> None:
    from airflow.models.connection import Connection

    found = Connection(uri=airflow_connection(server, "churn"))
    meant = conninfo_to_dict(server)
    assert (found.login, found.password, found.host) == (meant["user"], meant["password"], meant["host"])
    assert (str(found.port), found.schema, found.extra_dejson) == (
        meant["port"],
        "churn",
        {"sslmode": meant["sslmode"]},
    )


@given(st.dictionaries(st.from_regex(r"CHURN_[A-Z]{1,9}", fullmatch=True), words, max_size=4))
def test_a_shell_that_evaluates_the_lines_has_the_values(variables: dict[str, str]) -> None:
    names = " ".join(shlex.quote(name) for name in variables)
    script = f"set -a\n{shell_lines(variables)}\nfor n in {names}; do printenv $n; done"
    shown = subprocess.run(["sh", "-c", script], check=True, capture_output=True)
    assert shown.stdout.decode().split("\n")[:-1] == list(variables.values())


def test_the_lines_can_also_be_exported_unquoted(settings: Settings) -> None:
    lines = shell_lines(environment(settings)).splitlines()
    assert not [line for line in lines if "'" in line or " " in line]


@pytest.mark.parametrize("command", [["trigger", "20240131"], ["backfill", "2024-01-31", "2024-W05-3"]])
def test_an_as_of_has_one_spelling(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        _parser().parse_args(command)
    assert "AS_OF must be a calendar date like 2024-01-31" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["trigger", "2124-02-29"], ["backfill", "2024-01-31", "2124-02-29"]])
def test_a_chain_for_a_date_after_today_is_refused(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        _parser().parse_args(command)
    assert "AS_OF 2124-02-29 is after today" in capsys.readouterr().err


def test_a_date_after_today_can_be_withdrawn() -> None:
    asked = _parser().parse_args(["withdraw", "9999-12-31", "--why", "a typo"])
    assert (asked.as_of.isoformat(), asked.why) == ("9999-12-31", "a typo")


def test_a_withdrawal_needs_a_reason(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        _parser().parse_args(["withdraw", "2024-01-31"])
    assert "--why" in capsys.readouterr().err
