"""Versions that training registers, as serving loads them: compiled, proved, explained; or refused, with the reason."""

import re
from dataclasses import replace
from datetime import date

import mlflow
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from mlflow import MlflowClient

from churn.registry import client as registry
from churn.registry import version_scorer
from churn.registry.evidence import RunEvidence, read_evidence
from churn.registry.loading import load_pipeline
from churn.registry.model_version import MODEL_NAME
from churn.scoring import check
from churn.scoring.scorer import score_online
from churn.synthetic.generate import write_drops
from churn.training import recipe
from churn.training import train as training
from churn.training.train import train
from serving import state
from serving.app import create_app
from serving.settings import Settings
from tests.conftest import database_copy, tracking
from tests.integration.conftest import Pipeline

JANUARY = date(2024, 1, 31)
FAMILIES = ("logistic regression", "random forest", "boosted trees")


@pytest.fixture(scope="module")
def world(postgres_url, churn_template, mlflow_template, tmp_path_factory):
    """A served January, and a version of each family: (database's URL, {family: version})."""
    directory = tmp_path_factory.mktemp("world")
    write_drops(directory / "drops", customers=1500, months=1, seed=5)
    with (
        database_copy(postgres_url, churn_template) as database_url,
        tracking(postgres_url, mlflow_template, directory),
        pytest.MonkeyPatch.context() as patched,
    ):
        Pipeline(database_url, directory / "drops", directory / "archive").serve(JANUARY)
        versions, usual = {}, recipe.Parameters()
        for family in FAMILIES:
            parameters = replace(usual, families=(family,))
            patched.setattr(training.recipe, "Parameters", lambda parameters=parameters: parameters)
            versions[family] = train(JANUARY, database_url).figures["version"]
        yield database_url, versions


@pytest.fixture
def app(world):
    # What was refused is tried again at once.
    return create_app(Settings(world[0], mlflow.get_tracking_uri(), poll_seconds=0.001))


def serve(app, version):
    MlflowClient().transition_model_version_stage(MODEL_NAME, str(version), "Production", True)
    model = state.of(app).model
    model.poll()
    return model.served


def users(world, count):
    import psycopg

    with psycopg.connect(world[0]) as connection:
        found = connection.execute("SELECT user_id FROM online.subs_profile_fv ORDER BY user_id LIMIT %s", [count])
        return [user for (user,) in found]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_version_of_each_family_is_compiled_and_answers_as_its_pipeline_does(world, app, family):
    version = world[1][family]
    assert serve(app, version).is_compiled
    results = app.test_client().post("/predict/batch", json={"user_ids": users(world, 300)}).get_json()["results"]
    answers = [each["prediction"] for each in results]
    pipeline, service = load_pipeline(version, world[0]), state.of(app).model.served.lookup.service
    expected = score_online(pipeline, [each["features_used"] for each in answers], service)
    assert [each["churn_probability"] for each in answers] == pytest.approx(list(expected), abs=1e-9)
    assert len({each["churn_probability"] for each in answers}) > 20


def test_an_explanation_tells_of_each_feature_what_it_did_the_largest_first(world, app):
    serve(app, world[1]["logistic regression"])
    (user,) = users(world, 1)
    answer = app.test_client().post("/predict?explain=true", json={"user_id": user}).get_json()
    effects = answer["explanation"]["effects"]
    assert "Robnik" in answer["explanation"]["method"]
    assert {each["feature"]: each["value"] for each in effects} == answer["features_used"]
    sizes = [abs(each["effect"]) for each in effects]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > 0.01


def test_a_version_that_compiled_would_answer_otherwise_is_served_by_its_pipeline_and_says_so(
    world, app, monkeypatch, caplog
):
    # A compiler that is wrong about one row in many.
    compiled = check.compile_pipeline
    monkeypatch.setattr(check, "compile_pipeline", lambda *parts: Shifted(compiled(*parts)))
    served = serve(app, world[1]["boosted trees"])
    assert not served.is_compiled
    assert "the compiled scores differ" in caplog.text
    assert re.search(r"^churn_scorer_compiled(\{.*\})? 0\.0$", app.test_client().get("/metrics").text, re.MULTILINE)


class Shifted:
    def __init__(self, scorer):
        self.scorer, self.encoder = scorer, scorer.encoder

    def probabilities(self, rows):
        found = self.scorer.probabilities(rows)
        found[-1] += 1e-5
        return found


def test_a_version_that_does_not_score_its_golden_rows_as_in_training_never_replaces_one_that_does(world, app, caplog):
    good, bad = world[1]["random forest"], world[1]["logistic regression"]
    run_id = registry.get_version(MlflowClient(), bad).run_id
    kept = {name: read_evidence(run_id, name) for name in RunEvidence.__dataclass_fields__}
    golden = kept["golden"]
    column = golden.schema.get_field_index("score")
    moved = golden.set_column(column, "score", pc.multiply(golden["score"], pa.scalar(0.9)))
    RunEvidence(**{**kept, "golden": moved}).log(run_id)
    try:
        serve(app, good)
        assert serve(app, bad).version == good
        assert "golden rows" in caplog.text
        assert "golden rows" in app.test_client().get("/health/ready").get_json()["trouble"]
    finally:
        RunEvidence(**kept).log(run_id)
    assert serve(app, bad).version == bad
    assert app.test_client().get("/health/ready").get_json()["trouble"] is None


def test_a_version_with_a_threshold_that_is_no_probability_is_refused(world, app, caplog):
    good, bad = world[1]["random forest"], world[1]["logistic regression"]
    serve(app, good)
    client, threshold = MlflowClient(), registry.get_version(MlflowClient(), bad).tags["threshold"]
    client.set_model_version_tag(MODEL_NAME, str(bad), "threshold", "nan")
    try:
        assert serve(app, bad).version == good
        assert "no probability" in caplog.text
    finally:
        client.set_model_version_tag(MODEL_NAME, str(bad), "threshold", threshold)


def test_a_refused_version_is_not_loaded_at_every_poll_but_at_once_when_its_tags_change(world, caplog):
    app = create_app(Settings(world[0], mlflow.get_tracking_uri(), poll_seconds=60))
    good, bad = world[1]["random forest"], world[1]["logistic regression"]
    serve(app, good)
    client, threshold = MlflowClient(), registry.get_version(MlflowClient(), bad).tags["threshold"]
    client.set_model_version_tag(MODEL_NAME, str(bad), "threshold", "nan")
    try:
        for _ in range(3):
            assert serve(app, bad).version == good
        assert caplog.text.count("cannot be loaded") == 1
        assert "no probability" in state.of(app).model.trouble
    finally:
        client.set_model_version_tag(MODEL_NAME, str(bad), "threshold", threshold)
    assert serve(app, bad).version == bad


def test_a_compiler_that_fails_leaves_the_pipeline_to_answer(world, app, monkeypatch, caplog):
    monkeypatch.setattr(check, "prove", lambda *_: 1 / 0)
    served = serve(app, world[1]["boosted trees"])
    assert not served.is_compiled
    assert "could not be compiled" in caplog.text


def test_a_model_that_was_trained_in_many_threads_answers_in_one(world, app, monkeypatch):
    load = version_scorer.load_model

    def in_many_threads(*asked):
        pipeline, signature = load(*asked)
        return pipeline.set_params(classifier__n_jobs=-1), signature

    monkeypatch.setattr(version_scorer, "load_model", in_many_threads)
    monkeypatch.setattr(check, "prove", lambda *_: 1 / 0)
    served = serve(app, world[1]["random forest"])
    assert served.scorer.pipeline[-1].n_jobs == 1


def test_a_version_of_another_signature_never_replaces_one_of_this(world, app, monkeypatch, caplog):
    good, bad = world[1]["random forest"], world[1]["logistic regression"]
    serve(app, good)
    wanted = version_scorer.signature_of

    def without_the_last(types):
        return wanted(dict(list(types.items())[:-1]))

    monkeypatch.setattr(version_scorer, "signature_of", without_the_last)
    assert serve(app, bad).version == good
    assert "its signature differs from churn_v2 in ticket_avg_resolution_hrs_90d" in caplog.text


def test_what_is_answered_is_put_into_the_prediction_log(world, app):
    serving, kept = state.of(app), []
    serve(app, world[1]["logistic regression"])
    object.__setattr__(serving, "predictions", type("Log", (), {"append": staticmethod(kept.append)}))
    (user,) = users(world, 1)
    client = app.test_client()
    answer = client.post("/predict", json={"user_id": user}, headers={"X-Request-ID": "abc"}).get_json()
    client.post("/predict", json={"user_id": "999999"})
    (row,) = kept
    assert (row.request_id, row.user_id, row.model_version) == ("abc", user, answer["model"]["version"])
    assert (row.churn_probability, row.features) == (answer["churn_probability"], answer["features_used"])
    assert str(row.features_as_of) == answer["features_as_of"]
