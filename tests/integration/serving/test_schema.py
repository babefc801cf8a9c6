"""The service against its own contract, by Schemathesis: whatever the contract allows, and much that it does not."""

from datetime import date
from itertools import product

import mlflow
import psycopg
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from mlflow import MlflowClient
from schemathesis import GenerationMode

from churn.registry.model_version import MODEL_NAME
from churn.synthetic.generate import write_drops
from churn.training import train as training
from churn.training.train import train
from serving import state
from serving.app import create_app
from serving.settings import Settings
from tests.conftest import database_copy, tracking
from tests.integration.conftest import Pipeline
from tests.integration.training_chain import QUICK

JANUARY = date(2024, 1, 31)


@pytest.fixture(scope="module")
def contract(postgres_url, churn_template, mlflow_template, tmp_path_factory):
    """The contract of a service that has a model and customers, one of whom its examples name."""
    directory = tmp_path_factory.mktemp("contract")
    write_drops(directory / "drops", customers=1000, months=1, seed=5)
    with (
        database_copy(postgres_url, churn_template) as database_url,
        tracking(postgres_url, mlflow_template, directory),
        pytest.MonkeyPatch.context() as patched,
    ):
        patched.setattr(training.recipe, "Parameters", lambda: QUICK)
        Pipeline(database_url, directory / "drops", directory / "archive").serve(JANUARY)
        version = train(JANUARY, database_url).figures["version"]
        MlflowClient().transition_model_version_stage(MODEL_NAME, str(version), "Production")
        with psycopg.connect(database_url) as connection:
            for view in ("subs_profile_fv", "usage_agg_30d_fv", "payments_agg_90d_fv", "support_agg_90d_fv"):
                first = f"(SELECT min(user_id) FROM online.{view})"
                connection.execute(f"UPDATE online.{view} SET user_id = '7892-POOKP' WHERE user_id = {first}")
        app = create_app(Settings(database_url, mlflow.get_tracking_uri()))
        state.of(app).model.poll()
        assert state.of(app).model.served is not None
        yield schemathesis.openapi.from_wsgi("/openapi.json", app)


def test_every_answer_is_one_that_the_contract_names(contract):
    operations = [found.ok() for found in contract.get_all_operations()]
    assert {(each.method, each.path) for each in operations} >= {("post", "/predict"), ("post", "/predict/batch")}
    for operation, mode in product(operations, GenerationMode):
        if mode.is_negative and operation.method != "post":
            continue  # It has no body, which could be wrong.

        @settings(max_examples=60, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy(generation_mode=mode))
        def answers_as_declared(case):
            case.call_and_validate()

        answers_as_declared()
