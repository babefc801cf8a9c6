"""The benchmarks at a size that says nothing about speed: what they compare is equal, and nothing of them stays."""

import json
import os
import shutil
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import psutil
import psycopg
import pytest

from bench import naive, naive_feast, ours
from bench.measure import Watch
from churn.generate import write_drops
from churn.landing import list_drops

REPOSITORY = Path(__file__).parents[2]
CUSTOMERS = 300


@pytest.fixture
def landing(tmp_path):
    path = tmp_path / "landing"
    write_drops(path, customers=CUSTOMERS, months=1, seed=7)
    return path


@pytest.fixture
def as_of(landing):
    return list_drops(landing)[0].as_of


@pytest.fixture
def naive_url(postgres_url, landing, as_of):
    with psycopg.connect(postgres_url("postgres"), autocommit=True) as connection:
        connection.execute("CREATE DATABASE naive")
        connection.execute("ALTER DATABASE naive SET timezone TO 'UTC'")
        url = postgres_url("naive")
        naive_feast.prepare(Watch(), url)
        naive.load(Watch(), url, landing, as_of)
        naive.snapshot(Watch(), url, landing, as_of)
        yield url
        connection.execute("DROP DATABASE naive WITH (FORCE)")


@pytest.fixture
def ours_url(database_url, landing, as_of):
    ours.prepare(Watch(), database_url)
    ours.load_and_validate(Watch(), database_url, landing, as_of)
    ours.snapshot(Watch(), database_url, landing, as_of)
    return database_url


def test_the_naive_training_set_is_ours_row_by_row(naive_url, ours_url, landing, as_of):
    expected = ours.training_set(Watch(), ours_url, landing, as_of)
    assert ours.read_training_set(ours_url, as_of).table.num_rows == CUSTOMERS
    assert naive_feast.training_set(Watch(), naive_url, landing, as_of) == expected
    # One value less in one of 300 rows is seen.
    with psycopg.connect(naive_url) as connection:
        connection.execute(
            "UPDATE snapshots.support_agg_90d_snapshots SET ticket_avg_resolution_hrs_90d = NULL WHERE user_id = "
            "(SELECT min(user_id) FROM snapshots.support_agg_90d_snapshots WHERE ticket_avg_resolution_hrs_90d > 0)"
        )
    assert naive_feast.training_set(Watch(), naive_url, landing, as_of) != expected


def test_a_naive_run_again_changes_nothing(naive_url, landing, as_of):
    before = naive_feast.training_set(Watch(), naive_url, landing, as_of)
    naive.load(Watch(), naive_url, landing, as_of)
    naive.snapshot(Watch(), naive_url, landing, as_of)
    assert naive_feast.training_set(Watch(), naive_url, landing, as_of) == before


@pytest.fixture
def work():
    """A directory that the server's user may enter; pytest closes its own ones to everybody whenever it starts."""
    path = Path("/tmp") / f"churn-tests-bench-{os.getpid()}"
    path.mkdir(mode=0o711)
    yield path
    shutil.rmtree(path)


def run_bench(*arguments: object) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "bench", *map(str, arguments)],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": f"{REPOSITORY / 'include'}:{REPOSITORY}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # What a shell runs in the background ignores SIGINT, and so do its children.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 — it takes no lock
    )


def test_a_run_measures_every_step_of_every_side_and_leaves_only_its_results(tmp_path, work):
    out = tmp_path / "out"
    process = run_bench("steps", "--customers", CUSTOMERS, "--repeats", 1, "--out", out, "--work", work)
    output, progress = process.communicate(timeout=120)
    assert process.returncode == 0, progress
    result = json.loads((out / "steps.json").read_text())
    found = {(row["side"], row["step"]): row for row in result["measurements"]}
    assert len(found) == 3 * 4
    assert all(row["seconds"] > 0 and row["peak_mb"] > 0 for row in found.values())
    assert {row["step"]: row["ours_over_limit"] is not None for row in result["ratios"]} == dict.fromkeys(
        ("load + validate", "snapshot", "materialize", "training set", "all"), True
    )
    assert set(result["machine"]) == {"cores", "feast", "git_commit", "memory_gb", "postgres", "python", "system"}
    assert (out / "steps.svg").read_text().startswith("<?xml")
    assert "training set" in output
    assert list(work.iterdir()) == []


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_ended_leaves_no_file_and_no_process(work, ending):
    process = run_bench("steps", "--customers", CUSTOMERS, "--out", work / "out", "--work", work)
    assert process.stderr is not None
    for line in process.stderr:
        if "repetition" in line:  # the server runs, and the first steps do
            break
    # As a terminal does it, to the whole group.
    os.killpg(process.pid, ending)
    _, said = process.communicate(timeout=60)
    assert process.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143}[ending], said
    assert list(work.iterdir()) == []
    assert [each for each in processes() if str(work) in each] == []


def processes() -> list[str]:
    """Return the command lines of every process."""
    return [" ".join(each.info["cmdline"] or []) for each in psutil.process_iter(["cmdline"])]
