"""The drifted columns among the metrics, read as the service's own role."""

import psycopg
import pytest

from serving import state, verdict_watch
from serving.app import create_app
from serving.settings import Settings
from tests.integration.serving.roles import as_role
from tests.integration.serving.shared_service.asking import AS_OF, predict
from tests.made_outcomes import insert_drift


@pytest.fixture
def app(database_url, registry, monkeypatch):
    monkeypatch.setattr(verdict_watch, "READ_EVERY_SECONDS", 0)
    return create_app(Settings(as_role(database_url), registry.tracking_uri))


@pytest.fixture(autouse=True)
def nothing_compared(database_url):
    """The database is shared, and findings are append-only."""
    yield
    with psycopg.connect(database_url) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("DELETE FROM drift.columns")


def series(client, name="churn_drifted_columns"):
    """Return the value of each series of a gauge, as of now."""
    state.of(client.application).model.poll()
    lines = client.get("/metrics").text.splitlines()
    return {of: float(value) for of, value in (x.rsplit(" ", 1) for x in lines if x.startswith(f"{name}{{"))}


def of(**counts):
    return {f'churn_drifted_columns{{reference="{name}"}}': float(count) for name, count in counts.items()}


def test_flagged_columns_of_the_newest_comparison_are_counted_by_reference(client, database_url):
    assert series(client) == {}
    for column in ("skips_7d", "monthly_fee"):
        insert_drift(database_url, AS_OF, column, "PSI 0.3")
    insert_drift(database_url, AS_OF, "skips_7d", "PSI 0.0", reference="before", finding="none", flagged=False)
    assert series(client) == of(version=2, before=0)
    insert_drift(database_url, AS_OF, "skips_7d", "PSI 0.0", revision=2, finding="none", flagged=False)
    assert series(client) == of(version=0)


def test_what_cannot_be_read_is_absent_and_logged_and_the_verdict_and_predictions_go_on(
    client, database_url, register, promote, somebody, caplog
):
    promote(register())
    insert_drift(database_url, AS_OF, "skips_7d", "PSI 0.3")
    assert series(client) == of(version=1)
    rights = "SELECT ON drift.drifted_columns"
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(f"REVOKE {rights} FROM churn_serving")
        try:
            assert series(client) == {}
            assert len(series(client, "churn_model_verdict")) == 4
            assert predict(client, somebody)[0] == 200
        finally:
            connection.execute(f"GRANT {rights} TO churn_serving")
    assert "how many columns drifted cannot be read: InsufficientPrivilege" in caplog.text
    assert series(client) == of(version=1)
