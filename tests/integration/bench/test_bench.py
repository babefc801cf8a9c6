"""The benchmarks at a tiny size: the compared results are equal, and nothing is left behind."""

import json
import os
import shutil
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import psycopg
import pytest

from bench import gate_simulation, naive, naive_feast, ours
from bench.measure import Watch
from churn import statistics
from churn.drops.landing import list_drops
from churn.synthetic.generate import write_drops
from tests.conftest import REPOSITORY, THOROUGH
from tests.patience import SLOWNESS

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


def test_the_naive_training_set_equals_ours(naive_url, ours_url, landing, as_of):
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


def test_a_naive_rerun_changes_nothing(naive_url, landing, as_of):
    before = naive_feast.training_set(Watch(), naive_url, landing, as_of)
    naive.load(Watch(), naive_url, landing, as_of)
    naive.snapshot(Watch(), naive_url, landing, as_of)
    assert naive_feast.training_set(Watch(), naive_url, landing, as_of) == before


@pytest.fixture
def work():
    """A directory that Postgres's user can enter; pytest makes its own private."""
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
    output, progress = process.communicate(timeout=120 * SLOWNESS)
    assert process.returncode == 0, progress
    result = json.loads((out / "steps.json").read_text())
    rows = {row["step"]: row for row in result["steps"]}
    compared = {"load + validate", "snapshot", "materialize", "training set", "all with a limit"}
    assert set(rows) == compared | {"train", "gate", "score", "outcome"}
    assert all(row["ours s"] > 0 and row["ours MB"] > 0 for row in rows.values())
    for row in (rows[name] for name in compared):
        assert all(row[f"{side} {figure}"] > 0 for side in ("naive", "ours", "limit") for figure in ("s", "MB"))
        assert row["naive / ours"] is not None
        assert row["ours / limit"] is not None
    assert set(result["machine"]) == {"cores", "feast", "git_commit", "memory_gb", "postgres", "python", "system"}
    assert "training set" in output
    assert list(work.iterdir()) == []


def test_simulated_versions_have_the_requested_auc_and_correlation():
    correlation = gate_simulation.correlation_of(error=0.005, rows=1_400)
    drawn = gate_simulation.draw(np.random.default_rng(5), 100_000, correlation, gate_simulation.Truth(0.81))
    ours, theirs = drawn.candidate.scores, drawn.production.scores
    difference = statistics.auc_difference(drawn.labels, ours, theirs)
    assert difference.error == pytest.approx(0.005 * (1_400 / 100_000) ** 0.5, rel=0.03)
    assert difference.value == pytest.approx(0.81 - 0.83, abs=4 * difference.error)
    assert statistics.calibration_error(drawn.labels, ours) < 0.01
    assert all(1_000 < rows.sum() < 99_000 for rows in drawn.slices.values())


def test_simulated_decisions_promote_the_equal_and_keep_the_much_worse():
    """More than ten standard errors away: no chance is in it."""
    worse, equal, corrected = (
        gate_simulation.simulate(gate_simulation.Case("of a test", 0.93, rows, offset, 2, 0, correction))
        for rows, offset, correction in (
            (20_000, -2 * gate_simulation.MARGIN, False),
            (20_000, 0.0, False),
            (5_000, 0.0, True),
        )
    )
    assert (worse["PROMOTE"], equal["PROMOTE"]) == (0, 2)
    assert (corrected["PROMOTE"], corrected["twin"]) == (2, 0)


@pytest.mark.skipif(
    not THOROUGH, reason="half a minute for a benchmark, whose simulation the test above runs each time"
)
def test_a_gate_benchmark_reports_promotion_rates_and_leaves_only_its_results(tmp_path, work):
    out = tmp_path / "out"
    process = run_bench("gate", "--repeats", 2, "--out", out, "--work", work)
    output, progress = process.communicate(timeout=300 * SLOWNESS)
    assert process.returncode == 0, progress
    result = json.loads((out / "gate.json").read_text())
    found = {(row["versions of"], row["candidate"], row["rows"]): row for row in result["decisions"]}
    assert len(found) == 4 * 4 + 2 * 2 + 3 * 2
    assert all(row["promoted"] + row["KEEP"] + row["INVALID"] == 1 for row in found.values())
    # More than ten standard errors away: no chance is in it.
    assert found["two families", "worse by 2 δ", 20_000]["promoted"] == 0
    assert found["two families", "equal", 20_000]["promoted"] == 1
    assert found["a correction", "equal", 5_000]["promoted"] == 1
    assert found["a correction", "equal", 5_000]["by the twin"] == 0
    assert [each["anchor"] for each in result["chains"]] == ["with", "without"] * 2
    assert "worse by δ" in output
    assert list(work.iterdir()) == []


AT_NIGHT = pytest.mark.skipif(not THOROUGH, reason="the other signal is tried each time")


@pytest.mark.parametrize("ending", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=AT_NIGHT)])
def test_an_interrupted_benchmark_leaves_no_file_and_no_process(work, ending):
    process = run_bench("steps", "--customers", CUSTOMERS, "--out", work / "out", "--work", work)
    assert process.stderr is not None
    for line in process.stderr:
        if "repetition" in line:  # the server runs, and the first steps do
            break
    # As a terminal does it, to the whole group.
    os.killpg(process.pid, ending)
    _, said = process.communicate(timeout=60 * SLOWNESS)
    assert process.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143}[ending], said
    assert list(work.iterdir()) == []
    assert [each for each in processes() if str(work) in each] == []


def processes() -> list[str]:
    """Return the command lines of every process."""
    return [" ".join(each.info["cmdline"] or []) for each in psutil.process_iter(["cmdline"])]
