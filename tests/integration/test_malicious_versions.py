"""What a writer of the registry registers and moves to Production by hand does not run, in serving or in the gate."""

import io
import json
import pickle
import re
import zipfile
from contextlib import suppress
from datetime import date
from pathlib import Path

import mlflow
import numpy as np
import pytest
import skops.io
import yaml
from mlflow import MlflowClient
from sklearn.base import clone

from churn.gate import rollback, rule
from churn.gate.grading import GateInvalid, grade
from churn.registry import versions as registry
from churn.reproduction.reproduce import reproduce
from churn.synthetic.generate import write_drops
from churn.training import train as training
from churn.training.train import train
from serving import state
from serving.app import create_app
from serving.settings import Settings
from tests.conftest import database_copy, tracking
from tests.integration.conftest import Pipeline
from tests.integration.training_chain import QUICK, Chain

JANUARY, FEBRUARY = date(2024, 1, 31), date(2024, 2, 29)


class Touch:
    """What makes a file where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def a_pickle(model, ran):
    (model / "model.pkl").write_bytes(pickle.dumps(Touch(ran)))
    return {"sklearn": {"pickled_model": "model.pkl", "serialization_format": "pickle"}}


def a_pickle_called_skops(model, ran):
    (model / "model.skops").write_bytes(pickle.dumps(Touch(ran)))
    return {"sklearn": {"pickled_model": "model.skops", "serialization_format": "cloudpickle"}}


def types_that_only_the_writer_trusts(model, ran):
    schema = json.loads(zipfile.ZipFile(io.BytesIO(skops.io.dumps((["touch", str(ran)],)))).read("schema.json"))
    calls = {"__module__": "subprocess", "__class__": "call", "__loader__": "ConstructorFromReduceNode"}
    with zipfile.ZipFile(model / "model.skops", "w") as archive:
        archive.writestr("schema.json", json.dumps({**calls, "content": schema, "protocol": schema["protocol"]}))
    trusts = {"serialization_format": "skops", "skops_trusted_types": ["subprocess.call"]}
    return {"sklearn": {"pickled_model": "model.skops", **trusts}}


def code_to_import(model, ran):
    (model / "code").mkdir()
    (model / "code" / f"code_of_{model.parent.name}.py").write_text(f"open({str(ran)!r}, 'w')")
    return {"python_function": {"loader_module": f"code_of_{model.parent.name}", "code": "code"}}


ATTACKS = [a_pickle, a_pickle_called_skops, types_that_only_the_writer_trusts, code_to_import]


@pytest.fixture(scope="module")
def chain(postgres_url, churn_template, mlflow_template, tmp_path_factory):
    """January is in Production, February's candidate is trained, and February is served."""
    directory = tmp_path_factory.mktemp("chain")
    write_drops(directory / "drops", customers=2500, months=2, seed=5)
    with (
        database_copy(postgres_url, churn_template) as database_url,
        tracking(postgres_url, mlflow_template, directory),
        pytest.MonkeyPatch.context() as patched,
    ):
        patched.setattr(training.recipe, "Parameters", lambda: QUICK)
        chain = Chain(Pipeline(database_url, directory / "drops", directory / "archive"))
        trained, _, moved = chain(JANUARY)
        assert moved
        chain.pipeline.serve(FEBRUARY)
        chain.good, chain.candidate = trained.figures["version"], train(FEBRUARY, database_url).figures["version"]
        yield chain


@pytest.fixture
def ran(tmp_path):
    """The file that is there when something ran."""
    return tmp_path / "ran"


@pytest.fixture(params=ATTACKS, ids=lambda attack: attack.__name__)
def attack(request, chain, tmp_path, ran):
    """A version that claims to be January's, and whose files run something when MLflow loads them."""
    model = tmp_path / "model"
    model.mkdir()
    flavors = request.param(model, ran)
    (model / "MLmodel").write_text(yaml.safe_dump({"flavors": flavors, "run_id": "x"}))
    client, held = MlflowClient(), registry.get_version(MlflowClient(), chain.good)
    made = client.create_model_version(registry.MODEL_NAME, str(model), held.run_id, tags=dict(held.tags))
    yield int(made.version)
    to_production(chain.good)


def to_production(version):
    MlflowClient().transition_model_version_stage(registry.MODEL_NAME, str(version), "Production", True)


def test_mlflow_itself_would_run_it(attack, ran):
    uri = f"models:/{registry.MODEL_NAME}/{attack}"
    flavor = mlflow.pyfunc if "python_function" in mlflow.models.Model.load(uri).flavors else mlflow.sklearn
    # Some end in an error, after they ran.
    with suppress(Exception):
        flavor.load_model(uri)
    assert ran.exists()


def test_serving_does_not_run_it_goes_on_with_the_version_before_and_says_why(chain, attack, ran, caplog):
    app = create_app(Settings(chain.database_url, mlflow.get_tracking_uri()))
    model = state.of(app).model
    model.poll()
    to_production(attack)
    model.poll()
    assert model.served.version == chain.good
    assert f"version {attack} in stage Production cannot be loaded" in caplog.text
    why = app.test_client().get("/health/ready").get_json()["trouble"]
    assert (
        "register scikit-learn pipelines in the skops format" in why or "cannot be restored" in why or "reviewed" in why
    )
    assert not ran.exists()


def test_the_gate_does_not_run_it_in_production_and_asks_a_person(chain, attack, ran):
    to_production(attack)
    decided = grade(chain.candidate, chain.database_url)
    assert decided.figures["decision"] == rule.KEEP
    assert f"models:/streamflow_churn/{attack}" in decided.reason
    assert not ran.exists()


def test_the_gate_does_not_run_it_as_a_candidate_and_calls_it_invalid(chain, attack, ran):
    with pytest.raises(GateInvalid, match=f"models:/streamflow_churn/{attack}"):
        grade(attack, chain.database_url)
    assert not ran.exists()


def test_a_version_that_is_registered_by_hand_as_the_manual_says_is_loaded(chain):
    manual = (Path(__file__).parents[2] / "docs" / "security.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", manual, re.DOTALL)
    done = {"pipeline": registry.load_pipeline(chain.good)}
    exec(code, done)
    newest = registry.find_versions(MlflowClient(), {"threshold": "0.5"})[0]
    pipeline, signature = registry.load_model(newest.version)
    assert (type(pipeline[-1]), signature) == (type(done["pipeline"][-1]), None)


# --- a version whose column 1 is the customers who stay ------------------------------------------------------------


@pytest.fixture
def words(chain, tmp_path):
    """A version that claims to be January's, and was fitted on the words Churned and Stayed."""
    model, held = tmp_path / "model", registry.get_version(MlflowClient(), chain.good)
    model.mkdir()
    rows = chain.training_set(JANUARY)
    learn = ~rows.cohort & ~rows.audit
    pipeline = clone(registry.load_pipeline(chain.good))
    pipeline.fit(rows.features(learn), np.where(rows.labels(learn), "Churned", "Stayed"))
    skops.io.dump(pipeline, model / "model.skops")
    (model / "MLmodel").write_text(yaml.safe_dump({"flavors": {}, "run_id": held.run_id}))
    made = MlflowClient().create_model_version(registry.MODEL_NAME, str(model), held.run_id, tags=dict(held.tags))
    yield int(made.version)
    to_production(chain.good)


CLASSES = r"its classes are \['Churned', 'Stayed'\]"


def test_serving_refuses_a_version_fitted_on_words_and_goes_on_with_the_version_before(chain, words):
    app = create_app(Settings(chain.database_url, mlflow.get_tracking_uri()))
    model = state.of(app).model
    model.poll()
    to_production(words)
    model.poll()
    assert model.served.version == chain.good
    assert re.search(CLASSES, app.test_client().get("/health/ready").get_json()["trouble"])


def test_the_gate_asks_a_person_where_production_was_fitted_on_words(chain, words):
    to_production(words)
    decided = grade(chain.candidate, chain.database_url)
    assert decided.figures["decision"] == rule.KEEP
    assert re.search(CLASSES, decided.reason)
    assert registry.get_version(MlflowClient(), chain.candidate).stage == "Staging"


def test_the_gate_calls_a_candidate_fitted_on_words_invalid(chain, words):
    with pytest.raises(GateInvalid, match=CLASSES):
        grade(words, chain.database_url)


def test_a_rollback_to_a_version_fitted_on_words_is_refused_and_moves_nothing(chain, words):
    with pytest.raises(rollback.RollbackRefused, match=CLASSES):
        rollback.rollback(words, "ada", "wrong prices", chain.database_url)
    assert registry.production(MlflowClient()).version == chain.good


def test_a_version_fitted_on_words_is_not_reproduced_as_equal(chain, words, monkeypatch):
    monkeypatch.setattr(training.recipe, "Parameters", type(QUICK))
    done = reproduce(words, chain.database_url, chain.pipeline.archive, lambda _: None)
    assert re.search(CLASSES, done.difference)
