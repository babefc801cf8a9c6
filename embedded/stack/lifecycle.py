"""Starts and stops the stack: up, down, clean.

`up` starts Postgres, creates and migrates the databases, then starts the other services. It is idempotent, and returns
when every service is ready. If a service dies, the error shows the end of its log.
"""

import fcntl
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from embedded.environment import environment
from embedded.settings import Settings
from embedded.stack import postgres, services
from embedded.stack.process_manager import ProcessManager, StackError, end_of
from embedded.stack.survivors import end_survivors

PATIENCE = 240.0
Say = Callable[[str], None]
LOCK = ".lock"
POOLS = Path(__file__).with_name("pools.json")


class Progress:
    """Prints a line per step, with the seconds since the start."""

    def __init__(self) -> None:
        self._begin = time.monotonic()

    def __call__(self, text: str) -> None:
        print(f"[{time.monotonic() - self._begin:5.1f} s] {text}", flush=True)  # noqa: T201


def up(settings: Settings, say: Say) -> None:
    """Start every service that is down, and wait until all are ready.

    Raises:
        StackError: a port is taken, the stack runs with other settings, or a service died or is not ready in time.
    """
    with _only_one(settings):
        manager = ProcessManager(settings)
        running = manager.processes() if manager.running() else {}
        if running and manager.started_as() != manager.identity():
            raise StackError(f"this stack runs with other settings ({manager.started_as()}): stop it first (make down)")
        services.check_ports(settings, running)
        if not running:
            say("starting the process manager")
            _make_directories(settings)
            manager.start(postgres.prepare_cluster(settings))
        if not settings.server:
            _start(manager, [services.POSTGRES])
            _wait_ready(settings, manager, [services.POSTGRES], say)
        created = postgres.create_databases(settings)
        say(f"databases created: {', '.join(created)}" if created else "databases are there")
        up_already = {name for name, process in running.items() if process.alive}
        _migrate(settings, manager, up_already, say)
        _trust_older_versions(settings, manager, say)
        _erase_restored(settings, manager, say)
        rest = [name for name in manager.processes() if name != services.POSTGRES]
        _start(manager, rest)
        _wait_ready(settings, manager, rest, say)


@contextmanager
def only(settings: Settings, names: Iterable[str], say: Say) -> Iterator[None]:
    """Run only these services of a stack that is down, started one after the other, while the block runs."""
    with _only_one(settings):
        _make_directories(settings)
        manager = ProcessManager(settings)
        manager.start(postgres.prepare_cluster(settings))
        try:
            for name in names:
                _start(manager, [name])
                _wait_ready(settings, manager, [name], say)
            yield
        finally:
            manager.stop()


def down(settings: Settings, say: Say) -> None:
    """Stop every process of the stack and wait until they are gone."""
    if not settings.home.exists():
        say("the stack is down")
        return
    with _only_one(settings):
        manager = ProcessManager(settings)
        if manager.running():
            say("stopping")
            manager.stop()
        for survivor in end_survivors(settings.home):
            say(f"ended an orphaned process: {survivor}")
        say("the stack is down")


def check_alive(settings: Settings) -> None:
    """Check the services that a chain needs: all but serving.

    Raises:
        StackError: the stack was stopped, or a service has ended and supervisord does not restart it.
    """
    if _gone(settings):
        # A process that supervisord restarts is EXITED for a moment.
        time.sleep(2)
    if gone := _gone(settings):
        raise StackError(
            "\n".join([*gone, "The chain cannot continue: fix that, run make up, and repeat this command."])
        )


def _gone(settings: Settings) -> list[str]:
    manager = ProcessManager(settings)
    if not manager.running():
        return ["the stack was stopped"]
    unused = {"serving"} | ({services.POSTGRES} if settings.server else set())
    needed = [process for process in manager.processes().values() if process.name not in unused]
    return [process.last_words(30) for process in needed if process.gone]


def clean(settings: Settings, say: Say) -> None:
    """Stop the stack and delete its state: databases, models, drops, logs. The key of erased customers is left."""
    if not settings.home.exists():
        say(f"nothing to remove at {settings.home}")
        return
    # An `up` that refused to start leaves only the lock.
    found = {path.name for path in settings.home.iterdir()} - {LOCK}
    if found and "secrets.json" not in found:
        raise StackError(f"{settings.home} does not look like the state of a stack (no secrets.json): not removing it")
    down(settings, say)
    shutil.rmtree(settings.home)
    shutil.rmtree(settings.runtime, ignore_errors=True)
    say(f"removed {settings.home}")
    if settings.server:
        say(f"the databases {', '.join(postgres.DATABASES)} of CHURN_POSTGRES are left as they are")
    if settings.erasure.exists():
        say(f"{settings.erasure} is left: without it a restored backup brings erased customers back")


@contextmanager
def _only_one(settings: Settings) -> Iterator[None]:
    """Hold the stack's lock, so that concurrent commands wait for each other."""
    settings.home.mkdir(parents=True, exist_ok=True)
    with open(settings.home / LOCK, "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # A started process that inherited the lock would hold it until it ends.
        os.set_inheritable(lock.fileno(), False)
        yield


def _make_directories(settings: Settings) -> None:
    # These hold data of customers, so other users of the machine get no access. The home itself stays readable for
    # Postgres, which may run as another user.
    for directory in (
        settings.logs,
        settings.landing,
        settings.archive,
        settings.home / "airflow",
        settings.home / "mlflow",
        settings.home / "mlflow" / "artifacts",
    ):
        directory.mkdir(mode=0o700, exist_ok=True)
    settings.runtime.mkdir(mode=0o711, exist_ok=True)
    if settings.runtime.is_symlink() or settings.runtime.stat().st_uid != os.getuid():
        raise StackError(f"{settings.runtime} belongs to somebody else: remove it, or choose another CHURN_HOME")


def _start(manager: ProcessManager, names: Iterable[str]) -> None:
    processes = manager.processes()
    for name in names:
        manager.start_process(processes[name])


def _migrate(settings: Settings, manager: ProcessManager, up_already: set[str], say: Say) -> None:
    """Migrate the three databases in parallel, except those whose services are already up."""
    with ThreadPoolExecutor(max_workers=3) as jobs:
        steps = [jobs.submit(_migrate_churn, settings, say)]
        if "mlflow" not in up_already:
            steps.append(jobs.submit(_migrate_mlflow, settings, manager, say))
        if not up_already.issuperset(services.AIRFLOW):
            steps.append(jobs.submit(_migrate_by, settings, "airflow", [str(POOLS)], say))
        for step in steps:
            step.result()


def _migrate_churn(settings: Settings, say: Say) -> None:
    from churn.postgres.migrate import migrate  # noqa: PLC0415

    migrate(environment(settings)["CHURN_DATABASE_URL"])
    say("migrated the database churn")


def _migrate_mlflow(settings: Settings, manager: ProcessManager, say: Say) -> None:
    _migrate_by(settings, "mlflow", [], say)
    _start(manager, ["mlflow"])  # while Airflow's migration, the longest, still runs


def _trust_older_versions(settings: Settings, manager: ProcessManager, say: Say) -> None:
    """Record, once, the hashes of versions from before the upgrade, before serving and tasks check them."""
    from churn.registry.provenance import waits_for_upgrade  # noqa: PLC0415

    if not waits_for_upgrade(environment(settings)["CHURN_DATABASE_URL"]):
        return
    _start(manager, ["mlflow"])
    _wait_ready(settings, manager, ["mlflow"], say)
    log = _run(settings, "churn.registry.trust", [], "recording the hashes of older versions")
    say(
        f"the versions from before this upgrade are trusted as they are now:\n{log.read_text(encoding='utf-8').strip()}"
    )


def _erase_restored(settings: Settings, manager: ProcessManager, say: Say) -> None:
    """Erase the customers whom a restored backup brought back, before anything serves them."""
    from churn.erasure.ledger import missing_requests  # noqa: PLC0415

    variables = environment(settings)
    missing = missing_requests(variables["CHURN_DATABASE_URL"], Path(variables["CHURN_ERASURE_DIR"]))
    if not missing:
        return
    say(f"this state lacks {len(missing)} erasures: they are done again")
    _start(manager, ["mlflow"])
    _wait_ready(settings, manager, ["mlflow"], say)
    say(_run(settings, "churn.erasure.again", [], "erasing customers again").read_text(encoding="utf-8").strip())


def _migrate_by(settings: Settings, database: str, arguments: list[str], say: Say) -> None:
    _run(settings, f"embedded.stack.{database}_metadata", arguments, f"migrating the database {database}")
    say(f"migrated the database {database}")


def _run(settings: Settings, module: str, arguments: list[str], what: str) -> Path:
    """Run a module in its own process, since it imports all of Airflow or MLflow, and return its log."""
    log = settings.logs / f"{module.rpartition('.')[2]}.log"
    command = [sys.executable, "-m", module, *arguments]
    with log.open("w", encoding="utf-8") as output:
        variables = {**os.environ, **environment(settings)}
        done = subprocess.run(command, env=variables, stdout=output, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        raise StackError(f"{what} failed:\n{end_of(log, 30)}\n{log}")
    return log


def _wait_ready(settings: Settings, manager: ProcessManager, names: list[str], say: Say) -> None:
    waiting = list(names)
    deadline = time.monotonic() + PATIENCE
    while True:
        processes = {name: process for name, process in manager.processes().items() if name in waiting}
        if dead := [process for process in processes.values() if process.dead]:
            raise StackError("\n".join(f"died during its start: {process.last_words(30)}" for process in dead))
        late = services.not_ready(settings, processes)
        for name in waiting:
            if name not in late:
                say(f"{name} is ready")
        waiting = late
        if not waiting:
            return
        if time.monotonic() > deadline:
            logs = "\n".join(f"{name}:\n{end_of(processes[name].log)}\n{processes[name].log}" for name in waiting)
            raise StackError(f"not ready after {PATIENCE:.0f} seconds: {', '.join(waiting)}\n{logs}")
        time.sleep(0.2)
