"""No leak: nothing that is known after AS_OF D changes D's snapshot, training set, model or metrics by a bit.

The chain of D runs twice: without later drops, and with absurd later drops loaded before and after it, whose labels
contradict all labels of D.
"""

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pyarrow.compute as pc
import pytest
from mlflow import MlflowClient
from psycopg import sql
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

from churn.drops.contract import ACTIONS, FILES, LABELS, REQUIRED_FILES, USERS, Kind
from churn.drops.landing import list_drops
from churn.drops.snapshots import DELIVERED_TABLES, FEATURE_TABLES
from churn.features.store import FEATURE_SERVICE, FEATURE_SERVICES, apply_definitions, feature_types, read_online
from churn.outcome import DONE, UNCHANGED
from churn.postgres.database import connect
from churn.registry import client as registry
from churn.registry.evidence import read_evidence
from churn.registry.loading import load_pipeline
from churn.scoring.scorer import score
from churn.synthetic.generate import write_drops
from churn.training import recipe
from churn.training import train as training
from churn.training.candidate import Candidate, fit_candidate
from churn.training.families import FAMILIES
from churn.training.train import train
from churn.training.training_set import LABEL, TrainingSet, build_training_set
from tests.conftest import database_copy
from tests.handmade_drops import accept, read_values, write_drop, write_manifest
from tests.integration.conftest import Pipeline
from tests.opened_store import opened_store

D = date(2024, 3, 31)
LATER = (D + timedelta(days=1), date(2024, 4, 30))
"""The next day, whose snapshot is known a day after that of D, and the next month."""

EVERY_FAMILY = recipe.Parameters()

ABSURD_OF = {
    Kind.TEXT: "absurd",
    Kind.DATE: "1900-01-01",
    Kind.BOOLEAN: "True",
    Kind.COUNT: "9" * 18,
    Kind.NUMBER: "1e30",
}
ABSURD = {column.name: ABSURD_OF[column.kind] for file in REQUIRED_FILES for column in file.columns[1:]}


@dataclass(frozen=True)
class Chain:
    """The chain up to D in its own database, and its results."""

    pipeline: Pipeline
    training_set: TrainingSet
    candidate: Candidate

    @property
    def database_url(self) -> str:
        return self.pipeline.database_url


def write_poison(landing, as_of):
    """A drop of absurd values for all customers, with the opposite of every delivered label and an action beside it."""
    earlier = [drop for drop in list_drops(landing) if drop.as_of <= D]
    customers = {row["user_id"]: ABSURD for drop in earlier for row in read_values(drop, USERS)}
    labels = {
        (row["user_id"], drop.as_of): not row["churn_label"] for drop in earlier for row in read_values(drop, LABELS)
    }
    labels |= {(user, as_of): True for user in customers}
    late = [(user, label, day) for (user, day), label in labels.items()]
    accept(write_drop(landing, as_of, customers, late, [(user, "call", day) for user, _, day in late]))


def run_up_to_d(pipeline):
    for drop in list_drops(pipeline.landing):
        if drop.as_of <= D:
            pipeline.serve(drop.as_of)
    found = training_set(pipeline.database_url, D)
    return Chain(pipeline, found, fit_candidate(found, EVERY_FAMILY))


def training_set(database_url, as_of):
    with opened_store(database_url) as store:
        return build_training_set(store, FEATURE_SERVICES, as_of, database_url)


@pytest.fixture(scope="module")
def landing(tmp_path_factory):
    directory = tmp_path_factory.mktemp("no_leak") / "landing"
    write_drops(directory, customers=600, months=3, seed=11, start=date(2024, 1, 31))
    for drop in list_drops(directory):
        contacted = read_values(drop, USERS)[:20]
        rows = "".join(f"{row['user_id']},e-mail\n" for row in contacted)
        (drop.path / ACTIONS.name).write_text(f"user_id,action\n{rows}", encoding="utf-8")
        write_manifest(drop)
    return directory


@pytest.fixture(scope="module")
def pipelines(postgres_url, churn_template, landing, tmp_path_factory):
    """Two pipelines over the landing directory, each with its own database."""
    archive = tmp_path_factory.mktemp("archive")
    with database_copy(postgres_url, churn_template) as one, database_copy(postgres_url, churn_template) as other:
        for url in (one, other):
            apply_definitions(url)
        yield Pipeline(one, landing, archive), Pipeline(other, landing, archive)


@pytest.fixture(scope="module")
def clean(pipelines):
    """D without later drops."""
    return run_up_to_d(pipelines[0])


@pytest.fixture(scope="module")
def poisoned(pipelines, clean):
    """D with one absurd later drop loaded before it, and another after it."""
    pipeline = pipelines[1]
    for as_of in LATER:
        write_poison(pipeline.landing, as_of)
    pipeline.serve(LATER[0])
    run_up_to_d(pipeline)
    pipeline.serve(LATER[1])
    return run_up_to_d(pipeline)


def held_up_to_d(database_url):
    """Return {table: rows} of raw.* and snapshots.* for the drops up to D."""
    tables = [("raw", file.table, "as_of") for file in FILES]
    tables += [("snapshots", table, "as_of") for table in FEATURE_TABLES]
    tables += [("snapshots", table, "drop_as_of") for table in DELIVERED_TABLES]
    with connect(database_url) as connection:
        return {
            (schema, table): connection.execute(
                sql.SQL("SELECT t::text FROM {} t WHERE {} <= %s ORDER BY 1").format(
                    sql.Identifier(schema, table), sql.Identifier(day)
                ),
                [D],
            ).fetchall()
            for schema, table, day in tables
        }


def bits_of(pipeline):
    """Return the fitted parameters: coefficients or every node of every tree, and the preprocessing."""
    preprocess = pipeline.named_steps["preprocess"].named_transformers_
    classifier = pipeline.named_steps["classifier"]
    learned = []
    if isinstance(classifier, LogisticRegression):
        learned = [classifier.coef_.tobytes(), classifier.intercept_.tobytes()]
    elif isinstance(classifier, HistGradientBoostingClassifier):
        learned = [fields_of(tree.nodes) for (tree,) in classifier._predictors]
    else:
        for tree in classifier.estimators_:
            state = tree.tree_.__getstate__()
            learned += [fields_of(state["nodes"]), state["values"].tobytes()]
    assert learned
    return (
        learned,
        preprocess["numbers"].statistics_.tobytes(),
        preprocess["numbers"].indicator_.features_.tolist(),
        [list(categories) for categories in preprocess["texts"].categories_],
    )


def fields_of(nodes):
    # Field by field: between the fields of a node lies memory that nobody wrote.
    return {name: nodes[name].tobytes() for name in nodes.dtype.names}


def figures_of(candidate):
    """Return the metrics without durations."""
    return {name: repr(value) for name, value in candidate.metrics.items() if name != "train_seconds"}


def test_the_poisoned_drops_are_loaded_and_used_by_later_trainings(poisoned):
    later, found = training_set(poisoned.database_url, LATER[1]).table, poisoned.training_set.table
    of_d = later.filter(pc.less_equal(later["as_of"], D))
    assert of_d.drop([LABEL]).equals(found.drop([LABEL]))
    assert of_d[LABEL].to_pylist() == pc.invert(found[LABEL]).to_pylist()
    absurd = later.filter(pc.equal(later["as_of"], LATER[1]))
    assert set(absurd["monthly_fee"].to_pylist()) == {1e30}


def test_the_poisoned_features_are_served(poisoned):
    with opened_store(poisoned.database_url) as store:
        user = poisoned.training_set.table["user_id"][0].as_py()
        found = read_online(store, store.get_feature_service(FEATURE_SERVICE), [user])[0]
    assert (found.as_of, found.values["monthly_fee"]) == (LATER[1], 1e30)


def test_later_drops_do_not_change_raw_tables_and_snapshots(clean, poisoned):
    found = held_up_to_d(clean.database_url)
    assert all(found.values())
    assert held_up_to_d(poisoned.database_url) == found


def test_later_drops_do_not_change_the_training_set(clean, poisoned):
    assert len(clean.training_set.dates) == 3
    assert poisoned.training_set.table.equals(clean.training_set.table)
    assert poisoned.training_set.digest == clean.training_set.digest


def test_later_drops_do_not_change_the_recipe(clean, poisoned):
    assert poisoned.candidate.selection.recipe == clean.candidate.selection.recipe


@pytest.mark.parametrize("family", FAMILIES)
def test_later_drops_do_not_change_the_model_of_any_family(clean, poisoned, family):
    found = []
    for chain in (clean, poisoned):
        learn = ~chain.training_set.cohort
        rows = recipe.Rows(*(of(learn) for of in (
            chain.training_set.features, chain.training_set.labels, chain.training_set.users
        )), chain.training_set.on(D)[learn])  # fmt: skip
        chosen = recipe.Recipe(family, FAMILIES[family].grid[0] | FAMILIES[family].in_folds)
        found.append(bits_of(recipe.fit(chosen, rows, feature_types(chain.training_set.service), EVERY_FAMILY)))
    assert found[0] == found[1]


def test_later_drops_do_not_change_the_scores(clean, poisoned):
    features = clean.training_set.features(np.ones(len(clean.training_set.table), bool))
    scores = [score(chain.candidate.pipeline, features).tobytes() for chain in (clean, poisoned)]
    assert scores[0] == scores[1]


def test_later_drops_do_not_change_metrics_threshold_and_grades(clean, poisoned):
    assert figures_of(poisoned.candidate) == figures_of(clean.candidate)
    assert repr(poisoned.candidate.threshold) == repr(clean.candidate.threshold)
    assert poisoned.candidate.graded_on == clean.candidate.graded_on == D
    assert poisoned.candidate.grades.equals(clean.candidate.grades)


def test_retraining_after_the_poisoned_drops_gives_the_same_version(clean, poisoned, mlflow_uri, monkeypatch):
    monkeypatch.setattr(training.recipe, "Parameters", lambda: EVERY_FAMILY)
    before, after = train(D, clean.database_url), train(D, poisoned.database_url)
    assert (before.outcome, after.outcome) == (DONE, UNCHANGED)
    assert after.figures["version"] == before.figures["version"]
    assert registry.get_version(MlflowClient(), 1).tags["data_digest"] == poisoned.training_set.digest
    assert read_evidence(after.figures["run_id"], "grades").equals(poisoned.candidate.grades)
    assert bits_of(load_pipeline(1, clean.database_url)) == bits_of(poisoned.candidate.pipeline)
