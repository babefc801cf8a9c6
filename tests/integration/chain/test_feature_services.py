"""A chain of churn_v1 is upgraded to churn_v2: trained, promoted, served and rolled back, as a user would see it."""

from dataclasses import replace
from datetime import date

import mlflow
import psycopg
import pytest
from feast import FeatureService, FeatureView

from churn.features.materialization import materialize
from churn.features.store import apply_definitions, load_definitions, read_online
from churn.gate import rule
from churn.gate.grading import grade
from churn.gate.rollback import rollback
from churn.outcome import DONE, OLDER
from churn.reproduction.reproduce import reproduce
from churn.scores.scoring_step import score_customers
from churn.synthetic.generate import write_drops
from churn.training.lineage import read_lineage
from churn.training.train import train
from churn.training.training_set import ServiceNotApplied
from serving import state
from serving.app import create_app
from serving.settings import Settings
from tests.integration.copied_chains import Chains
from tests.integration.training_chain import QUICK
from tests.opened_store import opened_store

JANUARY, FEBRUARY = date(2024, 1, 31), date(2024, 2, 29)
ONLY_V1 = replace(QUICK, feature_services=("churn_v1",))
NEW = "contract_type"


@pytest.fixture(scope="module")
def chain(postgres_url, churn_template, mlflow_template, tmp_path_factory):
    """A chain whose January was trained, promoted and served as before churn_v2."""
    directory = tmp_path_factory.mktemp("chain")
    write_drops(directory / "drops", customers=4000, months=2, seed=5)
    chains = Chains(postgres_url, (churn_template, mlflow_template), directory / "drops", directory)
    with chains.after((), directory / "archive") as chain:
        with pytest.MonkeyPatch.context() as before:
            before.setattr("tests.integration.conftest.apply_definitions", apply_as_before)
            chain(JANUARY, ONLY_V1)
        as_older_code_left_it(chain.database_url)
        yield chain
    chains.close()


def apply_as_before(database_url):
    """Leave Feast's registry as it was: a view without the new feature, and one feature service of whole views."""
    with opened_store(database_url) as store:
        user, new, *others = (each for each in load_definitions() if not isinstance(each, FeatureService))
        # FeatureView.schema has no order.
        schema = [*new.entity_columns, *(field for field in new.features if field.name != NEW)]
        old = FeatureView(name=new.name, entities=[user], ttl=new.ttl, schema=schema, source=new.batch_source)
        assert len(old.features) == len(new.features) - 1
        store.apply([user, old, *others, FeatureService(name="churn_v1", features=[old, *others])])


def as_older_code_left_it(database_url):
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE online.builds SET code_digest = 'of older code'")


def lineage_of_before(run_id):
    """Return the lineage of a run as it was before training compared feature services."""
    lineage = read_lineage(run_id)
    del lineage["parameters"]["feature_services"]
    return lineage


@pytest.fixture
def predict(chain):
    """POST /predict?explain=true of a service that has just seen the registry."""

    def answer(user):
        app = create_app(Settings(chain.database_url, mlflow.get_tracking_uri(), poll_seconds=0.001))
        state.of(app).model.poll()
        found = app.test_client().post("/predict?explain=true", json={"user_id": user})
        assert found.status_code == 200, found.text
        return found.get_json()

    return answer


@pytest.fixture
def user(chain):
    with psycopg.connect(chain.database_url) as connection:
        return connection.execute("SELECT min(user_id) FROM raw.users").fetchone()[0]


def test_a_chain_of_14_features_is_upgraded_serves_15_and_rolls_back_to_14(chain, predict, user, tmp_path, monkeypatch):
    before = predict(user)
    assert (before["model"]["version"], len(before["features_used"])) == (1, 14)

    apply_definitions(chain.database_url)
    upgraded = predict(user)
    assert (upgraded["churn_probability"], upgraded["features_used"]) == (
        before["churn_probability"],
        before["features_used"],
    )
    _, decided, moved = chain(FEBRUARY, QUICK)
    assert moved, decided.reason

    after = predict(user)
    assert (after["model"]["version"], len(after["features_used"])) == (2, 15)
    with psycopg.connect(chain.database_url) as connection:
        asked = "SELECT contract_type FROM raw.subscriptions WHERE as_of = %s AND user_id = %s"
        (contract,) = connection.execute(asked, [FEBRUARY, user]).fetchone()
    assert after["features_used"][NEW] == contract
    assert NEW in {each["feature"] for each in after["explanation"]["effects"]}
    for as_of, version in ((JANUARY, 1), (FEBRUARY, 2)):
        scored = score_customers(as_of, chain.database_url, str(tmp_path / "scores"), 0.1)
        assert (scored.figures["model_version"], scored.outcome) == (version, DONE)

    rollback(None, "a person", "to see the earlier one", chain.database_url)
    back = predict(user)
    assert (back["model"]["version"], list(back["features_used"])) == (1, list(before["features_used"]))
    monkeypatch.setattr("churn.reproduction.reproduce.read_lineage", lineage_of_before)
    assert str(reproduce(1, chain.database_url, chain.pipeline.archive, print)).startswith("version 1: equal")


def test_a_served_build_of_older_code_holds_the_gate_until_any_date_is_materialized(chain, user):
    """It may lack the new feature, which then reads as NULL."""
    chain.pipeline.serve(FEBRUARY)
    version = train(FEBRUARY, chain.database_url, replace(QUICK, folds=4)).figures["version"]
    as_older_code_left_it(chain.database_url)
    with psycopg.connect(chain.database_url) as connection:
        connection.execute("UPDATE online.subs_profile_fv SET contract_type = NULL")
    held = grade(version, chain.database_url)
    assert (held.figures["decision"], "as other code wrote it" in held.reason) == (rule.KEEP, True)
    older = materialize(JANUARY, chain.database_url)
    assert (older.outcome, "written again" in older.reason) == (OLDER, True)
    assert "as other code wrote it" not in grade(version, chain.database_url).reason
    with opened_store(chain.database_url) as store:
        (found,) = read_online(store, store.get_feature_service("churn_v2"), [user])
    assert (found.as_of, found.values[NEW] is not None) == (FEBRUARY, True)


def test_a_training_before_the_definitions_are_applied_says_what_to_run(chain):
    parameters = replace(QUICK, feature_services=("churn_v1", "churn_v3"))
    with pytest.raises(ServiceNotApplied, match=r"churn_v3.*run churn_materialize"):
        train(FEBRUARY, chain.database_url, parameters)
