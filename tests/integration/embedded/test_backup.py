"""A backup and its restore on the server of CHURN_POSTGRES; tests/e2e covers the embedded server."""

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from queue import SimpleQueue

import psycopg
import pytest
from psycopg import sql

from churn.drops import watch
from churn.drops.landing import Drop, find_drop
from churn.drops.storage import storage_at
from churn.drops.validation import DropRejected, validate
from churn.features.materialization import materialize
from churn.features.store import apply_definitions
from churn.outcome import DONE
from churn.postgres.database import connect, lock_session
from churn.postgres.database_url import url_on
from churn.postgres.migrate import migrate
from churn.retention import RETENTION_LOCK
from churn.scores.files import why_unpublished
from churn.scores.run import runs_of
from embedded.environment import environment
from embedded.operator.as_of_state import as_of_states
from embedded.operator.backup import ORDER, BackupError, backup
from embedded.operator.doctor.finding import BAD, OK
from embedded.operator.doctor.scores import check_list
from embedded.operator.restore import restore
from embedded.settings import Settings, load_settings
from embedded.stack.postgres import DATABASES, PostgresError, create_databases
from tests.database_dump import dump
from tests.handmade_drops import take_in, write_drop
from tests.made_lists import write_list
from tests.patience import SLOWNESS

D31, F29 = date(2024, 1, 31), date(2024, 2, 29)


def settings_of(home: Path, server: str) -> Settings:
    return load_settings({"CHURN_HOME": str(home), "CHURN_POSTGRES": server})


@pytest.fixture
def server(postgres_url):
    """The URL of a server without the three databases."""
    yield postgres_url("postgres")
    drop_databases(postgres_url("postgres"))


def drop_databases(server):
    with psycopg.connect(server, autocommit=True) as connection:
        for name in ORDER:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def settings(server, tmp_path, monkeypatch):
    """A stack with a loaded drop, a pending one, and a file in each directory."""
    monkeypatch.setattr(watch, "QUIET_SECONDS", -1)
    settings = settings_of(tmp_path / "home", server)
    create_databases(settings)
    url = url_of(settings)
    migrate(url)
    for database in ("airflow", "mlflow"):
        with psycopg.connect(url_on(server, database)) as connection:
            connection.execute("CREATE TABLE told AS SELECT %s AS of", [database])
    take_in(write_drop(settings.landing, D31, ["a", "b"], [("a", True)]), url, settings.archive)
    write_drop(settings.landing, F29, ["a"])
    (settings.archive / ".incoming-1").mkdir()
    artifacts = settings.home / "mlflow" / "artifacts" / "1"
    artifacts.mkdir(parents=True)
    (artifacts / "model.skops").write_bytes(b"model")
    return settings


def url_of(settings):
    return environment(settings)["CHURN_DATABASE_URL"]


@pytest.fixture
def restore_it(settings, tmp_path):
    """A function that backs up the stack, drops its databases, and restores on the same server."""

    def restore_it():
        backup(settings, tmp_path / "backup", print)
        drop_databases(settings.server)
        restored = settings_of(tmp_path / "again", settings.server)
        restore(restored, tmp_path / "backup", print)
        return restored

    return restore_it


@pytest.fixture
def again(settings, restore_it):
    """The restored stack, and the former content of its databases."""
    before = dump(url_of(settings))
    return restore_it(), before


def test_every_database_is_in_a_backup():
    assert sorted(ORDER) == sorted(DATABASES)


def test_a_restored_database_equals_its_backup(settings, again):
    restored, before = again
    assert dump(url_of(restored)) == before
    for database in ("airflow", "mlflow"):
        with psycopg.connect(url_on(restored.server, database)) as connection:
            assert connection.execute("SELECT * FROM told").fetchall() == [(database,)]
    assert (restored.home / "secrets.json").read_bytes() == (settings.home / "secrets.json").read_bytes()
    assert (restored.home / "mlflow" / "artifacts" / "1" / "model.skops").read_bytes() == b"model"


def test_every_session_is_in_utc_as_before(again):
    """The setting is of the database, not in it; Feast's own connections set no time zone."""
    with psycopg.connect(url_of(again[0])) as connection:
        connection.execute("RESET timezone")
        assert connection.execute("SHOW timezone").fetchone() == ("UTC",)
        found = connection.execute("SELECT setconfig FROM pg_db_role_setting JOIN pg_database d ON d.oid = setdatabase"
                                   " WHERE datname = 'churn'").fetchone()  # fmt: skip
    assert found == (["TimeZone=UTC"],)


def test_pending_drops_are_backed_up_and_loaded_ones_are_in_the_archive(settings, again):
    restored, _ = again
    assert [path.name for path in restored.landing.iterdir()] == [str(F29)]
    archived = [{path.name for path in each.archive.rglob("*.zst")} for each in (settings, restored)]
    assert archived[0] == archived[1] != set()
    assert not list(restored.archive.glob(".incoming-*"))


def list_files(settings):
    files = {path for path in settings.scores.rglob("*") if path.is_file()}
    return {str(path.relative_to(settings.scores)): path.read_bytes() for path in files}


def test_restored_files_of_the_list_are_the_same_to_the_byte(settings, restore_it):
    write_list(url_of(settings), settings.scores, D31)
    (settings.scores / ".incoming-1").mkdir()
    before = list_files(settings)
    assert len(before) == 3
    restored = restore_it()
    assert list_files(restored) == before
    assert not list(restored.scores.glob(".incoming-*"))
    assert [(each.list_version, each.list_is_current) for each in as_of_states(restored)] == [(1, True)]


def test_doctor_finds_a_lost_file_of_the_served_list_and_why_a_date_has_none(settings):
    assert check_list(settings, []).found == "no AS_OF is served yet"
    apply_definitions(url_of(settings))
    materialize(D31, url_of(settings))
    assert check_list(settings, []).found.startswith("2024-01-31 is not scored: Production is empty")
    write_list(url_of(settings), settings.scores, D31)
    assert check_list(settings, []).outcome == OK
    (settings.scores / "as_of=2024-01-31" / "revision=1" / "top.csv").unlink()
    finding = check_list(settings, [])
    assert finding.outcome == BAD
    assert "top.csv: missing or truncated" in finding.found


def test_a_backup_without_any_list_is_restored(settings, restore_it):
    assert list_files(restore_it()) == {}


def test_every_restored_list_has_its_files_though_revisions_come_during_the_backup(settings, restore_it, monkeypatch):
    from embedded.stack import postgres_tools

    dumped = postgres_tools.dump

    def dump_and_score(server, database, file):
        write_list(url_of(settings), settings.scores, D31)
        dumped(server, database, file)

    monkeypatch.setattr(postgres_tools, "dump", dump_and_score)
    restored = restore_it()
    with connect(url_of(restored)) as connection:
        runs = {run.revision: run for run in runs_of(connection, D31)}
        assert sorted(runs) == [1, 2]
        assert {why_unpublished(storage_at(restored.scores), run) for run in runs.values()} == {None}
    # The files of the third came after the dump. The next run gets its number and replaces them.
    assert len(list_files(restored)) == 9
    again = write_list(url_of(restored), restored.scores, D31)
    assert again.revision == 3
    assert why_unpublished(storage_at(restored.scores), again) is None


def test_a_restore_does_not_overwrite_databases(again, tmp_path):
    restored, before = again
    with pytest.raises(BackupError, match="has the databases churn, airflow, mlflow already"):
        restore(settings_of(tmp_path / "third", restored.server), tmp_path / "backup", print)
    assert not list(tmp_path.glob("third*"))
    assert dump(url_of(restored)) == before


def test_a_restore_does_not_overwrite_a_serving_redis(settings, tmp_path, redis_server, monkeypatch):
    live, own = f"{redis_server.url}?db=2", f"{redis_server.url}?db=3"
    backup(settings, tmp_path / "backup", print)
    monkeypatch.setenv("CHURN_REDIS_URL", live)
    apply_definitions(url_of(settings))
    materialize(D31, url_of(settings))
    drop_databases(settings.server)
    restored = settings_of(tmp_path / "again", settings.server)
    with pytest.raises(BackupError, match=r"serves 2024-01-31 already: name another database number"):
        restore(restored, tmp_path / "backup", print)
    assert not list(tmp_path.glob("again*"))
    monkeypatch.setenv("CHURN_REDIS_URL", own)
    restore(restored, tmp_path / "backup", print)
    apply_definitions(url_of(restored))
    assert materialize(D31, url_of(restored)).outcome == DONE


def test_a_killed_restore_leaves_no_stack_and_can_be_repeated(settings, tmp_path, monkeypatch):
    backup(settings, tmp_path / "backup", print)
    drop_databases(settings.server)
    restored = settings_of(tmp_path / "again", settings.server)

    def die(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as killed:
        killed.setattr(shutil, "copytree", die)
        with pytest.raises(KeyboardInterrupt):
            restore(restored, tmp_path / "backup", print)
    assert not restored.home.exists()
    drop_databases(settings.server)
    restore(restored, tmp_path / "backup", print)
    assert (restored.home / "mlflow" / "artifacts" / "1" / "model.skops").exists()
    assert not (tmp_path / "again.restoring").exists()


def test_a_backup_that_fails_leaves_nothing(settings, tmp_path):
    with psycopg.connect(settings.server, autocommit=True) as connection:
        connection.execute("DROP DATABASE mlflow WITH (FORCE)")
    with pytest.raises(PostgresError, match='database "mlflow" does not exist'):
        backup(settings, tmp_path / "backup", print)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("backup")]


def test_a_run_during_a_backup_is_in_it_whole_or_not_at_all(settings, restore_it, monkeypatch):
    """A drop is loaded after the dump of Airflow: the backup has its rows and files, or has it pending."""
    from embedded.stack import postgres_tools

    dumped = postgres_tools.dump

    def dump_and_load(server, database, file):
        dumped(server, database, file)
        if database == "airflow":
            take_in(write_drop(settings.landing, F29, ["a"]), url_of(settings), settings.archive)

    monkeypatch.setattr(postgres_tools, "dump", dump_and_load)
    restored = restore_it()
    with connect(url_of(restored)) as connection:
        (files,) = connection.execute("SELECT files FROM raw.drops WHERE as_of = %s", [F29]).fetchone()
    archived = {path.name for path in restored.archive.rglob("*.zst")}
    assert {f"{file['sha256']}.csv.zst" for file in files.values()} <= archived
    # Airflow may know it as begun, and its run looks for the drop.
    assert find_drop(restored.landing, F29) is not None


def test_a_symlink_in_a_pending_drop_stays_one_and_the_restored_drop_is_rejected(settings, tmp_path, restore_it):
    secret = tmp_path / "secret.csv"
    secret.write_text("only the pipeline may read this")
    labels = settings.landing / str(F29) / "labels.csv"
    labels.symlink_to(secret)
    restored = restore_it()
    assert (tmp_path / "backup" / "landing" / str(F29) / "labels.csv").is_symlink()
    with pytest.raises(DropRejected, match=r"labels\.csv"):
        validate(find_drop(restored.landing, F29), url_of(restored), restored.archive)


def test_a_restored_pending_drop_has_the_run_id_it_had(settings, restore_it):
    """Else churn_landing starts a second run beside the one in Airflow's dump."""
    accept = settings.landing / str(F29) / "_ACCEPT"
    accept.write_text("the sender confirmed it", encoding="utf-8")
    os.utime(accept, ns=(1_700_000_000_123_456_789,) * 2)
    before = [drop.run_id for drop in watch.find_pending(settings.landing, url_of(settings))]
    restored = restore_it()
    assert before == [drop.run_id for drop in watch.find_pending(restored.landing, url_of(restored))] != []


def test_a_special_file_in_a_pending_drop_does_not_fail_the_backup(settings, restore_it):
    drop = settings.landing / str(F29)
    os.mkfifo(drop / "labels.csv")
    (drop / "more").mkdir()
    restored = restore_it()
    files = {path.name for path in Drop(F29, drop).files()}
    assert {path.name for path in (restored.landing / str(F29)).iterdir()} == files


def test_a_backup_reports_that_it_waits_for_retention(settings, tmp_path):
    said = SimpleQueue()
    with ThreadPoolExecutor() as jobs, connect(url_of(settings), autocommit=True) as retention:
        lock_session(retention, RETENTION_LOCK)
        waiting = jobs.submit(backup, settings, tmp_path / "backup", said.put)
        assert said.get(timeout=60 * SLOWNESS) == "waiting for churn_retention or another backup to finish"
        retention.close()
        waiting.result(timeout=120 * SLOWNESS)
