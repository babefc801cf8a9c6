"""Each part is upgraded from an older version with its data, and the chain continues."""

import os
import secrets
import subprocess
import sys
from base64 import urlsafe_b64encode
from datetime import UTC, date, datetime

import mlflow
import psycopg
import pytest
from psycopg import sql
from sklearn.dummy import DummyClassifier
from sklearn.pipeline import make_pipeline

from churn.board import history as board
from churn.drops.snapshots import build_snapshots
from churn.features.materialization import materialize
from churn.features.store import FEATURE_SERVICE, apply_definitions, read_online
from churn.operations.late import find_late
from churn.outcome import DONE, UNCHANGED
from churn.postgres.database import connect, execute, script
from churn.postgres.migrate import known_migrations, migrate
from churn.registry import provenance, trust
from churn.registry.loading import load_pipeline
from churn.registry.trust import adopt
from embedded.postgres_url import with_driver
from embedded.settings import REPOSITORY
from embedded.stack import lifecycle as stack
from tests.database_dump import dump
from tests.handmade_drops import take_in, write_drop
from tests.made_lists import write_list
from tests.opened_store import opened_store

D31, F29 = date(2024, 1, 31), date(2024, 2, 29)
USERS = ["a", "b", "c"]
HASHES = {"model.skops": "0" * 64, "MLmodel": "1" * 64}
MIGRATIONS = list(known_migrations())
COLUMNS = """
SELECT table_schema, table_name, array_agg(column_name::text ORDER BY ordinal_position)
FROM information_schema.columns
JOIN pg_class c ON c.oid = format('%I.%I', table_schema, table_name)::regclass
WHERE table_schema IN ('raw', 'snapshots', 'gate', 'predictions', 'registry', 'scores')
  AND relkind IN ('r', 'p') AND NOT relispartition
GROUP BY table_schema, table_name
"""
"""The tables that hold what cannot be made again, or not the same; those of `online` and `feast` come of it."""


@pytest.fixture
def empty(postgres_url):
    """An empty, unmigrated database."""
    name = f"upgrade_{secrets.token_hex(4)}"
    with psycopg.connect(postgres_url("postgres"), autocommit=True) as server:
        server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        yield postgres_url(name)
        server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


# --- the database churn ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def full(shared_database_url, tmp_path_factory):
    """A database of this version with a drop, its snapshots, a decision, a move, a prediction and the run of a list."""
    archive, landing = tmp_path_factory.mktemp("archive"), tmp_path_factory.mktemp("landing")
    take_in(write_drop(landing, D31, USERS, [("a", True), ("b", False)]), shared_database_url, archive)
    with connect(shared_database_url) as connection:
        # No version before 0009_drops recorded them.
        connection.execute("UPDATE raw.revisions SET rules = 1, profile = NULL")
        connection.execute(
            "INSERT INTO gate.decisions (as_of, candidate_version, run_id, graded_on, outcome, reason, report)"
            " VALUES (%s, 1, 'run', %s, 'PROMOTE', 'the first one', '{}')",
            (D31, D31),
        )
        execute(connection, "gate/append_move", {
            "kind": "promotion", "version": 1, "run_id": "run", "who": "gate", "why": "the first one", "superior": True,
        })  # fmt: skip
        provenance.append(connection, HASHES, "run", who="training", why="trained at AS_OF 2024-01-31")
        connection.execute(
            "INSERT INTO predictions.answered VALUES (now(), 'request', 'a', 0.25, 0, 0.5, 1, %s, '{}')", [D31]
        )
        connection.execute(
            "INSERT INTO scores.runs VALUES (%s, 1, 1, 'run', %s, 'churn_v1', 0.5, 0.1, '', '', 3, 1, 50, now(), '')",
            (D31, D31),
        )
    return shared_database_url, archive


@pytest.fixture(params=range(1, len(MIGRATIONS)), ids=MIGRATIONS[:-1])
def older(request, empty, full):
    """A database after that many migrations, with the data that they allow."""
    with connect(empty) as connection:
        execute(connection, "migrate/create_table")
        for name in MIGRATIONS[: request.param]:
            connection.execute(script(f"migrations/{name}"))
            execute(connection, "migrate/record", {"name": name, "sha256": known_migrations()[name]})
    with connect(empty) as to, connect(full[0]) as of:
        for schema, table, columns in to.execute(COLUMNS).fetchall():
            copy_rows(of, to, sql.Identifier(schema, table), columns)
    return empty, MIGRATIONS[request.param :]


def copy_rows(of, to, table, columns):
    name = table.as_string(to)
    if name.startswith(('"raw"', '"snapshots"')) and to.execute("SELECT to_regclass(%s)", [name]).fetchone()[0]:
        for day in (D31, date(2024, 2, 1)):
            partitioned = "SELECT relkind = 'p' FROM pg_class WHERE oid = %s::regclass"
            if to.execute(partitioned, [name]).fetchone()[0]:
                to.execute("SELECT churn_attach_month(%s::regclass, %s)", [name, day])
    listed = sql.SQL(", ").join(map(sql.Identifier, columns))
    read = sql.SQL("COPY (SELECT {} FROM {}) TO STDOUT").format(listed, table)
    write = sql.SQL("COPY {} ({}) FROM STDIN").format(table, listed)
    with of.cursor().copy(read) as rows, to.cursor().copy(write) as into:
        for row in rows:
            into.write(row)


def held(database_url, tables):
    """Return the content of the tables without empty ones, as partitions depend on history."""
    return {table: rows for table, rows in dump(database_url).items() if table in tables and rows}


def test_an_old_churn_database_keeps_its_data_and_gets_every_later_migration(older, full):
    url, missing = older
    with connect(url) as connection:
        tables = {(schema, table) for schema, table, _ in connection.execute(COLUMNS).fetchall()}
    months = {(schema, table) for schema, table in dump(full[0]) if (schema, table.rpartition("_20")[0]) in tables}
    assert migrate(url) == missing
    assert held(url, tables | months) == held(full[0], tables | months)


def test_the_chain_continues_on_an_upgraded_churn_database(older, full, tmp_path):
    url, missing = older
    migrate(url)
    archive = full[1]
    had = set(MIGRATIONS) - set(missing)
    if "0003_snapshots" in had:
        assert build_snapshots(D31, url).outcome == UNCHANGED
    elif "0002_raw" in had:
        assert build_snapshots(D31, url).outcome == DONE
    take_in(write_drop(tmp_path, F29, USERS), url, archive)
    apply_definitions(url)
    assert materialize(F29, url).outcome == DONE
    assert [each.as_of for each in board.read_board(url).dates] == ([F29, D31] if "0002_raw" in had else [F29])
    assert migrate(url) == []


def test_a_date_of_an_upgraded_database_gets_a_list_when_it_is_run_again_and_is_not_late_until_then(older, tmp_path):
    url, missing = older
    if "0012_scores" not in missing or "0003_snapshots" in missing:
        pytest.skip("it has lists already, or no snapshots yet")
    migrate(url)
    (shown,) = board.read_board(url).dates
    assert (shown.as_of, shown.snapshot_is_current, shown.scored_at) == (D31, True, None)
    late = find_late(tmp_path, url, datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))
    # Without a table of decisions, a decision is missing too.
    assert [each.state for each in late] == (["snapshotted"] if "0005_gate" in missing else [])
    write_list(url, tmp_path / "scores", D31)
    (shown,) = board.read_board(url).dates
    assert (shown.list_revision, shown.list_is_current) == (1, True)


def test_the_history_of_production_is_backfilled_from_decisions(older):
    url, missing = older
    migrate(url)
    moves = [(each.kind, each.version, each.who) for each in board.read_board(url).moves]
    assert moves == ([] if "0005_gate" in missing else [("promotion", 1, "gate")])


# --- the hashes of model files -----------------------------------------------------------------------------------


def by_hand(value):
    pipeline = make_pipeline(DummyClassifier(strategy="prior")).fit([[0]] * 4, [0, 0, value, 1])
    with mlflow.start_run():
        model = mlflow.sklearn.log_model(pipeline, name="model", pip_requirements=["scikit-learn"])
    return int(mlflow.register_model(model.model_uri, "streamflow_churn").version)


@pytest.fixture
def before_hashes(empty, full):
    """A database of the version that recorded no hashes, with a decision."""
    with connect(empty) as connection:
        execute(connection, "migrate/create_table")
        for name in MIGRATIONS[: MIGRATIONS.index("0011_trusted_files")]:
            connection.execute(script(f"migrations/{name}"))
            execute(connection, "migrate/record", {"name": name, "sha256": known_migrations()[name]})
        connection.execute(
            "INSERT INTO gate.decisions (as_of, candidate_version, run_id, graded_on, outcome, reason, report)"
            " VALUES (%s, 1, 'run', %s, 'PROMOTE', 'the first one', '{}')",
            (D31, D31),
        )
    return empty


def test_versions_from_before_hashes_were_recorded_are_trusted_once_and_later_ones_are_not(before_hashes, mlflow_uri):
    old = by_hand(0)
    migrate(before_hashes)
    new = by_hand(1)
    (line,) = adopt(before_hashes)
    assert line.startswith(f"version {old} is trusted: model.skops ")
    assert load_pipeline(old, before_hashes).steps
    with pytest.raises(provenance.NotTrusted):
        load_pipeline(new, before_hashes)
    assert adopt(before_hashes) == []


def test_while_a_version_cannot_be_read_for_a_fault_none_is_trusted_and_all_are_the_next_time(
    before_hashes, mlflow_uri, monkeypatch
):
    old = [by_hand(0), by_hand(1)]
    migrate(before_hashes)
    fetched = trust.fetched

    def away(version):
        if version == old[0]:
            raise OSError("no space left on device")
        return fetched(version)

    with monkeypatch.context() as patched:
        patched.setattr(trust, "fetched", away)
        with pytest.raises(OSError, match="no space"):
            adopt(before_hashes)
    assert len(adopt(before_hashes)) == 2


def test_in_a_database_that_always_recorded_hashes_no_version_is_trusted_unasked(full, mlflow_uri):
    by_hand(0)
    assert adopt(full[0]) == []


# --- Feast -------------------------------------------------------------------------------------------------------


@pytest.fixture
def served(database_url, tmp_path):
    take_in(write_drop(tmp_path, D31, USERS), database_url, tmp_path / "archive")
    apply_definitions(database_url)
    materialize(D31, database_url)
    return database_url


def online(database_url):
    with opened_store(database_url) as store:
        return read_online(store, store.get_feature_service(FEATURE_SERVICE), USERS)


def test_a_feast_registry_of_older_code_is_reapplied_and_serves_the_same(served):
    before = online(served)
    with opened_store(served) as store:
        service = store.get_feature_service(FEATURE_SERVICE)
        service.tags["code_digest"] = "of older code"
        store.apply([service])
    assert apply_definitions(served).outcome == DONE
    assert apply_definitions(served).outcome == UNCHANGED
    assert online(served) == before


def test_an_unreadable_feast_registry_is_recreated_from_the_definitions(served):
    """The advice of docs/upgrades.md: the registry holds nothing but the definitions."""
    before = online(served)
    with connect(served) as connection:
        connection.execute("DROP SCHEMA feast CASCADE")
        connection.execute("CREATE SCHEMA feast")
    assert apply_definitions(served).outcome == DONE
    assert online(served) == before


# --- MLflow and Airflow ------------------------------------------------------------------------------------------


def in_a_process(code, *arguments, **variables):
    environment = {**os.environ, "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'include'}", **variables}
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


MLFLOW_3_0 = "400f98739977"
"""The revision of MLflow's schema that has logged models, as MLflow 3.0 made it."""


def test_mlflow_is_upgraded_with_its_versions_and_starts(empty):
    from alembic import command
    from mlflow import MlflowClient
    from mlflow.store.db import utils
    from mlflow.store.tracking.dbmodels.initial_models import Base as FirstTables

    uri = with_driver(empty, "psycopg2")
    engine = utils.create_sqlalchemy_engine(uri)
    FirstTables.metadata.create_all(engine)
    with engine.begin() as connection:
        configuration = utils._get_alembic_config(uri)
        configuration.attributes["connection"] = connection
        command.upgrade(configuration, MLFLOW_3_0)
    with connect(empty) as connection:
        connection.execute("INSERT INTO registered_models (name, creation_time) VALUES ('streamflow_churn', 1)")
        connection.execute(
            "INSERT INTO model_versions (name, version, creation_time, current_stage, source, status)"
            " VALUES ('streamflow_churn', 1, 1, 'Production', 'models:/m-1', 'READY')"
        )
    in_a_process("from embedded.stack.mlflow_metadata import main; main()", MLFLOW_BACKEND_STORE_URI=uri)
    utils._verify_schema(engine)
    engine.dispose()
    found = MlflowClient(uri, uri).get_latest_versions("streamflow_churn", stages=["Production"])
    assert [int(each.version) for each in found] == [1]


AIRFLOW = """
import sys
from airflow.cli.cli_parser import get_parser
from embedded.stack import airflow_metadata

def run(*command):
    arguments = get_parser().parse_args(command)
    arguments.func(arguments)

airflow_metadata.main(sys.argv[1])
run("connections", "add", "partner", "--conn-uri", "http://ada:secret@partner")
run("db", "downgrade", "--to-version", "3.2.0", "--yes")
airflow_metadata.main(sys.argv[1])
run("db", "check-migrations", "--migration-wait-timeout", "0")
run("connections", "get", "partner", "--output", "json")
run("pools", "list", "--output", "json")
"""


def test_airflow_is_upgraded_from_the_previous_version_with_connections_and_pools(empty, tmp_path):
    said = in_a_process(
        AIRFLOW,
        str(stack.POOLS),
        AIRFLOW_HOME=str(tmp_path),
        AIRFLOW__CORE__LOAD_EXAMPLES="False",
        AIRFLOW__CORE__FERNET_KEY=urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=with_driver(empty, "psycopg2"),
    )
    assert '"password": "secret"' in said
    assert "churn_training" in said
