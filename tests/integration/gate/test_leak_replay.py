"""The leak, replayed on the real drops: a Production that was trained on everybody, including the gate cohort.

Under the naive rule nothing ever replaces it, as it scores far above the truth on memorized customers. Each of the two
leak checks finds it alone where both can judge. An honest forest, which also scores 1.00 on its own training rows, is
compared like any other model.
"""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from mlflow import MlflowClient

from churn import statistics
from churn.features.store import FEATURE_SERVICES
from churn.gate import gathering
from churn.gate.checks import KEEP
from churn.gate.gathering import Rivals
from churn.gate.grading import grade
from churn.gate.leaks import find_leaks
from churn.gate.rule import PROMOTE, decide
from churn.gate.thresholds import Thresholds
from churn.registry import client as registry
from churn.registry.evidence import RunEvidence, read_evidence
from churn.registry.loading import load_pipeline
from churn.registry.model_version import MODEL_NAME, STAGING
from churn.scoring.scorer import score
from churn.training import recipe, training_set
from churn.training import train as training
from churn.training.cohort import in_cohort
from churn.training.families import FAMILIES
from churn.training.train import train
from churn.training.training_set import build_training_set
from tests.conftest import FEBRUARY, JANUARY, REAL_DROPS
from tests.integration.copied_chains import Chains, begun
from tests.integration.training_chain import last_report
from tests.opened_store import opened_store

NAIVE_MARGIN = 0.01
FOREST = recipe.Parameters(families=("random forest",))


@pytest.fixture(autouse=True)
def leaves_of_one(monkeypatch):
    """Default forests, whose trees memorize their rows."""
    family = FAMILIES["random forest"]
    by_heart = ({"n_estimators": 100, "min_samples_leaf": 1},)
    monkeypatch.setitem(FAMILIES, "random forest", replace(family, grid=by_heart))


@pytest.fixture(scope="module")
def chains(postgres_url, churn_template, mlflow_template, tmp_path_factory):
    if not REAL_DROPS.is_dir():
        pytest.skip("the real drops are not beside this checkout (../shared/data/drops)")
    chains = Chains(postgres_url, (churn_template, mlflow_template), REAL_DROPS, tmp_path_factory.mktemp("chains"))
    yield chains
    chains.close()


@pytest.fixture
def chain(chains, request, tmp_path):
    """A chain of the test's own after the steps of `begun`."""
    with chains.after(request.param, tmp_path / "archive") as chain:
        yield chain


@pytest.fixture
def database_url(chain):
    return chain.database_url


def january_served(chain):
    chain.pipeline.serve(JANUARY)


def january_leaked(chain):
    """Return the version in Production, which was trained on everybody, and an honest candidate, both of January."""
    return train_on_everybody(chain.database_url), train_by(chain.database_url)


def february_leaked(chain):
    """Return such versions of February."""
    chain.pipeline.serve(FEBRUARY)
    return train_on_everybody(chain.database_url, FEBRUARY), train_by(chain.database_url, as_of=FEBRUARY)


def train_by(database_url, parameters=FOREST, as_of=JANUARY):
    """Train the candidate of a date and return its version."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(training.recipe, "Parameters", lambda: parameters)
        return train(as_of, database_url).figures["version"]


def train_on_everybody(database_url, as_of=JANUARY):
    """Train without cohorts, and move the model to Production by hand."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(training_set, "cohorts", lambda users: np.zeros((2, len(list(users))), dtype=bool))
        version = train_by(database_url, replace(FOREST, random_state=1), as_of)
    move_to_production(version)
    return version


def move_to_production(version):
    MlflowClient().transition_model_version_stage(
        MODEL_NAME, str(version), "Production", archive_existing_versions=True
    )


def gather(candidate, database_url):
    """The evidence on a candidate and the current Production."""
    client = MlflowClient()
    rivals = Rivals(registry.production(client), None, None)
    return gathering.gather(registry.get_version(client, candidate), rivals, database_url).evidence


def auc(evidence, model):
    return statistics.auc(evidence.labels, model.scores).value


def found_by(evidence, model):
    return [leak.name for leak in find_leaks(model, evidence.labels, Thresholds()) if leak.found]


def failed(decision):
    return [check.name for check in decision.checks if check.outcome == "FAIL"]


# What January teaches says nothing about February: its versions learn from it alone, and are graded in time.
@pytest.mark.parametrize(
    ("chain", "low", "high"),
    [((january_served, january_leaked), 0.80, 0.85), ((january_served, february_leaked), 0.60, 0.75)],
    indirect=["chain"],
    ids=["january", "february"],
)
def test_a_production_trained_on_the_cohort_wins_the_naive_rule_and_fails_the_gate(chain, database_url, low, high):
    leaked, candidate = chain.steps
    evidence = gather(candidate, database_url)
    truth, shown = auc(evidence, evidence.candidate), auc(evidence, evidence.production)
    assert low < truth < high
    assert shown > truth + 0.10
    # "AUC 0.99 in Production, less for the candidate, skipped": the same recipe, which is as good.
    assert not truth > shown + NAIVE_MARGIN

    assert found_by(evidence, evidence.production) == ["disjoint", "leak_alarm"]
    assert found_by(evidence, evidence.candidate) == []
    assert evidence.production.trained_on_cohort == len(evidence.labels)

    decided = grade(candidate, database_url)
    assert decided.figures["decision"] == KEEP
    why = f"version {leaked}, in Production, cannot be compared fairly: it was trained on {len(evidence.labels)}"
    assert why in decided.reason


@begun(january_served, january_leaked)
def test_a_person_is_asked_when_only_the_leak_keeps_the_candidate(chain, database_url):
    _, candidate = chain.steps
    grade(candidate, database_url)
    report = last_report(candidate)
    assert report["needs_person"]
    assert [check["name"] for check in report["checks"] if check["outcome"] == "FAIL"] == ["production_comparable"]
    assert registry.get_version(MlflowClient(), candidate).stage == STAGING


@begun(january_served, january_leaked)
def test_each_leak_check_alone_finds_the_leak(chain, database_url):
    leaked, candidate = chain.steps
    evidence = gather(candidate, database_url)
    silent = replace(evidence, production=replace(evidence.production, out_of_fold_auc=None))
    assert found_by(silent, silent.production) == ["disjoint"]
    assert (decide(silent).outcome, failed(decide(silent))) == (KEEP, ["production_comparable"])

    # Its run says that it was kept from the cohort: what it knows of the cohort says otherwise.
    run_id = registry.get_version(MlflowClient(), leaked).run_id
    said = RunEvidence(**{name: read_evidence(run_id, name) for name in RunEvidence.__dataclass_fields__})
    others = pc.invert(pa.array(in_cohort(said.trained_on["user_id"].to_pylist())))
    replace(said, trained_on=said.trained_on.filter(others)).log(run_id)
    lying = gather(candidate, database_url)
    decided = grade(candidate, database_url)
    said.log(run_id)  # files of a run are those of every copy of its chain
    assert found_by(lying, lying.production) == ["leak_alarm"]
    assert decided.figures["decision"] == KEEP
    assert "knows the gate cohort too well" in decided.reason


@begun(january_served)
def test_an_honest_forest_that_knows_its_own_training_rows_by_heart_is_compared_fairly(database_url):
    honest = train_by(database_url)
    assert auc_on_its_training_rows(honest, database_url) == pytest.approx(1.0, abs=0.005)
    first = grade(honest, database_url)
    assert first.figures["decision"] == PROMOTE, first.reason
    move_to_production(honest)

    candidate = train_by(database_url, recipe.Parameters(families=("logistic regression",)))
    decided = grade(candidate, database_url)
    report = last_report(candidate)
    passed = {check["name"] for check in report["checks"] if check["outcome"] == "PASS"}
    assert {"production_comparable", "not_worse", "disjoint", "leak_alarm"} <= passed
    assert decided.figures["decision"] == PROMOTE, decided.reason
    assert 0.80 < report["production"]["auc"]["value"] < 0.85
    assert report["production"]["auc"]["value"] == pytest.approx(
        report["production"]["out_of_fold_auc"]["value"], abs=0.03
    )


def auc_on_its_training_rows(version, database_url):
    with opened_store(database_url) as store:
        rows = build_training_set(store, FEATURE_SERVICES, JANUARY, database_url)
    learnt = ~rows.cohort & ~rows.audit
    pipeline = load_pipeline(version, database_url)
    return statistics.auc(rows.labels(learnt), score(pipeline, rows.features(learnt))).value
