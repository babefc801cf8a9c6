"""The serving benchmarks with a tiny load: every side answers, and nothing is left behind."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import psutil
import pytest

from bench.serving_world import FAMILIES
from tests.conftest import REPOSITORY, THOROUGH
from tests.patience import SLOWNESS

CUSTOMERS = 1_000
SIDES = ("naive", "ours", "limit")
SHORT = """
import sys
from bench import __main__, serving, serving_soak, serving_world
if sys.argv[1] == "serving":
    # A world with one family is made in half the time; the soak needs two versions.
    serving_world.FAMILIES = serving_world.FAMILIES[-1:]
serving.SECONDS = {8: 1}
serving.WARM_UP_SECONDS = 1
serving_soak.MINUTES = 0.25
serving_soak.CONNECTIONS = (8,)
serving_soak.SECONDS_OF_MAXIMUM = serving_soak.SECONDS_BETWEEN_LOOKS = 1
serving_soak.SECONDS_BETWEEN_CHANGES = 5
sys.exit(__main__.main())
"""
ONLY_OURS = SHORT.replace("sys.exit", "serving.SIDES = serving.SIDES[1:2]\nsys.exit")


@pytest.fixture
def work():
    """A directory that Postgres's user can enter; pytest makes its own private."""
    if shutil.which("wrk") is None:
        pytest.skip("wrk, which makes the load, is not installed: apt-get install wrk")
    path = Path("/tmp") / f"churn-tests-bench-serving-{os.getpid()}"
    path.mkdir(mode=0o711)
    yield path
    shutil.rmtree(path)


@contextmanager
def run_bench(*arguments: object, code: str = SHORT) -> "Iterator[subprocess.Popen[str]]":
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=REPOSITORY,
        env={
            **os.environ,
            "PYTHONPATH": f"{REPOSITORY / 'include'}:{REPOSITORY}",
            "SERVING_POLL_SECONDS": "1",
            "PGTZ": "UTC",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # What a shell runs in the background ignores SIGINT, and so do its children.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 — it takes no lock
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            process.communicate(timeout=60 * SLOWNESS)


def services(work: Path) -> list[str]:
    """Return the command lines of the processes that were started with a home below `work`."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("CHURN_HOME", "").startswith(str(work)):
                found.append(" ".join(process.cmdline()))
        except psutil.Error:  # of another user, or gone meanwhile
            continue
    return found


def test_a_serving_benchmark_loads_every_side_and_leaves_only_its_results(work, tmp_path):
    output = outcome("serving", work, tmp_path, "--repeats", 1)
    result = json.loads((tmp_path / "serving.json").read_text())
    assert [loads["in Production"] for loads in result["loads"]] == [FAMILIES[-1]]
    for loads in result["loads"]:
        for side in SIDES:
            assert loads[f"{side} p99 ms"] >= loads[f"{side} p50 ms"] > 0
            assert loads[f"{side} requests/s"] > 0
        assert (loads["naive / ours"] > 0, loads["ours / limit"] > 0) == (True, True)
    assert {(each["in Production"], each["service"]) for each in result["services"] if each["MB"] > 0} == {
        (FAMILIES[-1], side) for side in SIDES
    }
    assert "naive / ours" in output
    assert (list(work.iterdir()), services(work)) == ([], [])


@pytest.mark.skipif(
    not THOROUGH, reason="a minute of load, for a benchmark; tests/unit/bench/test_soak.py judges answers"
)
def test_a_soak_checks_every_answer_against_its_version_while_production_changes(work, tmp_path):
    output = outcome("serving_soak", work, tmp_path)
    result = json.loads((tmp_path / "serving_soak.json").read_text())
    assert (result["failed"], result["mixed"]) == ([], 0)
    assert result["changes of Production"] >= 2
    assert {each["version"] for each in result["versions"]} == {1, 2}
    assert result["answers"] == sum(each["answers"] for each in result["versions"])
    assert "mixed" in output
    assert (list(work.iterdir()), services(work)) == ([], [])


def outcome(benchmark: str, work: Path, out: Path, *more: object) -> str:
    """Run a benchmark to its end and return what it prints."""
    with run_bench(benchmark, "--customers", CUSTOMERS, "--out", out, "--work", work, *more) as process:
        output, progress = process.communicate(timeout=240 * SLOWNESS)
    assert process.returncode == 0, progress
    return output


@pytest.mark.skipif(not THOROUGH, reason="half a minute to train versions to serve; test_bench.py interrupts each time")
def test_an_interrupted_benchmark_leaves_no_service(work):
    arguments = ("serving", "--customers", CUSTOMERS, "--out", work / "out", "--work", work)
    with run_bench(*arguments, code=ONLY_OURS) as process:
        for line in process.stderr:
            if "starting ours" in line:
                break
        while not any("gunicorn" in each for each in services(work)):
            assert process.poll() is None
        # As a terminal does it, to the whole group.
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=60 * SLOWNESS)
    assert process.returncode == 130, said
    assert (list(work.iterdir()), services(work)) == ([], [])
