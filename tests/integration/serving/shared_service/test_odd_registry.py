"""What people set in MLflow by hand: serving, status and doctor say what is odd and what counts."""

import threading
from dataclasses import replace
from urllib.parse import urlsplit

import pytest
from werkzeug.serving import make_server

from churn.registry.model_version import MODEL_NAME, ModelVersion
from embedded.operator import model_registry, status
from embedded.operator.doctor.finding import BAD, WARN
from embedded.operator.doctor.pipeline import judge_serving
from embedded.settings import load_settings
from serving import state
from tests.integration.serving.shared_service.asking import served_version


@pytest.fixture
def settings(models, postgres, database_url, tmp_path):
    """What status and doctor are run with."""
    port = urlsplit(models[0]).port
    return load_settings({"CHURN_HOME": str(tmp_path), "MLFLOW_PORT": str(port), "CHURN_POSTGRES": postgres.get_uri()})


@pytest.fixture
def say(app, settings):
    """Return what /health/ready says of the registry, and what status and doctor do."""

    def both():
        state.of(app).model.poll()
        ready = app.test_client().get("/health/ready").get_json()
        odd = model_registry.registry_oddities(settings, model_registry.registered_versions(settings))
        return ready, [str(each) for each in odd]

    return both


@pytest.fixture
def champion(registry):
    """Points alias champion at a version, as a promotion does, or somebody by hand."""
    yield lambda version: registry.set_registered_model_alias(MODEL_NAME, "champion", str(version))
    registry.delete_registered_model_alias(MODEL_NAME, "champion")


def test_a_registry_in_order_is_not_odd(say, register, promote, champion):
    champion(promote(register()))
    ready, odd = say()
    assert (ready["registry"], ready["trouble"], odd) == ([], None, [])


def test_of_two_versions_in_production_the_higher_number_is_served_and_both_are_named(
    say, client, registry, register, promote, somebody
):
    low, high = register(), promote(register())
    registry.transition_model_version_stage(MODEL_NAME, str(low), "Production")
    assert served_version(client, somebody) == high
    ready, odd = say()
    assert ready["registry"] == odd
    assert odd[0].startswith(f"versions {low} and {high} are both in stage Production: version {high}")


def test_an_alias_that_was_moved_by_hand_is_named_and_does_not_count(
    say, client, register, promote, champion, somebody
):
    other, held = register(), promote(register())
    champion(other)
    assert served_version(client, somebody) == held
    ready, odd = say()
    assert ready["registry"] == odd
    assert odd[0].startswith(f"alias champion names version {other}, and stage Production holds version {held}")
    champion(held)
    assert say()[0]["registry"] == []


def test_an_alias_beside_an_empty_production_is_named_where_serving_is_not_ready(say, register, champion):
    champion(register())
    ready, odd = say()
    assert ready["status"] == 503
    assert f"model-unavailable: {odd[0]}" in ready["reasons"]


@pytest.mark.parametrize(("tag", "value"), [("threshold", "0,5"), ("threshold", "45%"), ("as_of", "31.01.2024")])
def test_a_tag_that_is_changed_to_what_cannot_be_read_is_named_and_the_version_goes_on_answering(
    say, registry, register, promote, tag, value
):
    version = promote(register())
    say()
    registry.set_model_version_tag(MODEL_NAME, str(version), tag, value)
    ready, odd = say()
    assert ready["model"]["version"] == version
    assert f"the tag {tag} {value!r}" in ready["trouble"]
    assert f"the tag {tag} {value!r}" in odd[0]
    assert f"version {version} is in Production and cannot be served" in odd[0]


def test_a_feature_service_that_feast_does_not_know_is_named(say, register, promote):
    promote(register(feature_service="churn_v9"))
    ready, odd = say()
    assert "churn_v9" in ready["detail"]
    assert "Feast does not know its feature service 'churn_v9'" in odd[0]
    assert "churn_v1" in odd[0]


def test_without_a_registered_model_nothing_is_odd(settings, monkeypatch):
    monkeypatch.setattr(model_registry, "MODEL_NAME", "another")
    assert model_registry.registry_oddities(settings, []) == []


# --- a version whose files nobody vouched for ----------------------------------------------------------------------


@pytest.fixture
def listening(app, settings):
    """The settings of a stack whose service listens."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield replace(settings, serving_port=server.port)
    server.shutdown()
    thread.join()


def test_a_version_that_is_not_trusted_is_named_with_what_to_do_by_ready_status_and_doctor(
    listening, register, promote
):
    good = promote(register())
    bad = promote(register("of_nobody", why=None))
    advice = f"make trust VERSION={bad} "
    assert advice in status.ready(listening)[1]["trouble"]
    assert status.serving_report(listening).startswith(f"serving goes on with version {good}: version {bad} in stage ")
    assert advice in status.serving_report(listening)
    found = judge_serving(*status.ready(listening), ModelVersion(bad, "", "Production", {}))
    assert (found.outcome, advice in found.advice) == (WARN, True)


def test_where_no_other_version_is_served_ready_status_and_doctor_name_it_too(listening, register, promote):
    bad = promote(register("of_nobody", why=None))
    advice = f"make trust VERSION={bad} "
    code, answer = status.ready(listening)
    assert (code, advice in answer["detail"]) == (503, True)
    assert advice in status.serving_report(listening)
    found = judge_serving(code, answer, ModelVersion(bad, "", "Production", {}))
    assert (found.outcome, advice in found.found) == (BAD, True)
