"""The recipe: what a pipeline does with NULLs and unseen values, and which threshold it gets."""

import numpy as np
import pandas as pd
import pytest
from feast.types import Bool, Float64, Int64, String
from sklearn.metrics import f1_score

from churn.recipe import Parameters, assign_folds, choose_threshold, fit, score, score_out_of_fold

TYPES = {"months": Int64, "hours": Float64, "tv": Bool, "net": String}
QUICK = Parameters(n_estimators=20)


@pytest.fixture(scope="module")
def rows() -> tuple[pd.DataFrame, np.ndarray]:
    """Customers of whom those without internet (tv is NULL) never leave."""
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
    return frame, labels


def test_a_null_boolean_is_a_third_value_and_not_true(rows):
    frame, labels = rows
    pipeline = fit(frame, labels, TYPES, QUICK)
    encoded = pipeline[:-1].transform(frame)
    booleans = encoded[:, list(pipeline[:-1].get_feature_names_out()).index("booleans__tv")]
    assert set(booleans[frame["tv"].isna()]) == {-1.0}
    assert set(booleans[frame["tv"].notna()]) == {0.0, 1.0}


def test_a_null_number_is_the_median_and_flagged(rows):
    frame, labels = rows
    pipeline = fit(frame, labels, TYPES, QUICK)
    names = list(pipeline[:-1].get_feature_names_out())
    encoded = pipeline[:-1].transform(frame)
    missing = frame["hours"].isna().to_numpy()
    assert (encoded[missing, names.index("numbers__hours")] == frame["hours"].median()).all()
    assert (encoded[:, names.index("numbers__missingindicator_hours")] == missing).all()


def test_a_category_that_training_never_saw_gets_a_probability(rows):
    frame, labels = rows
    pipeline = fit(frame, labels, TYPES, QUICK)
    new = frame.head(1).assign(net="Satellite", tv=None)
    assert 0.0 <= score(pipeline, new)[0] <= 1.0


def test_the_same_data_and_parameters_give_the_same_scores(rows):
    frame, labels = rows
    first, second = (score(fit(frame, labels, TYPES, QUICK), frame) for _ in range(2))
    assert np.array_equal(first, second)


def test_out_of_fold_scores_come_from_pipelines_that_saw_none_of_the_customer(rows):
    """Every customer has two rows with one random label: only a pipeline that saw one of them can tell the other."""
    frame, _ = rows
    random = np.random.default_rng(1)
    labels = np.repeat(random.random(len(frame)) < 0.5, 2)
    twice = frame.assign(hours=random.random(len(frame))).loc[frame.index.repeat(2)].reset_index(drop=True)
    users = np.repeat(np.arange(len(frame)), 2)
    scores = score_out_of_fold(twice, labels, users, TYPES, Parameters(n_estimators=20, min_samples_leaf=1))
    own = score(fit(twice, labels, TYPES, Parameters(n_estimators=20, min_samples_leaf=1)), twice)
    assert np.mean((own > 0.5) == labels) > 0.9
    assert np.mean((scores > 0.5) == labels) < 0.6


def test_a_customer_is_in_one_fold():
    users = np.random.default_rng(2).integers(0, 300, 2000).astype(str)
    fold = assign_folds(np.zeros(2000, dtype=bool), users, QUICK)
    assert len(set(zip(users, fold, strict=True))) == len(set(users))


@pytest.mark.parametrize("leavers", [3, 4, 5, 100])
def test_the_customers_who_ever_left_are_shared_evenly_among_the_folds(leavers):
    users = np.array([f"{number:03d}" for number in range(200)] * 2)
    labels = np.concatenate([np.zeros(200, dtype=bool), np.arange(200) < leavers])
    counts = np.bincount(assign_folds(labels, users, QUICK)[labels], minlength=QUICK.folds)
    assert counts.max() - counts.min() <= 1


def test_the_folds_of_the_same_customers_are_the_same_in_any_order():
    random = np.random.default_rng(2)
    users, labels = np.arange(500).astype(str), random.random(500) < 0.3
    order = random.permutation(500)
    fold = assign_folds(labels, users, QUICK)
    assert np.array_equal(assign_folds(labels[order], users[order], QUICK), fold[order])


def test_the_threshold_is_the_score_of_the_greatest_f1():
    random = np.random.default_rng(3)
    labels = random.random(500) < 0.3
    scores = np.round(np.clip(labels * 0.2 + random.random(500) * 0.7, 0, 1), 3)
    best = max(f1_score(labels, scores >= threshold) for threshold in np.unique(scores))
    assert f1_score(labels, scores >= choose_threshold(labels, scores)) == pytest.approx(best)
