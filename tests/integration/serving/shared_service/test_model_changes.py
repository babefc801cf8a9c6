"""The version in stage Production is what answers, from the next look at the registry on, unless it cannot."""

from unittest.mock import Mock

import pytest

import serving.model
from churn.registry.model_version import MODEL_NAME
from serving import state
from serving.app import create_app, start, stop
from serving.features import OnlineStore
from serving.settings import Settings
from tests.integration.serving.shared_service.asking import eventually, predict, served_version, to_production


def loads(client):
    lines = client.get("/metrics").text.splitlines()
    return {line for line in lines if line.startswith("churn_model_loads_total")}


def test_without_a_version_in_production_the_reason_is_given(app, client, register, somebody):
    register()
    state.of(app).model.poll()
    status, answer = predict(client, somebody)
    assert (status, answer["type"]) == (503, "model-unavailable")
    assert "stage Production" in answer["detail"]


def test_a_promotion_is_picked_up_and_so_is_a_rollback_by_hand(client, register, promote, somebody):
    old, new = register(0.25), register(0.75)
    for version in (old, new, old):
        promote(version)
        assert served_version(client, somebody) == version


def test_a_changed_threshold_counts_from_the_next_poll(client, registry, register, promote, somebody):
    version = promote(register(0.25))
    registry.set_model_version_tag(MODEL_NAME, str(version), "threshold", "0.2")
    state.of(client.application).model.poll()
    assert predict(client, somebody)[1]["prediction"] == 1


def test_a_version_of_another_run_under_the_same_number_is_picked_up(client, registry, register, promote, somebody):
    """The model was deleted and made again, or MLflow restored: its numbers begin again."""
    number = promote(register(0.25))
    assert predict(client, somebody)[1]["churn_probability"] == 0.25
    registry.delete_registered_model(MODEL_NAME)
    registry.create_registered_model(MODEL_NAME)
    while register(0.75) < number:
        pass
    promote(number)
    answer = predict(client, somebody)[1]
    assert (answer["model"]["version"], answer["churn_probability"]) == (number, 0.75)


def test_a_version_taken_out_of_production_is_served_no_more(client, registry, register, promote, somebody):
    version = promote(register())
    registry.transition_model_version_stage(MODEL_NAME, str(version), "Archived")
    state.of(client.application).model.poll()
    assert predict(client, somebody)[0] == 503


def test_a_version_that_cannot_be_loaded_leaves_the_old_one_in_place(client, register, promote, somebody, caplog):
    old, broken = promote(register()), register(threshold=None)
    promote(broken)
    assert served_version(client, somebody) == old
    assert f"version {broken} in stage Production cannot be loaded" in caplog.text


def test_a_version_that_is_refused_is_counted_as_a_failure(client, register, promote):
    before = loads(client)
    promote(register(threshold=None))
    assert [line.split()[0] for line in loads(client) - before] == ['churn_model_loads_total{outcome="failure"}']


@pytest.fixture
def patient(database_url, registry):
    """The service where what was refused is not tried again during a test."""
    return create_app(Settings(database_url, registry.tracking_uri, poll_seconds=3600))


def test_a_version_that_a_passing_fault_kept_from_being_read_does_not_wait_as_a_refused_one_does(
    patient, in_production, monkeypatch
):
    model = state.of(patient).model
    monkeypatch.setattr(serving.model, "_LONGEST_PAUSE_IN_DOUBT_SECONDS", 0)
    with monkeypatch.context() as fault:
        fault.setattr(serving.model, "load_scorer", Mock(side_effect=ConnectionError("the artifact store is away")))
        model.poll()
        assert f"version {in_production} in stage Production cannot be loaded" in model.trouble
    model.poll()
    assert (model.served.version, model.trouble) == (in_production, None)


def test_why_a_version_is_refused_is_told_again_after_the_registry_was_away(patient, registry, register, monkeypatch):
    to_production(registry, register(threshold=None))
    model = state.of(patient).model
    model.poll()
    refused = model.trouble
    assert "threshold" in refused
    with monkeypatch.context() as fault:
        fault.setattr(serving.model, "production", Mock(side_effect=ConnectionError))
        model.poll()
        assert "registry cannot be asked" in model.trouble
    model.poll()
    assert model.trouble == refused


def test_a_version_whose_features_cannot_be_looked_up_is_not_counted_as_refused(registry, in_production):
    app = create_app(Settings("postgresql://nobody@127.0.0.1:1/churn", registry.tracking_uri))
    before = loads(app.test_client())
    state.of(app).model.poll()
    counted = [line.split()[0] for line in loads(app.test_client()) - before]
    assert counted == ['churn_model_loads_total{outcome="no-features"}']


def test_a_feature_service_that_is_not_registered_is_named(client, register, promote, somebody):
    promote(register(feature_service="churn_v9"))
    status, answer = predict(client, somebody)
    assert (status, answer["type"]) == (503, "feature-store-unavailable")
    assert "churn_v9" in answer["detail"]


def test_a_version_that_cannot_score_these_features_is_named_and_never_served(client, register, promote, somebody):
    version = promote(register("of one number"))
    answer = client.post("/predict", json={"user_id": somebody})
    assert (answer.status_code, answer.json["type"]) == (503, "model-unavailable")
    assert f"version {version}" in answer.json["detail"]
    good = promote(register())
    promote(version)
    assert served_version(client, somebody) == good
    assert f"version {version}" in client.get("/health/ready").json["trouble"]


def test_the_service_is_ready_when_it_has_a_model_and_features(client, register, promote):
    version = promote(register())
    ready = client.get("/health/ready")
    assert (ready.status_code, ready.get_json()["model"]["version"]) == (200, version)


def test_an_error_that_nobody_expected_is_counted_and_told_and_does_not_end_the_thread(
    app, client, registry, in_production, monkeypatch, caplog
):
    registry.transition_model_version_stage(MODEL_NAME, str(in_production), "Archived")
    monkeypatch.setattr(serving.model, "_LONGEST_PAUSE_AFTER_ERROR_SECONDS", 0.2)
    before = poll_errors(client)
    with monkeypatch.context() as fault:
        fault.setattr(OnlineStore, "lookup", Mock(side_effect=ValueError("a setting that cannot be")))
        start(app)
        eventually(lambda: poll_errors(client) >= before + 2)
        ready = client.get("/health/ready")
        assert (ready.status_code, client.get("/health").status_code) == (503, 200)
        assert "stage Production cannot be followed; the service's log has the reason" in ready.json["detail"]
        assert "ValueError: a setting that cannot be" in caplog.text
    to_production(registry, in_production)
    eventually(lambda: client.get("/health/ready").status_code == 200)
    assert client.get("/health/ready").json["trouble"] is None
    stop(app)


def poll_errors(client):
    lines = client.get("/metrics").text.splitlines()
    return sum(float(line.split()[1]) for line in lines if line.startswith("churn_registry_poll_errors_total"))


def test_the_registry_is_followed_without_a_restart(app, client, registry, register, somebody):
    start(app)
    to_production(registry, register())
    eventually(lambda: predict(client, somebody)[0] == 200)
    stop(app)
