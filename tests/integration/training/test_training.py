"""From training sets to stage Production: real Postgres, Feast and MLflow, generated and real drops."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date

import mlflow
import numpy as np
import psycopg
import pytest
from mlflow import MlflowClient

from churn.features.store import FEATURE_SERVICE, feature_types
from churn.gate import promotion, rule
from churn.gate.grading import GateInvalid, StaleCandidate, grade
from churn.outcome import DONE, UNCHANGED
from churn.registry import client as registry
from churn.registry.client import ExperimentDeleted
from churn.registry.evidence import read_evidence
from churn.registry.loading import load_pipeline
from churn.retention.versions import expire_versions
from churn.scoring.scorer import score
from churn.synthetic.generate import write_drops
from churn.training import recipe, registration, training_set
from churn.training import train as training
from churn.training.candidate import fit_candidate
from churn.training.cohort import SALT, cohorts
from churn.training.profit import empc, expected_profit
from churn.training.train import train
from churn.training.training_set import NothingToLearn
from churn.value import Value
from tests.handmade_drops import write_drop
from tests.integration.copied_chains import Chains, begun
from tests.integration.retention.test_retention_versions import make_older
from tests.integration.training_chain import QUICK

JANUARY, FEBRUARY, MARCH = date(2024, 1, 31), date(2024, 2, 29), date(2024, 3, 31)


@pytest.fixture(scope="module")
def drops(tmp_path_factory):
    """Three generated months, large enough for the gate to judge."""
    landing = tmp_path_factory.mktemp("drops")
    write_drops(landing, customers=2500, months=3, seed=5)
    return landing


@pytest.fixture(scope="module", autouse=True)
def quick_models():
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(training.recipe, "Parameters", lambda: QUICK)
        yield


@pytest.fixture(scope="module")
def chains(postgres_url, churn_template, mlflow_template, drops, tmp_path_factory):
    chains = Chains(postgres_url, (churn_template, mlflow_template), drops, tmp_path_factory.mktemp("chains"))
    yield chains
    chains.close()


def run_january(chain):
    return chain(JANUARY)


def run_march(chain):
    return chain(MARCH)


def serve_january(chain):
    return chain.pipeline.serve(JANUARY)


def train_january(chain):
    return train(JANUARY, chain.database_url)


def serve_february(chain):
    chain.pipeline.snapshot(JANUARY)
    return chain.pipeline.serve(FEBRUARY)


def serve_march(chain):
    return chain.pipeline.serve(MARCH)


@pytest.fixture
def chain(chains, request, tmp_path):
    """A chain of the test's own, after the steps that it has `begun` with."""
    with chains.after(getattr(request, "param", ()), tmp_path / "archive") as chain:
        yield chain


@pytest.fixture
def client(chain):
    return MlflowClient()


@pytest.fixture(scope="module")
def january(chains, tmp_path_factory):
    """The chain after January with the results of its steps; tests must not change it."""
    with chains.after((run_january,), tmp_path_factory.mktemp("january")) as chain:
        yield chain


def decisions(database_url):
    with psycopg.connect(database_url) as connection:
        return connection.execute(
            "SELECT as_of, candidate_version, production_version, outcome FROM gate.decisions ORDER BY id"
        ).fetchall()


@begun(run_january, run_march)
def test_the_chain_promotes_month_after_month_and_never_an_older_one(chain, client):
    assert decisions(chain.database_url)[0] == (JANUARY, 1, None, rule.PROMOTE)
    trained, decided, _ = chain.steps
    assert decided.figures["decision"] == rule.PROMOTE, decided.reason
    newest = registry.production(client)
    assert (newest.as_of, newest.version) == (MARCH, trained.figures["version"])

    late = chain(FEBRUARY)[1]
    assert late.figures["decision"] == rule.KEEP
    assert "2024-02-29" in late.reason
    assert registry.production(client) == newest


@begun(run_january, run_march)
def test_a_promotion_leaves_one_version_in_production_with_alias_and_tags(chain, client):
    version = chain.steps[0].figures["version"]
    stages = {int(each.version): each.current_stage for each in client.search_model_versions("name='streamflow_churn'")}
    assert stages == {1: "Archived", version: "Production"}
    assert int(client.get_model_version_by_alias("streamflow_churn", "champion").version) == version
    tags = registry.get_version(client, version).tags
    assert tags["gate.decision"] == rule.PROMOTE
    assert tags["gate.reason"]


def test_every_version_says_what_it_was_trained_on(january):
    tags = registry.get_version(MlflowClient(), 1).tags
    assert {
        "as_of": "2024-01-31",
        "feature_service": FEATURE_SERVICE,
        "cohort_salt": SALT,
        "graded_on": "2024-01-31",
    }.items() <= tags.items()
    assert len(tags["data_digest"]) == 64
    assert 0 < float(tags["threshold"]) < 1
    assert tags["git_commit"]


def test_a_run_in_mlflow_has_parameters_metrics_schema_signature_example_and_dataset(january):
    figures = january.steps[0].figures
    run = MlflowClient().get_run(figures["run_id"])
    assert {"as_of", "random_state", "model_type", "C"} <= run.data.params.keys()
    assert {"cohort_auc", "cohort_f1", "cohort_accuracy", "train_seconds", "train_rows"} <= run.data.metrics.keys()
    assert len(run.inputs.dataset_inputs) == 1
    schema = json.loads(mlflow.artifacts.load_text(f"runs:/{figures['run_id']}/feature_schema.json"))
    assert list(schema)[:2] == ["months_active", "monthly_fee"]
    assert list(schema) == list(feature_types(january.training_set(JANUARY).service))
    info = mlflow.models.get_model_info(f"models:/streamflow_churn/{figures['version']}")
    assert info.signature.inputs.input_names() == list(schema)
    assert info.saved_input_example_info


def test_rerunning_a_date_trains_and_decides_nothing_new(january):
    again = january(JANUARY)
    assert [step.outcome for step in again] == [UNCHANGED, UNCHANGED, UNCHANGED]
    assert again[0].figures["version"] == january.steps[0].figures["version"]
    assert len(decisions(january.database_url)) == 1


@begun(run_january)
def test_changed_parameters_train_a_new_version(chain, monkeypatch):
    first = chain.steps[0]
    monkeypatch.setattr(training.recipe, "Parameters", lambda: replace(QUICK, folds=4))
    second = train(JANUARY, chain.database_url)
    assert second.outcome == DONE
    assert second.figures["version"] == first.figures["version"] + 1


@begun(run_january)
def test_another_value_trains_a_new_version_of_the_same_recipe_with_its_threshold_and_profit(chain):
    value, dearer = Value(10.0, 0.3, 200.0), Value(40.0, 0.3, 200.0)
    first, second = (train(JANUARY, chain.database_url, replace(QUICK, value=each)) for each in (value, dearer))
    assert (first.outcome, second.outcome) == (DONE, DONE)
    again = train(JANUARY, chain.database_url, replace(QUICK, value=value))
    assert (again.outcome, again.figures["version"]) == (UNCHANGED, first.figures["version"])
    assert train(JANUARY, chain.database_url).figures["version"] == chain.steps[0].figures["version"]
    by_f1, cheap, dear = (
        registry.get_version(MlflowClient(), step.figures["version"]) for step in (chain.steps[0], first, second)
    )
    assert cheap.threshold < by_f1.threshold < dear.threshold
    runs = [MlflowClient().get_run(each.run_id).data for each in (by_f1, cheap, dear)]
    assert len({run.params["recipe"] for run in runs}) == 1
    assert len({run.metrics["cohort_auc"] for run in runs}) == 1
    assert not [name for run in runs[:1] for name in (*run.params, *run.metrics) if "profit" in name or "empc" in name]
    assert runs[1].params.items() >= {"contact_cost": "10.0", "success_rate": "0.3", "margin": "200.0"}.items()
    grades = read_evidence(cheap.run_id, "grades")
    labels, scores = grades["churn_label"].to_numpy(), grades["score"].to_numpy()
    assert runs[1].metrics["cohort_expected_profit"] == expected_profit(labels, scores >= cheap.threshold, value)
    assert runs[1].metrics["cohort_empc"] == empc(labels, scores, value)
    assert 0 < runs[1].metrics["out_of_fold_expected_profit"] <= runs[1].metrics["out_of_fold_empc"]


def test_no_customer_of_the_gate_cohort_is_trained_on_or_left_ungraded(january, monkeypatch):
    learnt = []
    fit = recipe.fit

    def watched(chosen, learned, types, parameters):
        learnt.append(len(learned))
        return fit(chosen, learned, types, parameters)

    monkeypatch.setattr(recipe, "fit", watched)
    rows = january.training_set(JANUARY)
    candidate = fit_candidate(rows, QUICK)
    assert max(learnt) == (~rows.cohort & ~rows.audit).sum()
    assert candidate.grades["user_id"].to_pylist() == rows.users(rows.cohort).to_pylist()
    assert cohorts(candidate.grades["user_id"].to_pylist())[0].all()
    assert cohorts(candidate.audit["user_id"].to_pylist())[1].all()
    trained_on = candidate.trained_on["user_id"].to_pylist()
    assert not np.any(cohorts(trained_on))


@begun(serve_february)
def test_with_two_dates_the_recipe_is_graded_by_a_twin_that_did_not_see_the_newest(chain):
    rows = chain.training_set(FEBRUARY)
    candidate = fit_candidate(rows, QUICK)
    assert (candidate.out_of_time, candidate.graded_on) == (True, FEBRUARY)
    learnt = ~rows.cohort & ~rows.audit & rows.on(JANUARY)
    earlier = recipe.Rows(
        rows.features(learnt), rows.labels(learnt), rows.users(learnt).to_numpy(), rows.on(FEBRUARY)[learnt]
    )
    twin = recipe.fit(candidate.selection.recipe, earlier, feature_types(rows.service), QUICK)
    expected = score(twin, rows.features(rows.cohort & rows.on(FEBRUARY)))
    assert np.array_equal(candidate.grades["score"].to_numpy(), expected)


def test_the_same_training_set_gives_the_same_candidate_to_the_bit(january):
    rows = january.training_set(JANUARY)
    candidate = fit_candidate(rows, QUICK)
    assert candidate.grades.equals(read_evidence(january.steps[0].figures["run_id"], "grades"))
    assert repr(candidate.threshold) == registry.get_version(MlflowClient(), 1).tags["threshold"]


def test_a_registered_model_scores_like_the_trained_one(january):
    rows = january.training_set(JANUARY)
    loaded = score(load_pipeline(1, january.database_url), rows.features(rows.cohort))
    assert np.array_equal(loaded, read_evidence(january.steps[0].figures["run_id"], "grades")["score"].to_numpy())


@begun(serve_february)
def test_earlier_dates_of_which_only_leavers_are_known_do_not_keep_a_model_from_being_graded(chain):
    with psycopg.connect(chain.database_url) as connection:
        connection.execute("DELETE FROM snapshots.labels_snapshots WHERE as_of = %s AND NOT churn_label", [JANUARY])
    candidate = fit_candidate(chain.training_set(FEBRUARY), QUICK)
    assert (candidate.out_of_time, candidate.graded_on) == (False, FEBRUARY)
    assert candidate.metrics["cohort_auc"] > 0.7


def test_without_labels_no_version_is_trained(pipeline, mlflow_uri):
    write_drop(pipeline.landing, JANUARY, ["a", "b"])
    pipeline.serve(JANUARY)
    with pytest.raises(NothingToLearn, match=r"labels\.csv"):
        train(JANUARY, pipeline.database_url)


@begun(serve_january)
def test_a_wrong_signature_fails_the_gate_and_is_recorded(chain, client, monkeypatch):
    signature_of = registration.signature_of
    monkeypatch.setattr(registration, "signature_of", lambda types: signature_of(dict(list(types.items())[:-1])))
    version = train(JANUARY, chain.database_url).figures["version"]
    for _ in range(2):
        with pytest.raises(GateInvalid, match="ticket_avg_resolution_hrs_90d"):
            grade(version, chain.database_url)
    assert decisions(chain.database_url) == [(JANUARY, version, None, rule.INVALID)]
    assert registry.get_version(client, version).tags["gate.decision"] == rule.INVALID
    assert registry.production(client) is None


@begun(run_january)
def test_a_person_who_moves_production_while_a_candidate_is_graded_wins(chain, client):
    chain.pipeline.serve(FEBRUARY)
    by_hand = train(FEBRUARY, chain.database_url).figures["version"]
    chain.pipeline.serve(MARCH)
    version = train(MARCH, chain.database_url).figures["version"]
    decided = grade(version, chain.database_url)
    assert decided.figures["decision"] == rule.PROMOTE
    client.transition_model_version_stage(
        "streamflow_churn", str(by_hand), "Production", archive_existing_versions=True
    )
    moved = chain.promote(decided)
    assert moved.outcome == promotion.KEPT
    assert registry.production(client).version == by_hand
    assert decisions(chain.database_url)[-1] == (MARCH, version, 1, rule.KEEP)


@begun(run_january, run_march)
def test_clearing_an_old_promotion_does_not_undo_a_persons_choice(chain, client):
    decided = chain.steps[1]
    client.transition_model_version_stage("streamflow_churn", "1", "Production", archive_existing_versions=True)
    assert chain.promote(decided).outcome == promotion.KEPT
    assert registry.production(client).version == 1


@begun(serve_january, train_january)
def test_labels_that_changed_since_training_call_for_training_again(chain):
    version = chain.steps.figures["version"]
    with psycopg.connect(chain.database_url) as connection:
        connection.execute("UPDATE snapshots.labels_snapshots SET churn_label = NOT churn_label")
    with pytest.raises(StaleCandidate, match="clear the task train"):
        grade(version, chain.database_url)
    assert decisions(chain.database_url) == []


@begun(run_january, run_march)
def test_a_rerun_does_not_promote_a_version_that_a_person_removed(chain, client):
    newest = chain.steps[0].figures["version"]
    client.transition_model_version_stage("streamflow_churn", "1", "Production", archive_existing_versions=True)
    for _ in range(2):
        decided = chain(MARCH)[1]
        assert decided.figures["decision"] == rule.KEEP
        assert f"version {newest} was in Production" in decided.reason
    assert registry.production(client).version == 1
    assert len(decisions(chain.database_url)) == 3


@begun(serve_january, train_january)
@pytest.mark.parametrize(
    "step", ["transition_model_version_stage", "set_registered_model_alias", "set_model_version_tag"]
)
def test_a_promotion_killed_before_any_step_is_completed_by_the_next_run(chain, client, monkeypatch, step):
    version = chain.steps.figures["version"]
    decided = grade(version, chain.database_url)

    class Killed(BaseException):
        pass

    def kill(*_, **__):
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(MlflowClient, step, kill)
        with pytest.raises(Killed):
            chain.promote(decided)
    chain.promote(grade(version, chain.database_url))
    assert registry.production(client).version == version
    assert int(client.get_model_version_by_alias("streamflow_churn", "champion").version) == version
    assert registry.get_version(client, version).tags["gate.decision"] == rule.PROMOTE


@begun(run_january, serve_march)
def test_a_production_trained_on_the_cohort_is_left_to_a_person(chain, client):
    client.set_model_version_tag("streamflow_churn", "1", "cohort_salt", "another")
    trained, decided, _ = chain(MARCH)
    assert decided.figures["decision"] == rule.KEEP
    assert "cohort salt" in decided.reason
    assert registry.get_version(client, trained.figures["version"]).stage == "Staging"


def test_the_real_january_drop_gives_an_auc_of_at_least_079(pipeline_on, real_drops, mlflow_uri):
    pipeline = pipeline_on(real_drops)
    pipeline.serve(JANUARY)
    assert train(JANUARY, pipeline.database_url).figures["cohort_auc"] >= 0.79


# --- what other sessions and people do meanwhile -------------------------------------------------------------------


@pytest.fixture
def impatient(chain):
    """A database that ends every session after it has idled for a second."""
    with psycopg.connect(chain.database_url, autocommit=True) as connection:
        for limit in ("idle_in_transaction_session_timeout", "idle_session_timeout"):
            connection.execute(f"ALTER DATABASE {connection.info.dbname} SET {limit} = '1s'")
    return chain


@begun(serve_january)
def test_concurrent_trainings_register_one_version_despite_idle_session_timeouts(impatient, monkeypatch):

    def slowly(*arguments):
        time.sleep(2)
        return fit_candidate(*arguments)

    monkeypatch.setattr(training, "fit_candidate", slowly)
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(train, [JANUARY] * 2, [impatient.database_url] * 2))
    assert sorted(each.outcome for each in done) == [DONE, UNCHANGED]
    assert [each.version for each in registry.find_versions(MlflowClient(), {})] == [1]


@begun(serve_january)
def test_no_transaction_idles_while_features_are_joined(chain, monkeypatch):
    join, idle = training_set.join_features, []

    def look(*arguments, **named):
        with psycopg.connect(chain.database_url) as connection:
            query = "SELECT count(*) FROM pg_stat_activity WHERE state = %s AND datname = current_database()"
            idle.append(connection.execute(query, ["idle in transaction"]).fetchone()[0])
        return join(*arguments, **named)

    monkeypatch.setattr(training_set, "join_features", look)
    chain.training_set(JANUARY)
    assert idle == [0]


@begun(serve_january)
def test_a_deleted_experiment_fails_the_training_before_fitting_with_advice(chain, client, monkeypatch):
    number = client.create_experiment("streamflow")
    client.delete_experiment(number)
    with monkeypatch.context() as patched:
        patched.setattr(training, "fit_candidate", lambda *_: pytest.fail("it was fitted"))
        with pytest.raises(ExperimentDeleted, match=f"mlflow experiments restore --experiment-id {number}"):
            train(JANUARY, chain.database_url)
    client.restore_experiment(number)
    assert train(JANUARY, chain.database_url).outcome == DONE


@begun(run_january, serve_march)
@pytest.mark.parametrize(
    ("tag", "value"), [("as_of", "31.01.2024"), ("feature_service", "churn_v9"), ("feature_service", None)]
)
def test_a_production_whose_tags_cannot_be_read_is_left_to_a_person(chain, client, tag, value):
    if value:
        client.set_model_version_tag("streamflow_churn", "1", tag, value)
    else:
        client.delete_model_version_tag("streamflow_churn", "1", tag)
    trained, decided, _ = chain(MARCH)
    assert decided.figures["decision"] == rule.KEEP
    assert (value or "no tag feature_service") in decided.reason
    assert registry.get_version(client, trained.figures["version"]).stage == "Staging"


def test_retention_keeps_a_version_returned_by_a_training_for_its_gate(chain):
    chain(MARCH)
    older = chain(JANUARY)[0].figures["version"]
    make_older(older, 40)
    assert train(JANUARY, chain.database_url).outcome == UNCHANGED
    assert expire_versions(30, chain.database_url).figures["versions"] == []
    assert grade(older, chain.database_url).figures["decision"] == rule.KEEP
