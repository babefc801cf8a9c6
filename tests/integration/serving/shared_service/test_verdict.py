"""The verdict on the served version among the metrics, read as the service's own role."""

import psycopg
import pytest

from serving import state, verdict_watch
from serving.app import create_app
from serving.settings import Settings
from tests.integration.serving.roles import as_role
from tests.integration.serving.shared_service.asking import AS_OF, predict, to_production
from tests.made_outcomes import insert_verdict


@pytest.fixture
def app(database_url, registry, monkeypatch):
    monkeypatch.setattr(verdict_watch, "READ_EVERY_SECONDS", 0)
    return create_app(Settings(as_role(database_url), registry.tracking_uri))


def gauges(client):
    """Return the value of each gauge of the verdict, as of now."""
    state.of(client.application).model.poll()
    lines = client.get("/metrics").text.splitlines()
    names = ("churn_model_verdict{", "churn_realized_auc{", "churn_promised_auc{")
    return {name: float(value) for name, value in (x.rsplit(" ", 1) for x in lines if x.startswith(names))}


def of(version, true):
    words = ("as promised", "worse than promised", "no better than chance", "not judged yet")
    return {f'churn_model_verdict{{verdict="{word}",version="{version}"}}': float(word == true) for word in words}


def run_of(registry, version):
    return registry.get_model_version("streamflow_churn", str(version)).run_id


def test_a_verdict_shows_with_both_figures_until_another_version_is_in_production(
    client, database_url, registry, register, promote
):
    version = promote(register())
    assert gauges(client) == of(version, "not judged yet")
    insert_verdict(database_url, version, run_of(registry, version), "no better than chance", AS_OF)
    assert gauges(client) == of(version, "no better than chance") | {
        f'churn_realized_auc{{as_of="{AS_OF}",version="{version}"}}': 0.514,
        f'churn_promised_auc{{version="{version}"}}': 0.83,
    }
    successor = promote(register(0.75))
    assert gauges(client) == of(successor, "not judged yet")


def test_a_verdict_on_another_run_of_the_same_number_does_not_count(client, database_url, register, promote):
    version = promote(register())
    insert_verdict(database_url, version, "another run", "no better than chance", AS_OF)
    assert gauges(client) == of(version, "not judged yet")


def test_a_verdict_that_cannot_be_read_is_absent_and_logged_and_predictions_go_on(
    client, database_url, register, promote, somebody, caplog
):
    version = promote(register())
    assert gauges(client) == of(version, "not judged yet")
    rights = "SELECT ON outcomes.verdicts"
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(f"REVOKE {rights} FROM churn_serving")
        try:
            assert gauges(client) == {}
            assert predict(client, somebody)[0] == 200
        finally:
            connection.execute(f"GRANT {rights} TO churn_serving")
    assert f"the verdict on version {version} cannot be read: InsufficientPrivilege" in caplog.text
    assert gauges(client) == of(version, "not judged yet")


def test_a_verdict_is_read_once_a_minute_and_that_of_a_new_version_at_once(
    client, database_url, registry, register, promote, monkeypatch
):
    monkeypatch.setattr(verdict_watch, "READ_EVERY_SECONDS", 60)
    version = promote(register())
    insert_verdict(database_url, version, run_of(registry, version), "as promised", AS_OF)
    assert gauges(client) == of(version, "not judged yet")
    promote(register(0.75))
    to_production(registry, version)
    assert gauges(client).items() >= of(version, "as promised").items()


def test_without_a_model_there_is_no_verdict(client, registry):
    assert gauges(client) == {}
