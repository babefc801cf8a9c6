"""What is answered about customers, by the real Postgres, Feast and MLflow."""

import psycopg
import pytest

from churn.features.reader import OnlineReader
from churn.features.store import FEATURE_SERVICE
from churn.registry.model_version import MODEL_NAME
from serving import state
from serving.app import create_app
from serving.settings import Settings
from tests.integration.serving.shared_service.asking import AS_OF, eventually, predict


def test_a_prediction_says_what_it_rests_on(client, register, promote, somebody):
    version = promote(register(0.25))
    status, answer = predict(client, somebody)
    assert status == 200
    assert len(answer.pop("features_used")) == 15
    assert answer == {
        "user_id": somebody,
        "prediction": 0,
        "churn_probability": 0.25,
        "threshold": 0.5,
        "model": {"name": MODEL_NAME, "version": version, "as_of": "2024-01-31"},
        "features_as_of": "2024-01-31",
    }


def test_the_features_used_have_the_exact_values_of_the_snapshot(client, register, promote, somebody, database_url):
    promote(register())
    features = predict(client, somebody)[1]["features_used"]
    with psycopg.connect(database_url) as connection:
        snapshot = connection.execute(
            """
            SELECT months_active, monthly_fee, paperless_billing, plan_stream_tv, plan_stream_movies, net_service,
                contract_type, watch_hours_30d, avg_session_mins_7d, unique_devices_30d, skips_7d, rebuffer_events_7d,
                failed_payments_90d, support_tickets_90d, ticket_avg_resolution_hrs_90d
            FROM snapshots.subscriptions_profile_snapshots
            JOIN snapshots.usage_agg_30d_snapshots USING (user_id, as_of)
            JOIN snapshots.payments_agg_90d_snapshots USING (user_id, as_of)
            JOIN snapshots.support_agg_90d_snapshots USING (user_id, as_of)
            WHERE user_id = %s AND as_of = %s
            """,
            [somebody, AS_OF],
        )
        values = snapshot.fetchone()
    assert tuple(features.values()) == values
    assert list(features) == [column.name for column in snapshot.description]


def test_a_probability_at_the_threshold_is_a_prediction_of_1(client, register, promote, somebody):
    promote(register(0.25, threshold="0.25"))
    assert predict(client, somebody)[1]["prediction"] == 1


def test_a_legitimate_null_is_a_value(client, register, promote, customers):
    promote(register())
    offline = customers.index[customers.net_service == "No"][0]
    status, answer = predict(client, offline)
    assert status == 200
    assert answer["features_used"]["plan_stream_tv"] is None


def test_an_unknown_customer_lacks_all_features(client, register, promote):
    promote(register())
    status, answer = predict(client, "999999")
    assert (status, answer["type"], len(answer["missing_features"])) == (404, "unknown-user", 15)


@pytest.fixture
def half_a_customer(database_url, customers):
    """A customer whom one feature view lacks, for the time of a test."""
    user_id = customers.index[1]
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("CREATE TEMP TABLE kept AS SELECT * FROM online.support_agg_90d_fv")
        connection.execute("DELETE FROM online.support_agg_90d_fv WHERE user_id = %s", [user_id])
        yield user_id
        connection.execute("INSERT INTO online.support_agg_90d_fv SELECT * FROM kept WHERE user_id = %s", [user_id])


def test_a_customer_whom_one_view_lacks_is_incomplete(client, register, promote, half_a_customer):
    promote(register())
    status, answer = predict(client, half_a_customer)
    assert (status, answer["type"]) == (409, "incomplete-features")
    assert answer["missing_features"] == ["support_tickets_90d", "ticket_avg_resolution_hrs_90d"]


def test_features_beyond_the_age_limit_are_stale(database_url, registry, somebody):
    app = create_app(Settings(database_url, registry.tracking_uri, max_features_age_days=30))
    state.of(app).model.poll()
    response = app.test_client().get(f"/features/{somebody}")
    assert (response.status_code, response.get_json(force=True)["type"]) == (409, "stale-features")


def test_features_are_shown_though_there_is_no_model(app, client, somebody):
    state.of(app).model.poll()
    answer = client.get(f"/features/{somebody}").get_json()
    assert (answer["feature_service"], answer["features_as_of"]) == (FEATURE_SERVICE, "2024-01-31")
    assert len(answer["features"]) == 15


def test_a_batch_is_answered_in_order_with_the_problem_of_each_who_has_one(client, register, promote, customers):
    version = promote(register())
    asked = [customers.index[2], "999999", customers.index[0], customers.index[2]]
    answer = client.post("/predict/batch", json={"user_ids": asked})
    results = answer.get_json()["results"]
    assert [each["user_id"] for each in results] == asked
    assert [each.get("problem", {}).get("type") for each in results] == [None, "unknown-user", None, None]
    assert {each["prediction"]["model"]["version"] for each in results if "prediction" in each} == {version}
    single = client.post("/predict", json={"user_id": asked[0]}).get_json()
    assert results[0]["prediction"] == results[3]["prediction"] == single


@pytest.mark.parametrize("known", [250, 249, 0], ids=["all known", "one unknown", "nobody known"])
def test_a_batch_is_one_statement(client, register, promote, customers, somebody, monkeypatch, known):
    promote(register())
    # From then on the build is one that was seen.
    predict(client, somebody)
    asked = []
    execute = OnlineReader._execute
    monkeypatch.setattr(OnlineReader, "_execute", lambda *arguments: asked.append(1) or execute(*arguments))
    users = [*customers.index[:known], *(f"stranger {number}" for number in range(known, 250))]
    answer = client.post("/predict/batch", json={"user_ids": users})
    assert (answer.status_code, len(answer.json["results"]), len(asked)) == (200, 250, 1)


def test_an_explanation_is_there_when_it_is_asked_for_and_not_otherwise(client, register, promote, somebody):
    promote(register())
    asked, usual = (client.post(f"/predict{query}", json={"user_id": somebody}).json for query in ("?explain=true", ""))
    assert "explanation" not in usual
    # A version that was registered by hand has no other customers to compare with.
    assert asked["explanation"]["effects"] == []


def test_a_restart_of_postgres_is_outlived(client, register, promote, somebody, postgres):
    promote(register())
    assert predict(client, somebody)[0] == 200
    postgres.stop()
    status, answer = predict(client, somebody)
    assert (status, answer["type"]) == (503, "feature-store-unavailable")
    postgres.start()
    eventually(lambda: predict(client, somebody)[0] == 200)
