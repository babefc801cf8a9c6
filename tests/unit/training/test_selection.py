"""The selection of the recipe, on customers that a candidate recipe has not seen, on the newest date."""

from threading import Lock
from time import sleep

import numpy as np
import pandas as pd
import pytest
from feast.types import Float64
from sklearn.metrics import roc_auc_score

from churn import statistics
from churn.training import selection
from churn.training.recipe import Parameters, Recipe, Rows
from churn.training.selection import Selection, run_at_once

TYPES = {"one": Float64, "two": Float64}


def rows_of(customers: int, labels_of, dates: int = 2, seed: int = 1) -> Rows:
    """Every customer on each date, with random features; `labels_of(features, newest, random)` gives the labels."""
    random = np.random.default_rng(seed)
    features = pd.DataFrame({name: random.normal(size=customers * dates) for name in TYPES})
    newest = np.repeat(np.arange(dates) == dates - 1, customers)
    users = np.tile(np.arange(customers).astype(str), dates)
    return Rows(features, labels_of(features, newest, random), users, newest)


def select(rows: Rows, types: dict, parameters: Parameters) -> Selection:
    return selection.select(rows, {"all": types}, parameters, forward=rows.forward_in_time(parameters))


def by_a_line(features, _, random):
    return features["one"].to_numpy() + random.normal(size=len(features)) > 0.8


def by_a_ring(features, _, random):
    return (features["one"] ** 2 + features["two"] ** 2).to_numpy() + random.normal(size=len(features)) * 0.3 < 0.8


def test_linearly_separable_data_chooses_the_simplest_family():
    assert select(rows_of(1500, by_a_line), TYPES, Parameters()).recipe.family == "logistic regression"


def test_data_that_is_not_linear_chooses_trees():
    chosen = select(rows_of(1500, by_a_ring), TYPES, Parameters())
    assert chosen.recipe.family in ("boosted trees", "random forest")
    auc = {each.recipe.family: each.auc.value for each in chosen.contenders}
    assert auc["logistic regression"] < 0.6 < auc[chosen.recipe.family]


def test_a_memorized_customer_does_not_count_in_the_selection():
    """Features and label of a customer are equal on both dates, so only a model that saw the customer can predict."""
    random = np.random.default_rng(3)
    one = pd.DataFrame({name: random.normal(size=800) for name in TYPES})
    labels = np.tile(random.random(800) < 0.3, 2)
    users = np.tile(np.arange(800).astype(str), 2)
    rows = Rows(pd.concat([one, one], ignore_index=True), labels, users, np.repeat([False, True], 800))
    found = select(rows, TYPES, Parameters(families=("random forest",)))
    assert found.auc.value == pytest.approx(0.5, abs=0.06)


def test_the_newest_date_is_graded_by_models_of_earlier_dates():
    """The relation is reversed on the newest date, so a model trained on that date would show."""

    def turned(features, newest, random):
        sign = np.where(newest, -1, 1)
        return sign * features["one"].to_numpy() + random.normal(size=len(features)) * 0.5 > 0.5

    found = select(rows_of(900, turned), TYPES, Parameters(families=("logistic regression",)))
    assert found.contenders[0].auc.value < 0.2


@pytest.mark.parametrize(("leavers", "stayers"), [(5, 0), (5, 1), (29, 200), (200, 29)])
@pytest.mark.parametrize("few_are_newest", [False, True])
def test_a_date_with_too_few_customers_is_not_held_out(leavers, stayers, few_are_newest):
    """Earlier dates can consist only of leavers who were reported late."""
    rows = rows_of(900, by_a_line, dates=1)
    few = leavers + stayers
    more = rows_of(few, lambda *_: np.arange(few) < leavers, dates=1, seed=2)
    both = Rows(
        pd.concat([rows.features, more.features], ignore_index=True),
        np.concatenate([rows.labels, more.labels]),
        np.concatenate([rows.users, np.char.add("late ", more.users)]),
        np.concatenate([np.full(900, not few_are_newest), np.full(few, few_are_newest)]),
    )
    found = select(both, TYPES, Parameters())
    assert not both.forward_in_time(Parameters())
    assert len(found.contenders[0].scores) == 900 + few


def test_calibration_is_judged_on_the_shipped_recipe():
    """Over log odds, where the classifier has them: a well calibrated model stays as it is."""
    rows = rows_of(3000, by_a_line, dates=1)
    labels, fold = rows.labels, np.arange(len(rows)) % 3
    odds = 2.0 * (rows.features["one"].to_numpy() - 0.8)
    best = selection.Contender(Recipe("logistic regression", {"C": 1.0}), "all", None, 0.0, 1 / (1 + np.exp(-odds)))
    calibrated = selection._calibrate(best, labels, fold, Parameters())
    assert np.mean((calibrated - labels) ** 2) < np.mean((best.scores - labels) ** 2) + 1e-4


def test_a_single_date_is_graded_out_of_fold():
    found = select(rows_of(900, by_a_line, dates=1), TYPES, Parameters(families=("logistic regression",)))
    assert len(found.contenders[0].scores) == 900
    assert found.auc.value > 0.65


def test_a_forest_is_calibrated_and_a_logistic_regression_is_not():
    rows = rows_of(1500, by_a_line)
    assert select(rows, TYPES, Parameters(families=("random forest",))).recipe.calibrated
    assert not select(rows, TYPES, Parameters(families=("logistic regression",))).recipe.calibrated


def test_more_rows_than_the_limit_are_compared_on_a_share_of_the_customers():
    rows = rows_of(2000, by_a_line)
    found = select(rows, TYPES, Parameters(families=("logistic regression",), selection_rows=1000))
    assert 350 < len(found.contenders[0].scores) < 650


def test_the_same_rows_choose_the_same_recipe_threshold_and_scores_however_the_threads_run():
    rows = rows_of(600, by_a_ring)
    first, second = (select(rows, TYPES, Parameters()) for _ in range(2))
    assert (first.recipe, first.threshold, first.auc) == (second.recipe, second.threshold, second.auc)
    for one, other in zip(first.contenders, second.contenders, strict=True):
        assert np.array_equal(one.scores, other.scores)


def test_the_auc_of_the_choice_is_that_of_its_scores():
    rows = rows_of(900, by_a_line, dates=1)
    found = select(rows, TYPES, Parameters(families=("logistic regression",)))
    chosen = next(each for each in found.contenders if each.recipe == found.recipe)
    assert found.auc.value == pytest.approx(roc_auc_score(rows.labels, chosen.scores))


@pytest.mark.parametrize(("other", "service"), [(0.0, "one"), (2.0, "both")])
def test_a_feature_service_is_chosen_only_if_its_further_features_help(other, service):
    def by_both(features, _, random):
        told = features["one"] + other * features["two"]
        return told.to_numpy() + random.normal(size=len(features)) > 0.8

    rows, parameters = rows_of(1500, by_both, dates=1), Parameters(families=("logistic regression",))
    services = {"one": {"one": TYPES["one"]}, "both": TYPES}
    found = selection.select(rows, services, parameters, forward=False)
    assert found.service == service
    assert [(each.service, *each.recipe.settings.values()) for each in found.contenders] == [
        ("one", 0.1), ("one", 1.0), ("both", 0.1), ("both", 1.0)
    ]  # fmt: skip


def test_the_first_contender_within_one_standard_error_of_the_best_is_chosen():
    random = np.random.default_rng(5)
    labels = random.random(4000) < 0.3
    signal = labels + random.normal(size=4000)

    def contender(name, scores):
        return selection.Contender(Recipe(name), "all", statistics.auc(labels, scores), 0.0, scores)

    worse = contender("worse", signal + random.normal(size=4000))
    alike = contender("alike", signal + 0.05 * random.normal(size=4000))
    best = contender("best", signal)
    assert worse.auc.value < alike.auc.value < best.auc.value
    assert selection.simplest_of_best([worse, alike, best], labels) is alike
    assert selection.simplest_of_best([best, alike], labels) is best


def test_job_results_keep_their_order_and_an_error_is_raised():
    assert run_at_once([lambda n=n: n * n for n in range(7)]) == [n * n for n in range(7)]
    with pytest.raises(ZeroDivisionError):
        run_at_once([lambda: 1, lambda: 1 // 0])


def test_as_many_jobs_run_at_once_as_their_rows_fit_into_memory(monkeypatch):
    monkeypatch.setattr(selection.joblib, "cpu_count", lambda: 8)
    monkeypatch.setattr(selection, "available_memory", lambda: 2 * selection.COPIES * 3 * 1000)
    running, most, guard = [], [], Lock()

    def job():
        with guard:
            running.append(1)
            most.append(len(running))
        sleep(0.05)
        with guard:
            running.pop()

    run_at_once([job] * 8, 1000)
    assert max(most) == 3


def test_the_result_is_the_same_however_few_run_at_once(monkeypatch):
    rows = rows_of(400, by_a_line)
    first = select(rows, TYPES, Parameters())
    monkeypatch.setattr(selection, "available_memory", lambda: 0)
    assert select(rows, TYPES, Parameters()).auc == first.auc
