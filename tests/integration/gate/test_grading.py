"""The gate on real versions: the evidence it gathers, the record it writes, and the validity of its decisions."""

import tempfile
from dataclasses import replace
from datetime import date

import mlflow
import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet
import pytest
from mlflow import MlflowClient

from churn.features.store import open_store
from churn.gate import gathering, rule, slices, trial
from churn.gate.gathering import Rivals
from churn.gate.grading import GateInvalid, grade
from churn.gate.rollback import release, rollback
from churn.gate.thresholds import ThresholdError
from churn.outcome import DONE, UNCHANGED
from churn.postgres.database import connect
from churn.registry import client as registry
from churn.registry import loading
from churn.registry.evidence import read_evidence
from churn.registry.loading import load_model
from churn.synthetic.generate import write_drops
from churn.training import train as training
from churn.training import training_set
from churn.training.cohort import cohorts
from churn.training.sample import Sample, cohorts_of
from churn.training.train import train
from churn.training.training_set import LABEL, join_features
from tests.integration.copied_chains import Chains, begun
from tests.integration.training_chain import QUICK, last_report

JANUARY, FEBRUARY, MARCH = date(2024, 1, 31), date(2024, 2, 29), date(2024, 3, 31)


@pytest.fixture(scope="module", autouse=True)
def quick_models():
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(training.recipe, "Parameters", lambda: QUICK)
        yield


@pytest.fixture(scope="module")
def drops(tmp_path_factory):
    landing = tmp_path_factory.mktemp("drops")
    write_drops(landing, customers=2500, months=3, seed=5)
    return landing


@pytest.fixture(scope="module")
def chains(postgres_url, churn_template, mlflow_template, drops, tmp_path_factory):
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


@pytest.fixture(scope="module")
def february(chains, tmp_path_factory):
    """January's model was promoted, then February's; tests must not change it."""
    with chains.after((run_january, run_february), tmp_path_factory.mktemp("february")) as chain:
        yield chain


@pytest.fixture
def chain(chains, request, tmp_path):
    """A chain of the test's own, after the steps that it has `begun` with."""
    with chains.after(getattr(request, "param", ()), tmp_path / "archive") as chain:
        yield chain


def outcome_of(report, name):
    return next(check["outcome"] for check in report["checks"] if check["name"] == name)


def last_row(chain, columns):
    with psycopg.connect(chain.database_url) as connection:
        return connection.execute(f"SELECT {columns} FROM gate.decisions ORDER BY id DESC LIMIT 1").fetchone()


def test_the_gate_reads_exactly_the_cohort_rows(february):
    store = open_store(february.database_url)
    service = store.get_feature_service("churn_v1")
    with connect(february.database_url) as connection:
        everybody = join_features(connection, store, service, FEBRUARY, FEBRUARY, sample=Sample())
        both = join_features(connection, store, service, FEBRUARY, FEBRUARY, sample=cohorts_of(connection, FEBRUARY))
    gate, audit = cohorts(everybody["user_id"].to_pylist())
    assert both.equals(everybody.filter(pa.array(gate | audit)))
    assert 0.2 < len(both) / len(everybody) < 0.3


def test_a_decision_records_intervals_report_and_scores(february):
    trained, decided, _ = february.steps
    assert decided.figures["decision"] == rule.PROMOTE
    report = last_report(2)
    row = last_row(february, "report, candidate_auc, candidate_auc_error, auc_difference, superior, overridden")
    assert row[0] == report
    assert row[1] == report["candidate"]["auc"]["value"]
    assert report["candidate"]["auc"]["high"] == pytest.approx(row[1] + 1.96 * row[2], abs=1e-4)
    assert row[3] == report["difference"]["value"]
    assert row[5] == {}
    with tempfile.TemporaryDirectory() as directory:
        path = mlflow.artifacts.download_artifacts(
            run_id=trained.figures["run_id"], artifact_path="decisions/2/scores.parquet", dst_path=directory
        )
        scores = pyarrow.parquet.read_table(path, memory_map=False)
    grades = read_evidence(trained.figures["run_id"], "grades")
    assert scores["user_id"].equals(grades["user_id"])
    assert scores[LABEL].equals(grades[LABEL])
    assert np.array_equal(scores["candidate"].to_numpy(), grades["score"].to_numpy())
    assert scores["production"].null_count == 0
    assert scores["anchor"].null_count == len(scores)


def test_every_customer_of_the_cohort_is_in_one_slice_of_each_kind(february):
    report = last_report(2)
    kinds = {"net service": 3, "senior": 1, "not senior": 1, "paperless billing": 1, "billing on paper": 1, "tenure": 3}
    assert len(report["slices"]) == sum(kinds.values())
    assert sum(each["rows"] for each in report["slices"]) == 4 * report["rows"]
    assert sum(each["churned"] for each in report["slices"]) == 4 * report["churned"]


def test_the_audit_cohort_is_used_for_a_promotion(february):
    promoted = last_report(2)["audit"]
    assert promoted["rows"] == pytest.approx(125, abs=40)
    assert promoted["candidate_auc"]["value"] > 0.7
    assert promoted["production_auc"]["value"] > 0.7


def test_the_audit_cohort_is_not_used_without_a_promotion(chain):
    chain(FEBRUARY)
    kept = chain(JANUARY)[0].figures["version"]
    assert last_report(kept)["outcome"] == rule.KEEP
    assert last_report(kept)["audit"] is None


@begun(run_january)
def test_overridden_thresholds_are_recorded_with_their_author_and_make_a_new_decision(chain):
    chain.pipeline.serve(FEBRUARY)
    version = train(FEBRUARY, chain.database_url).figures["version"]
    strict = grade(version, chain.database_url, {"max_auc_loss": 0.0}, "ada")
    assert strict.figures["decision"] == rule.KEEP
    report = last_report(version)
    assert (report["overridden"], report["overridden_by"]) == ({"max_auc_loss": 0.0}, "ada")
    assert report["thresholds"]["max_auc_loss"] == 0.0
    assert grade(version, chain.database_url, {"max_auc_loss": 0.0}, "ada").outcome == UNCHANGED
    usual = grade(version, chain.database_url)
    assert (usual.outcome, usual.figures["decision"]) == (DONE, rule.PROMOTE)
    # Each decision keeps its own report, whatever was decided on the same version later.
    run_id = registry.get_version(MlflowClient(), version).run_id
    kept = [mlflow.artifacts.load_dict(f"runs:/{run_id}/decisions/{number}/report.json") for number in (2, 3)]
    assert [(report["outcome"], report["overridden"]) for report in kept] == [
        (rule.KEEP, {"max_auc_loss": 0.0}), (rule.PROMOTE, {})
    ]  # fmt: skip


@begun(run_january)
def test_an_unknown_threshold_is_refused_before_the_decision(chain):
    with pytest.raises(ThresholdError, match="max_acu_loss"):
        grade(1, chain.database_url, {"max_acu_loss": 0.0}, "ada")


@begun(run_january)
def test_a_pinned_production_gets_a_recommendation_and_a_new_decision_after_release(chain):
    rollback(1, "ada", "a holiday", chain.database_url)
    decided = chain(FEBRUARY)[1]
    assert decided.figures["decision"] == rule.KEEP
    assert "ada" in decided.reason
    assert last_report(2)["recommendation"] == rule.PROMOTE
    assert chain(FEBRUARY)[1].outcome == UNCHANGED
    release("ada", "back", chain.database_url)
    assert chain(FEBRUARY)[1].figures["decision"] == rule.PROMOTE
    assert registry.production(MlflowClient()).version == 2


@begun(run_january, run_february)
def test_the_first_promotion_anchors_later_non_inferior_ones(chain):
    chain(MARCH)
    report = last_report(3)
    assert [last_report(version)["superior"] for version in (1, 2)] == [True, False]
    assert (report["production"]["version"], report["anchor"]["version"]) == (2, 1)
    assert outcome_of(report, "not_worse_than_anchor") == "PASS"


@begun(serve_january, train_january)
def test_a_candidate_trained_on_the_cohort_is_invalid(chain, monkeypatch):
    version = chain.steps.figures["version"]
    read = gathering.read_trained_on

    def with_the_cohort(run_id):
        yield from read(run_id)
        yield from read_evidence(run_id, "grades")["user_id"].to_pylist()

    monkeypatch.setattr(gathering, "read_trained_on", with_the_cohort)
    with pytest.raises(GateInvalid, match="customers of the gate cohort"):
        grade(version, chain.database_url)


@begun(serve_january, train_january)
def test_a_candidate_other_than_the_trained_model_is_invalid(chain, monkeypatch):
    """Its golden rows hold the scores of training."""
    version = chain.steps.figures["version"]
    load = load_model

    def another(*asked):
        pipeline, signature = load(*asked)
        pipeline[-1].intercept_ += 0.01
        return pipeline, signature

    monkeypatch.setattr(trial, "load_model", another)
    monkeypatch.setattr(loading, "load_model", another)
    with pytest.raises(GateInvalid, match="of those that it was registered with"):
        grade(version, chain.database_url)


@begun(serve_january, train_january)
def test_without_served_features_a_candidate_is_kept(chain):
    version = chain.steps.figures["version"]
    with psycopg.connect(chain.database_url) as connection:
        connection.execute("CREATE TABLE kept AS TABLE online.served")
        connection.execute("DELETE FROM online.served")
    found = grade(version, chain.database_url)
    assert found.figures["decision"] == rule.KEEP
    assert "nothing is served: run churn_materialize" in found.reason
    with psycopg.connect(chain.database_url) as connection:
        connection.execute("INSERT INTO online.served SELECT * FROM kept")
    assert grade(version, chain.database_url).figures["decision"] == rule.PROMOTE


def test_golden_rows_hold_nulls_and_are_scored_as_serving_scores(february):
    golden = read_evidence(february.steps[0].figures["run_id"], "golden")
    assert golden["plan_stream_tv"].null_count >= 2
    assert len(golden) >= 50
    assert pc.min(golden["score"]).as_py() > 0
    assert outcome_of(last_report(2), "golden_rows") == "PASS"


def test_a_decision_does_not_depend_on_the_block_size(february, monkeypatch):
    """Training and the gate cut different tables; tests are smaller than a block of theirs."""
    client = MlflowClient()
    version, rivals = registry.get_version(client, 2), Rivals(registry.get_version(client, 1), None, None)
    whole = gathering.gather(version, rivals, february.database_url)
    monkeypatch.setattr(training_set, "BLOCK", 61)
    monkeypatch.setattr(slices, "ASKED_AT_ONCE", 67)
    cut = gathering.gather(version, rivals, february.database_url)
    assert cut.users.equals(whole.users)
    assert list(cut.evidence.slices) == list(whole.evidence.slices)
    for name, rows in whole.evidence.slices.items():
        assert np.array_equal(cut.evidence.slices[name], rows), name
    assert cut.evidence.production.scores == pytest.approx(whole.evidence.production.scores, abs=1e-12)


def test_a_version_without_a_run_has_unknown_training_customers(february):
    """MLflow's server rejects a request for a run without an id."""
    version = replace(registry.get_version(MlflowClient(), 1), run_id="")
    assert gathering._cohort_trained_on(version) is None
