"""Serving, gate, rollback and reproduction open no file without a recorded hash: whatever a writer of the registry
registers by hand, or changes later, does not run."""

import io
import json
import pickle
import re
import shutil
import zipfile
from contextlib import suppress
from dataclasses import replace
from datetime import date
from pathlib import Path
from urllib.parse import urlsplit

import mlflow
import numpy as np
import psycopg
import pytest
import skops.io
import yaml
from mlflow import MlflowClient
from sklearn.base import clone
from sklearn.dummy import DummyClassifier
from sklearn.pipeline import make_pipeline
from sklearn.tree import DecisionTreeClassifier

from churn.gate import rollback, rule
from churn.gate.grading import GateInvalid, grade
from churn.outcome import DONE, UNCHANGED
from churn.postgres.database import connect
from churn.registry import client as registry
from churn.registry import provenance
from churn.registry.loading import fetched, load_model, load_pipeline
from churn.registry.model_version import MODEL_NAME, ModelNotLoadable
from churn.registry.trust import TrustRefused, trust
from churn.reproduction.reproduce import reproduce
from churn.synthetic.generate import write_drops
from churn.training import train as training
from churn.training.train import train
from serving import state
from serving.app import create_app
from serving.settings import Settings
from tests.conftest import REPOSITORY, database_copy, tracking
from tests.integration.conftest import Pipeline
from tests.integration.training_chain import QUICK, Chain

JANUARY, FEBRUARY = date(2024, 1, 31), date(2024, 2, 29)


class Touch:
    """What makes a file where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


# Each is given the files of a version that training made, and their flavors.


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
"""What MLflow itself would run."""


def trees_that_lead_outside_of_themselves(model, _ran):
    """Compiled code of scikit-learn follows the nodes into foreign memory."""
    rows = np.random.default_rng(1).random((200, 3))
    skops.io.dump(make_pipeline(DecisionTreeClassifier()).fit(rows, rows[:, 0] > 0.5), model / "model.skops")
    with zipfile.ZipFile(model / "model.skops") as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    (nodes,) = (name for name in parts if name.endswith(".npy") and np.load(io.BytesIO(parts[name])).dtype.names)
    array, out = np.load(io.BytesIO(parts[nodes])).copy(), io.BytesIO()
    array["left_child"][0] = 10**6
    np.save(out, array)
    with zipfile.ZipFile(model / "model.skops", "w") as archive:
        for name, part in {**parts, nodes: out.getvalue()}.items():
            archive.writestr(name, part)
    return {}


def a_model_of_trusted_types(model, _ran):
    skops.io.dump(make_pipeline(DummyClassifier()).fit([[0]] * 2, [0, 1]), model / "model.skops")
    return {}


def another_signature(_model, _ran):
    return {}


FOREIGN = [*ATTACKS, trees_that_lead_outside_of_themselves, a_model_of_trusted_types, another_signature]


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


@pytest.fixture(params=FOREIGN, ids=lambda attack: attack.__name__)
def attack(request, chain, tmp_path, ran):
    """A version that claims to be January's, and has files that training did not write."""
    version = registered(chain, tmp_path / "model", request.param, ran)
    yield version
    to_production(chain.good)


def registered(chain, model, change, ran):
    with fetched(chain.good) as files:
        shutil.copytree(files, model)
    flavors = change(model, ran)
    (model / "MLmodel").write_text(yaml.safe_dump({"flavors": flavors, "run_id": "x"}))
    client, held = MlflowClient(), registry.get_version(MlflowClient(), chain.good)
    made = client.create_model_version(MODEL_NAME, str(model), held.run_id, tags=dict(held.tags))
    return int(made.version)


@pytest.fixture
def changed(chain):
    """January's version, as training registered it, with another model.skops since its hash was recorded."""
    address = MlflowClient().get_model_version_download_uri(MODEL_NAME, str(chain.good))
    file = Path(urlsplit(address).path) / "model.skops"
    before = file.read_bytes()
    skops.io.dump(make_pipeline(DummyClassifier()).fit([[0]] * 2, [0, 1]), file)
    yield chain.good
    file.write_bytes(before)


def to_production(version):
    MlflowClient().transition_model_version_stage(MODEL_NAME, str(version), "Production", True)


def serving_of(chain):
    # What was refused is tried again at once.
    app = create_app(Settings(chain.database_url, mlflow.get_tracking_uri(), poll_seconds=0.001))
    return app, state.of(app).model


def asks_for_trust(version):
    return rf"models:/streamflow_churn/{version}: its (model\.skops|MLmodel) has .* make trust VERSION={version} "


@pytest.mark.parametrize("attack", ATTACKS, indirect=True, ids=lambda attack: attack.__name__)
def test_mlflow_itself_would_run_it(attack, ran):
    uri = f"models:/{MODEL_NAME}/{attack}"
    flavor = mlflow.pyfunc if "python_function" in mlflow.models.Model.load(uri).flavors else mlflow.sklearn
    # Some end in an error, after they ran.
    with suppress(Exception):
        flavor.load_model(uri)
    assert ran.exists()


def test_serving_goes_on_with_the_version_before_and_says_how_to_trust_it(chain, attack, ran, caplog):
    app, model = serving_of(chain)
    model.poll()
    to_production(attack)
    model.poll()
    assert model.served.version == chain.good
    assert f"version {attack} in stage Production cannot be loaded" in caplog.text
    assert re.search(asks_for_trust(attack), app.test_client().get("/health/ready").get_json()["trouble"])
    assert not ran.exists()


def test_serving_without_a_version_before_answers_503_and_says_how_to_trust_it(chain, attack, ran):
    to_production(attack)
    app, model = serving_of(chain)
    model.poll()
    client = app.test_client()
    assert client.post("/predict", json={"user_id": "1"}).status_code == 503
    ready = client.get("/health/ready")
    assert ready.status_code == 503
    assert re.search(asks_for_trust(attack), " ".join(ready.get_json()["reasons"]))
    assert not ran.exists()


def test_the_gate_keeps_production_where_it_is_not_trusted_and_asks_a_person(chain, attack, ran):
    to_production(attack)
    decided = grade(chain.candidate, chain.database_url)
    assert decided.figures["decision"] == rule.KEEP
    assert re.search(asks_for_trust(attack), decided.reason)
    assert registry.get_version(MlflowClient(), chain.candidate).stage == "Staging"
    assert not ran.exists()


def test_the_gate_calls_a_candidate_that_is_not_trusted_invalid(chain, attack, ran):
    with pytest.raises(GateInvalid, match=asks_for_trust(attack)):
        grade(attack, chain.database_url)
    assert not ran.exists()


def test_a_rollback_to_it_is_refused_and_moves_nothing(chain, attack, ran):
    with pytest.raises(rollback.RollbackRefused, match=asks_for_trust(attack)):
        rollback.rollback(attack, "ada", "wrong prices", chain.database_url)
    assert registry.production(MlflowClient()).version == chain.good
    assert not ran.exists()


def test_it_is_not_reproduced_as_equal(chain, tmp_path, ran, monkeypatch):
    version = registered(chain, tmp_path / "model", a_pickle_called_skops, ran)
    monkeypatch.setattr(training.recipe, "Parameters", type(QUICK))
    done = reproduce(version, chain.database_url, chain.pipeline.archive, lambda _: None)
    assert re.search(asks_for_trust(version), done.difference)
    assert not ran.exists()


def test_a_file_that_changed_after_its_hash_was_recorded_is_refused_everywhere(chain, changed, monkeypatch):
    app, model = serving_of(chain)
    model.poll()
    assert re.search(asks_for_trust(changed), " ".join(app.test_client().get("/health/ready").get_json()["reasons"]))
    assert re.search(asks_for_trust(changed), grade(chain.candidate, chain.database_url).reason)
    with pytest.raises(rollback.RollbackRefused, match=asks_for_trust(changed)):
        rollback.rollback(changed, "ada", "wrong prices", chain.database_url)
    monkeypatch.setattr(training.recipe, "Parameters", type(QUICK))
    done = reproduce(changed, chain.database_url, chain.pipeline.archive, lambda _: None)
    assert re.search(asks_for_trust(changed), done.difference)


def test_training_records_what_it_saved_and_not_what_mlflow_holds_by_then(chain, monkeypatch):
    """Somebody replaces the file as soon as it arrives."""
    upload = MlflowClient.log_model_artifacts

    def replaced(client, model_id, local_dir):
        skops.io.dump(make_pipeline(DummyClassifier()).fit([[0]] * 2, [0, 1]), Path(local_dir) / "model.skops")
        return upload(client, model_id, local_dir)

    monkeypatch.setattr(MlflowClient, "log_model_artifacts", replaced)
    monkeypatch.setattr(training.recipe, "Parameters", lambda: replace(QUICK, random_state=1))
    version = train(JANUARY, chain.database_url).figures["version"]
    with pytest.raises(GateInvalid, match=asks_for_trust(version)):
        grade(version, chain.database_url)


# --- a version that a person trusts ------------------------------------------------------------------------------


@pytest.fixture
def by_hand(chain):
    """A version that was registered as the manual says."""
    manual = (REPOSITORY / "docs" / "security.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", manual, re.DOTALL)
    done = {"pipeline": load_pipeline(chain.good, chain.database_url)}
    exec(code, done)
    yield registry.find_versions(MlflowClient(), {"threshold": "0.5"})[0].version
    to_production(chain.good)


def test_a_version_that_is_registered_by_hand_is_loaded_once_it_is_trusted(chain, by_hand):
    with pytest.raises(ModelNotLoadable, match=asks_for_trust(by_hand)):
        load_model(by_hand, chain.database_url)
    assert trust(by_hand, "ada", "trained in a notebook", chain.database_url).outcome == DONE
    pipeline, signature = load_model(by_hand, chain.database_url)
    good = load_pipeline(chain.good, chain.database_url)
    assert (type(pipeline[-1]), signature) == (type(good[-1]), None)
    assert trust(by_hand, "bob", "the same again", chain.database_url).outcome == UNCHANGED


def test_the_gate_decides_again_once_production_is_trusted(chain, by_hand):
    to_production(by_hand)
    before = grade(chain.candidate, chain.database_url)
    trust(by_hand, "ada", "trained in a notebook", chain.database_url)
    after = grade(chain.candidate, chain.database_url)
    assert re.search(asks_for_trust(by_hand), before.reason)
    assert "make trust" not in after.reason


def test_serving_follows_once_it_is_trusted(chain, by_hand):
    _, model = serving_of(chain)
    model.poll()
    to_production(by_hand)
    model.poll()
    before = model.served.version
    trust(by_hand, "ada", "trained in a notebook", chain.database_url)
    model.poll()
    assert (before, model.served.version, model.trouble) == (chain.good, by_hand, None)


def test_who_trusted_what_when_and_why_is_on_record_and_stays(chain, by_hand):
    trust(by_hand, " ada ", "trained in a notebook", chain.database_url)
    with connect(chain.database_url) as connection:
        found = connection.execute(
            "SELECT file, who, why, length(sha256), recorded_at <= now() FROM registry.trusted_files"
            " WHERE version = %s ORDER BY id",
            [by_hand],
        ).fetchall()
    assert found == [(file, "ada", "trained in a notebook", 64, True) for file in ("model.skops", "MLmodel")]
    with connect(chain.database_url) as connection, pytest.raises(psycopg.errors.RaiseException, match="append-only"):
        connection.execute("DELETE FROM registry.trusted_files")


@pytest.mark.parametrize("why", ["", "  ", "x" * 1001], ids=["none", "blank", "long"])
def test_without_a_reason_nothing_is_trusted(chain, why):
    with pytest.raises(TrustRefused, match="say who and why"):
        trust(chain.good, "ada", why, chain.database_url)


def test_what_is_no_model_is_not_trusted_and_does_not_run(chain, tmp_path, ran):
    for change in (a_pickle_called_skops, types_that_only_the_writer_trusts):
        version = registered(chain, tmp_path / change.__name__, change, ran)
        with pytest.raises(TrustRefused, match="nothing was recorded"):
            trust(version, "ada", "it looked good", chain.database_url)
    assert not ran.exists()


def test_a_version_that_is_not_there_is_not_trusted(chain):
    with pytest.raises(TrustRefused, match="there is no version 999"):
        trust(999, "ada", "why not", chain.database_url)


# --- a version whose column 1 is the customers who stay ------------------------------------------------------------


@pytest.fixture
def words(chain, tmp_path):
    """A version that claims to be January's, and was fitted on the words Churned and Stayed."""
    model, held = tmp_path / "model", registry.get_version(MlflowClient(), chain.good)
    model.mkdir()
    rows = chain.training_set(JANUARY)
    learn = ~rows.cohort & ~rows.audit
    pipeline = clone(load_pipeline(chain.good, chain.database_url))
    pipeline.fit(rows.features(learn), np.where(rows.labels(learn), "Churned", "Stayed"))
    skops.io.dump(pipeline, model / "model.skops")
    (model / "MLmodel").write_text(yaml.safe_dump({"flavors": {}, "run_id": held.run_id}))
    with connect(chain.database_url) as connection:
        # trust() would refuse it.
        provenance.append(connection, provenance.hashes_in(model), held.run_id, who="ada", why="by hand")
    made = MlflowClient().create_model_version(MODEL_NAME, str(model), held.run_id, tags=dict(held.tags))
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
