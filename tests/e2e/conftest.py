"""One stack for all tests of the folder, gone after the last: it takes a minute to start and two months to fill."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from churn.generate import write_drops
from embedded.settings import load_settings
from embedded.stack import only
from tests.e2e.stack import FEBRUARY, JANUARY, Stack, free_ports
from tests.webhook import Webhook, webhook


@pytest.fixture(scope="package")
def alerts() -> Iterator[Webhook]:
    """Where the stack's alerts go."""
    with webhook() as hook:
        yield hook


@pytest.fixture(scope="package")
def stack(tmp_path_factory, alerts) -> Iterator[Stack]:
    """`make run` over two generated months, on ports of its own; March lies ready."""
    drops = tmp_path_factory.mktemp("drops")
    write_drops(drops, customers=1500, months=3, seed=11)
    first = tmp_path_factory.mktemp("first")
    for as_of in (JANUARY, FEBRUARY):
        shutil.copytree(drops / as_of, first / as_of)
    home = tmp_path_factory.mktemp("home")
    settings = {
        "CHURN_HOME": str(home),
        "AIRFLOW_CONN_CHURN_ALERTS": alerts.connection,
        **free_ports("AIRFLOW_PORT", "MLFLOW_PORT", "SERVING_PORT"),
    }
    stack = Stack(settings, drops)
    try:
        done = stack.make("run", f"DROPS={first}")
        assert done.returncode == 0, done.stdout + done.stderr
        lines = stack.make("env").stdout.splitlines()
        stack.settings.update(line.split("=", 1) for line in lines)
        (home / "run.txt").write_text(done.stdout)
        yield stack
    finally:
        stack.make("clean")


@pytest.fixture(scope="package")
def backup(stack, tmp_path_factory) -> Path:
    to = tmp_path_factory.mktemp("backups") / "backup"
    done = stack.make("backup", f"TO={to}")
    assert done.returncode == 0, done.stdout + done.stderr
    return to


@pytest.fixture(scope="package")
def restored(stack, backup, tmp_path_factory) -> Iterator[Stack]:
    """A second stack, of the backup, of which what answers predictions runs."""
    home = tmp_path_factory.mktemp("restored") / "home"
    ports = free_ports("AIRFLOW_PORT", "MLFLOW_PORT", "SERVING_PORT")
    second = Stack({"CHURN_HOME": str(home), **ports}, stack.drops)
    try:
        done = second.make("restore", f"FROM={backup}")
        assert done.returncode == 0, done.stdout + done.stderr
        second.settings.update(line.split("=", 1) for line in second.make("env").stdout.splitlines())
        # Airflow would take most of the time, and has no part in an answer.
        with only(load_settings(second.settings), ["postgres", "mlflow", "serving"], print):
            yield second
    finally:
        second.make("clean")
