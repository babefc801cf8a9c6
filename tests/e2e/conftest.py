"""One stack for all tests of the folder: it takes a minute to start and two months to fill."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import pytest

from churn.synthetic.generate import write_drops
from tests.e2e.celery_chain import Disturbed, disturbed_chain
from tests.e2e.stack import APRIL, FEBRUARY, JANUARY, MARCH, Stack, free_ports
from tests.patience import wait_for
from tests.webhook import Webhook, webhook


@pytest.fixture(scope="package")
def alerts() -> Iterator[Webhook]:
    """The webhook that receives the stack's alerts."""
    with webhook() as hook:
        yield hook


@pytest.fixture(scope="package")
def homes() -> Iterator[Path]:
    """Where stacks live. Postgres runs as another user, whom pytest's own directories do not admit."""
    with tempfile.TemporaryDirectory(prefix="churn-tests-") as directory:
        Path(directory).chmod(0o711)
        yield Path(directory)


@pytest.fixture(scope="package")
def stack(tmp_path_factory, homes, alerts) -> Iterator[Stack]:
    """`make run` over two generated months, on ports of its own; March lies ready."""
    drops = tmp_path_factory.mktemp("drops")
    write_drops(drops, customers=1500, months=3, seed=11)
    first = tmp_path_factory.mktemp("first")
    for as_of in (JANUARY, FEBRUARY):
        shutil.copytree(drops / as_of, first / as_of)
    home = homes / "first"
    home.mkdir()
    settings = {
        "CHURN_HOME": str(home),
        "AIRFLOW_CONN_CHURN_ALERTS": alerts.connection,
        **free_ports("AIRFLOW_PORT", "MLFLOW_PORT", "SERVING_PORT"),
    }
    stack = Stack(settings, drops)
    try:
        (home / "run.txt").write_text(stack.start("run", f"DROPS={first}").stdout)
        yield stack
    finally:
        stack.make("clean")


@pytest.fixture(scope="package")
def corrected(stack) -> None:
    """January's drop was corrected while a pin kept Production, which was then released."""
    before = stack.production()
    done = stack.make("rollback", f"VERSION={before}", "WHY=nothing may come between")
    assert done.returncode == 0, done.stdout + done.stderr
    shutil.rmtree(Path(stack.settings["LANDING_DIR"]) / JANUARY)
    stack.land_with_another_value(stack.drops / JANUARY, date.fromisoformat(JANUARY), skips=77)
    done = stack.make("trigger", f"AS_OF={JANUARY}")
    assert done.returncode == 0, done.stdout + done.stderr
    done = stack.make("release", "WHY=now it may")
    assert done.returncode == 0, done.stdout + done.stderr
    assert stack.production() == before


@pytest.fixture(scope="package")
def backup(stack, tmp_path_factory) -> Path:
    """A backup of the running stack, taken while the drop of April waits and its run is queued."""
    to = tmp_path_factory.mktemp("backups") / "backup"
    with april_waiting(stack):
        done = stack.make("backup", f"TO={to}")
    assert done.returncode == 0, done.stdout + done.stderr
    return to


@contextmanager
def april_waiting(stack: Stack) -> Iterator[None]:
    """April's drop with a queued run, as if it had just been found; removed at the end."""
    landing = Path(stack.settings["LANDING_DIR"])
    stack.airflow("PATCH", "/dags/churn_snapshot", json={"is_paused": True})
    try:
        shutil.copytree(stack.drops / MARCH, landing / ".april")
        (landing / ".april" / "_ACCEPT").write_text("March again: it is the backup that is tried", encoding="utf-8")
        (landing / ".april").rename(landing / APRIL)
        stack.airflow("POST", "/dags/churn_landing/dagRuns", json={"logical_date": None})
        wait_for(lambda: queued_for_april(stack), seconds=120)
        yield
        shutil.rmtree(landing / APRIL)
        (run,) = queued_for_april(stack)
        stack.airflow("DELETE", f"/dags/churn_snapshot/dagRuns/{run}")
    finally:
        stack.airflow("PATCH", "/dags/churn_snapshot", json={"is_paused": False})


def queued_for_april(stack: Stack) -> list[str]:
    runs = [run for run in stack.runs("churn_snapshot") if run["dag_run_id"].startswith(f"landing__{APRIL}__")]
    assert {run["state"] for run in runs} <= {"queued"}
    return [run["dag_run_id"] for run in runs]


@pytest.fixture(scope="module")
def restored(stack, backup, homes) -> Iterator[Stack]:
    """A second stack, of the backup, started. Its churn_snapshot is paused, as it was when the backup was taken."""
    home = homes / "restored"
    ports = free_ports("AIRFLOW_PORT", "MLFLOW_PORT", "SERVING_PORT")
    second = Stack({"CHURN_HOME": str(home), **ports}, stack.drops)
    try:
        done = second.make("restore", f"FROM={backup}")
        assert done.returncode == 0, done.stdout + done.stderr
        second.settings.update(line.split("=", 1) for line in second.make("env").stdout.splitlines())
        done = second.make("up")
        assert done.returncode == 0, done.stdout + done.stderr
        yield second
    finally:
        second.make("clean")


@pytest.fixture(scope="package")
def disturbed(postgres_url, object_store, homes, tmp_path_factory) -> Iterator[Disturbed]:
    """A stack of its own, on Celery and a Postgres with a password, after a chain that a worker's death disturbed."""
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed")
    drops, workers = tmp_path_factory.mktemp("drops"), tmp_path_factory.mktemp("workers")
    write_drops(drops, customers=4000, months=1, seed=11)
    with disturbed_chain(drops, postgres_url("postgres"), object_store, homes / "celery", workers) as found:
        yield found
