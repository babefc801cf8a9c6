"""The recipe: NULLs, unseen values, calibration, folds and the threshold."""

import json

import numpy as np
import pandas as pd
import pytest
from feast.types import Bool, Float64, Int64, String
from sklearn.metrics import f1_score

from churn.scoring.scorer import score
from churn.training.families import FAMILIES
from churn.training.recipe import (
    Parameters,
    Recipe,
    Rows,
    assign_folds,
    choose_threshold,
    fit,
    make_pipeline,
    parameters_of,
)
from churn.value import Value

TYPES = {"months": Int64, "hours": Float64, "tv": Bool, "net": String}
PARAMETERS = Parameters()
RECIPES = [Recipe(name, family.grid[0] | family.in_folds) for name, family in FAMILIES.items()]
FOREST = Recipe("random forest", {"n_estimators": 20, "min_samples_leaf": 5})


@pytest.fixture(scope="module")
def rows() -> Rows:
    """Customers, of whom those without internet (tv is NULL) never leave."""
    random = np.random.default_rng(7)
    size = 600
    net = random.choice(["DSL", "Fiber optic", "No"], size)
    tv = np.where(net == "No", None, random.random(size) < 0.5)
    frame = pd.DataFrame({
        "months": random.integers(0, 72, size),
        "hours": np.where(random.random(size) < 0.1, np.nan, random.random(size) * 40),
        "tv": tv.astype(object),
        "net": net.astype(object),
    })  # fmt: skip
    labels = (random.random(size) < 0.6) & (net != "No") & (frame["months"].to_numpy() < 40)
    return Rows(frame, labels, np.arange(size).astype(str), np.ones(size, dtype=bool))


def test_a_null_boolean_is_a_third_value_and_not_true(rows):
    preprocess = fit(FOREST, rows, TYPES, PARAMETERS)[0]
    encoded = preprocess.transform(rows.features)
    booleans = encoded[:, list(preprocess.get_feature_names_out()).index("booleans__tv")]
    assert set(booleans[rows.features["tv"].isna()]) == {-1.0}
    assert set(booleans[rows.features["tv"].notna()]) == {0.0, 1.0}


def test_a_null_number_is_the_median_and_flagged(rows):
    preprocess = fit(FOREST, rows, TYPES, PARAMETERS)[0]
    names = list(preprocess.get_feature_names_out())
    encoded = preprocess.transform(rows.features)
    missing = rows.features["hours"].isna().to_numpy()
    assert (encoded[missing, names.index("numbers__hours")] == rows.features["hours"].median()).all()
    assert (encoded[:, names.index("numbers__missingindicator_hours")] == missing).all()


@pytest.mark.parametrize("recipe", RECIPES, ids=str)
def test_a_category_that_training_never_saw_gets_a_probability(rows, recipe):
    new = rows.features.head(1).assign(net="Satellite", tv=None)
    assert 0.0 <= score(fit(recipe, rows, TYPES, PARAMETERS), new)[0] <= 1.0


@pytest.mark.parametrize("recipe", [*RECIPES, Recipe(FOREST.family, FOREST.settings, calibrated=True)], ids=str)
def test_the_same_data_and_parameters_give_the_same_scores(rows, recipe):
    first, second = (score(fit(recipe, rows, TYPES, PARAMETERS), rows.features) for _ in range(2))
    assert np.array_equal(first, second)


def test_calibrated_probabilities_are_those_of_what_happens_and_keep_no_rows(rows):
    plain, calibrated = (
        fit(Recipe(FOREST.family, FOREST.settings, calibrated=flag), rows, TYPES, PARAMETERS) for flag in (False, True)
    )
    # The balanced forest takes leavers for as many as the others.
    assert score(plain, rows.features).mean() > rows.labels.mean() + 0.02
    assert score(calibrated, rows.features).mean() == pytest.approx(rows.labels.mean(), abs=0.02)
    assert calibrated[-1].cv is None


@pytest.mark.parametrize("rows_of_it", [10, 100_000])
def test_a_tree_of_a_forest_sees_no_more_rows_than_there_are(rows_of_it):
    assert make_pipeline(FOREST, TYPES, PARAMETERS, rows_of_it)[-1].max_samples == min(rows_of_it, 3_000)


def test_a_customer_is_in_one_fold():
    users = np.random.default_rng(2).integers(0, 300, 2000).astype(str)
    fold = assign_folds(np.zeros(2000, dtype=bool), users, PARAMETERS)
    assert len(set(zip(users, fold, strict=True))) == len(set(users))


@pytest.mark.parametrize("leavers", [3, 4, 5, 100])
def test_the_customers_who_ever_left_are_shared_evenly_among_the_folds(leavers):
    users = np.array([f"{number:03d}" for number in range(200)] * 2)
    labels = np.concatenate([np.zeros(200, dtype=bool), np.arange(200) < leavers])
    counts = np.bincount(assign_folds(labels, users, PARAMETERS)[labels], minlength=PARAMETERS.folds)
    assert counts.max() - counts.min() <= 1


def test_the_folds_of_the_same_customers_are_the_same_in_any_order():
    random = np.random.default_rng(2)
    users, labels = np.arange(500).astype(str), random.random(500) < 0.3
    order = random.permutation(500)
    fold = assign_folds(labels, users, PARAMETERS)
    assert np.array_equal(assign_folds(labels[order], users[order], PARAMETERS), fold[order])


def test_the_threshold_is_the_score_of_the_greatest_f1():
    random = np.random.default_rng(3)
    labels = random.random(500) < 0.3
    scores = np.round(np.clip(labels * 0.2 + random.random(500) * 0.7, 0, 1), 3)
    best = max(f1_score(labels, scores >= threshold) for threshold in np.unique(scores))
    assert f1_score(labels, scores >= choose_threshold(labels, scores)) == pytest.approx(best)


def test_a_cheap_contact_means_a_lower_threshold_than_f1_and_a_dear_one_a_higher():
    random = np.random.default_rng(3)
    scores = random.random(500)
    labels = random.random(500) < scores
    cheap, dear = (choose_threshold(labels, scores, Value(cost, 0.5, 100)) for cost in (1, 40))
    assert cheap < choose_threshold(labels, scores) < dear


@pytest.mark.parametrize("parameters", [Parameters(folds=4), Parameters(("random forest",), value=Value(10, 0.3, 200))])
def test_parameters_are_rebuilt_from_their_record(parameters):
    assert parameters_of(json.loads(json.dumps(parameters.to_json()))) == parameters


def test_without_a_value_the_record_of_the_parameters_does_not_name_it():
    assert "value" not in Parameters().to_json()
    assert Parameters(value=Value(10, 0.3, 200)).to_json()["value"] == {
        "contact_cost": 10, "success_rate": 0.3, "margin": 200,
    }  # fmt: skip
