"""Like with like, on real versions: a correction, a late label or new code is compared as shipped with the old version.

In this data February differs from January, so a model trained on a month is far better on that month.
"""

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from time import sleep

import numpy as np
import psycopg
import pytest
from mlflow import MlflowClient
from scipy.special import expit

from churn.gate import gathering, grading, moves, promotion, rule
from churn.gate.basis import AS_SHIPPED
from churn.gate.grading import grade
from churn.gate.rollback import RollbackRefused, release, rollback
from churn.outcome import DONE, UNCHANGED
from churn.postgres.database import connect
from churn.registry import client as registry
from churn.registry.model_version import MODEL_NAME
from churn.training import train as training
from churn.training.train import train
from tests.handmade_drops import write_drop
from tests.integration.copied_chains import Chains, begun
from tests.integration.training_chain import QUICK, last_report

JANUARY, FEBRUARY, MARCH = date(2024, 1, 31), date(2024, 2, 29), date(2024, 3, 31)
CUSTOMERS = 2000
TAUGHT = {JANUARY: (2.0, 0.0), FEBRUARY: (1.0, 2.5), MARCH: (1.0, 2.5)}
"""How much hours watched and skips say of leaving, in each month."""


@pytest.fixture(scope="module", autouse=True)
def quick_models():
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(training.recipe, "Parameters", lambda: QUICK)
        yield


def write_month(landing, as_of, **first):
    """A drop with labels; `first` are values of its first customer."""
    random = np.random.default_rng(as_of.toordinal())
    hours, skips = random.random((2, CUSTOMERS))
    by_hours, by_skips = TAUGHT[as_of]
    left = random.random(CUSTOMERS) < expit(-1 + by_hours * 2 * (hours - 0.5) + by_skips * 2 * (skips - 0.5))
    names = [f"C{number:04d}" for number in range(CUSTOMERS)]
    values = {
        name: {"watch_hours_30d": f"{100 * each:.2f}", "skips_7d": f"{100 * other:.0f}"}
        for name, each, other in zip(names, hours, skips, strict=True)
    }
    values[names[0]] |= first
    write_drop(landing, as_of, values, list(zip(names, map(bool, left), strict=True)))


@pytest.fixture(scope="module")
def chains(postgres_url, churn_template, mlflow_template, tmp_path_factory):
    drops = tmp_path_factory.mktemp("drops")
    for as_of in TAUGHT:
        write_month(drops, as_of)
    chains = Chains(postgres_url, (churn_template, mlflow_template), drops, tmp_path_factory.mktemp("chains"))
    yield chains
    chains.close()


def run_january(chain):
    return chain(JANUARY)


def run_february(chain):
    return chain(FEBRUARY)


def serve_january(chain):
    return chain.pipeline.serve(JANUARY)


def train_january(chain):
    return train(JANUARY, chain.database_url)


@contextmanager
def with_own_drops(chains, begun, directory):
    """A copy of a chain whose drops can be corrected."""
    with chains.after(begun, directory / "archive") as chain:
        chain.pipeline = replace(chain.pipeline, landing=directory / "landing")
        for as_of in TAUGHT:
            write_month(chain.pipeline.landing, as_of)
        yield chain


@pytest.fixture
def chain(chains, request, tmp_path):
    """A chain of the test's own, after the steps that it has `begun` with."""
    with with_own_drops(chains, getattr(request, "param", ()), tmp_path) as chain:
        yield chain


@pytest.fixture(scope="module")
def corrected(chains, tmp_path_factory):
    """January and February promoted, then one fee of February corrected; tests must not change it."""
    with with_own_drops(chains, (run_january, run_february), tmp_path_factory.mktemp("corrected")) as chain:
        with connect(chain.database_url) as connection:
            decided = connection.execute("SELECT outcome FROM gate.decisions").fetchall()
        assert decided == [(rule.PROMOTE,)] * 2
        write_month(chain.pipeline.landing, FEBRUARY, monthly_fee="29.86")
        chain.steps = chain(FEBRUARY)
        yield chain


def test_a_correction_that_changes_nothing_is_promoted(corrected):
    _, decided, moved = corrected.steps
    assert decided.figures["decision"] == rule.PROMOTE, decided.reason
    assert moved.figures == {"version": 3, "previous_version": 2, "graded_again": False}


def test_a_correction_compared_by_its_twin_would_be_kept(corrected):
    client = MlflowClient()
    rivals = gathering.Rivals(registry.get_version(client, 2), None, None)
    evidence = gathering.gather(registry.get_version(client, 3), rivals, corrected.database_url).evidence
    twin, shipped, theirs = evidence.candidate.scores, evidence.candidate.shipped, evidence.production.scores
    assert not np.array_equal(twin, shipped)
    assert shipped == pytest.approx(theirs, abs=0.01)
    report = last_report(3)
    assert report["candidate"]["auc"]["value"] < report["production"]["auc"]["value"] - 0.05


def test_the_report_says_on_which_basis_each_version_was_compared(corrected):
    report = last_report(3)
    assert report["basis"] == report["audit"]["basis"] == report["production"]["basis"] == AS_SHIPPED
    assert report["production"]["version"] == 2
    assert abs(report["audit"]["candidate_auc"]["value"] - report["audit"]["production_auc"]["value"]) < 0.01


def test_the_figures_on_record_are_a_pair_on_one_basis(corrected):
    with connect(corrected.database_url) as connection:
        found = connection.execute("SELECT candidate_auc, production_auc FROM gate.decisions ORDER BY id").fetchall()
    candidate, production = found[-1]
    assert candidate == pytest.approx(production, abs=0.01)
    assert candidate > 0.70


def test_a_version_says_which_dates_it_learned_from(corrected):
    assert registry.get_version(MlflowClient(), 3).tags["learned_from"] == '["2024-01-31", "2024-02-29"]'


@begun(run_january, run_february)
def test_a_month_with_new_information_raises_no_leak_alarm(chain):
    """February's version was selected by models of January alone, but is fitted on February too; March's likewise."""
    assert chain.steps[1].figures["decision"] == rule.PROMOTE
    _, decided, _ = chain(MARCH)
    production = last_report(3)["production"]
    assert production["auc"]["value"] > production["out_of_fold_auc"]["value"] + 0.1
    assert decided.figures["decision"] == rule.PROMOTE, decided.reason


def withdraw(database_url, as_of):
    with connect(database_url) as connection:
        connection.execute("INSERT INTO raw.withdrawals (as_of, who, why) VALUES (%s, 'ada', 'a test drop')", [as_of])
        connection.execute("UPDATE raw.revisions SET withdrawn_at = now() WHERE as_of = %s", [as_of])


@begun(run_january, run_february)
def test_a_production_of_a_withdrawn_as_of_does_not_hold_older_candidates_back(chain):
    write_month(chain.pipeline.landing, JANUARY, monthly_fee="29.86")
    _, decided, _ = chain(JANUARY)
    assert (decided.figures["decision"], decided.outcome) == (rule.KEEP, DONE)
    assert "Production (version 2) of 2024-02-29" in decided.reason
    assert chain(JANUARY)[1].outcome == UNCHANGED
    withdraw(chain.database_url, FEBRUARY)
    decided = grade(3, chain.database_url)
    assert (decided.figures["decision"], decided.outcome) == (rule.PROMOTE, DONE), decided.reason


# --- a version is a number and a run -----------------------------------------------------------------------------


def rows(database_url, table):
    with connect(database_url) as connection:
        return connection.execute(table).fetchall()


def make_model_again():
    MlflowClient().delete_registered_model(MODEL_NAME)


@begun(run_january, run_february)
def test_versions_of_a_recreated_model_are_not_mistaken_for_old_ones(chain):
    first = [registry.get_version(MlflowClient(), version).run_id for version in (1, 2)]
    make_model_again()
    trained, decided, moved = chain(JANUARY)
    assert (trained.figures["version"], decided.outcome, moved.outcome) == (1, DONE, DONE)
    assert decided.figures["decision"] == rule.PROMOTE
    again = [trained.figures["run_id"], chain(FEBRUARY)[0].figures["run_id"]]
    assert len({*first, *again}) == 4
    decisions = (
        "SELECT candidate_version, run_id, production_version, production_run_id FROM gate.decisions ORDER BY id"
    )
    assert rows(chain.database_url, decisions) == [
        (1, first[0], None, None), (2, first[1], 1, first[0]), (1, again[0], None, None), (2, again[1], 1, again[0])
    ]  # fmt: skip
    history = "SELECT kind, version, run_id FROM gate.moves ORDER BY id"
    assert rows(chain.database_url, history) == [
        ("promotion", 1, first[0]), ("promotion", 2, first[1]), ("person", None, None),
        ("promotion", 1, again[0]), ("promotion", 2, again[1]),
    ]  # fmt: skip
    with connect(chain.database_url) as connection:
        anchor = moves.anchor(connection)
    assert anchor.run_id == again[anchor.version - 1]

    assert rollback(None, "ada", "wrong prices", chain.database_url).figures["version"] == 1
    release("ada", "mended", chain.database_url)
    with pytest.raises(RollbackRefused, match="version 2: the history means run"):
        rollback(None, "ada", "wrong prices", chain.database_url)


@begun(serve_january, train_january)
def test_a_decision_does_not_apply_to_another_version_of_the_same_number(chain):
    decided = grade(chain.steps.figures["version"], chain.database_url)
    make_model_again()
    train(JANUARY, chain.database_url)
    moved = promotion.promote(1, None, decided.reason, chain.database_url, decision_id=decided.figures["decision_id"])
    assert moved.outcome == promotion.KEPT
    assert "was deleted and made again" in moved.reason
    assert registry.production(MlflowClient()) is None


# --- one decision at a time --------------------------------------------------------------------------------------


@begun(serve_january, train_january)
def test_concurrent_gates_decide_once_despite_an_idle_transaction_timeout(chain, monkeypatch):
    version = chain.steps.figures["version"]
    with psycopg.connect(chain.database_url, autocommit=True) as connection:
        name = psycopg.sql.Identifier(connection.info.dbname)
        connection.execute(
            psycopg.sql.SQL("ALTER DATABASE {} SET idle_in_transaction_session_timeout = '200ms'").format(name)
        )
    score, log_scores = gathering.read_evidence, grading._log_scores

    def slowly(step):
        def slow(*arguments):
            sleep(0.5)
            return step(*arguments)

        return slow

    monkeypatch.setattr(gathering, "read_evidence", slowly(score))
    monkeypatch.setattr(grading, "_log_scores", slowly(log_scores))
    with ThreadPoolExecutor(2) as pool:
        outcomes = [each.outcome for each in pool.map(lambda _: grade(version, chain.database_url), range(2))]
    assert sorted(outcomes) == sorted([DONE, UNCHANGED])
    assert rows(chain.database_url, "SELECT count(*) FROM gate.decisions") == [(1,)]
