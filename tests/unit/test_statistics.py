"""The gate's statistics, compared with resampling, scipy, and known edge cases."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import bootstrap, mannwhitneyu
from sklearn.metrics import roc_auc_score

from churn.statistics import (
    Estimate,
    auc,
    auc_difference,
    brier_difference,
    calibration_error,
    chance_of_auc,
    error_of_auc,
    holm,
)


def pair(rows: int = 600, seed: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, and the scores of two models with correlated errors; scores have ties, like those of trees."""
    random = np.random.default_rng(seed)
    labels = random.random(rows) < 0.27
    shared = labels * 1.2 + random.normal(size=rows)
    scores = [1 / (1 + np.exp(-(shared + random.normal(size=rows) * 0.5))) for _ in range(2)]
    return labels, *(np.round(each, 2) for each in scores)


def resampled(statistic, labels, *scores) -> float:
    """The standard error by scipy's bootstrap of rows within each class, as in DeLong's variance."""
    positives, negatives = np.flatnonzero(labels), np.flatnonzero(~labels)

    def of(drawn_positives, drawn_negatives):
        rows = np.concatenate([drawn_positives, drawn_negatives])
        return statistic(labels[rows], *(each[rows] for each in scores))

    found = bootstrap(
        (positives, negatives), of, vectorized=False, n_resamples=1500, method="percentile",
        rng=np.random.default_rng(5),
    )  # fmt: skip
    return float(found.standard_error)


def test_auc_is_scikit_learns_with_ties():
    labels, scores, _ = pair()
    assert auc(labels, scores).value == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)


def test_the_error_of_an_auc_is_that_of_the_bootstrap():
    labels, scores, _ = pair()
    assert auc(labels, scores).error == pytest.approx(resampled(roc_auc_score, labels, scores), rel=0.08)


def test_the_expected_error_of_an_auc_matches_many_cohorts():
    random = np.random.default_rng(8)
    labels = np.arange(300) < 80
    found = [auc(labels, labels * 1.35 + random.normal(size=300)).value for _ in range(2000)]
    # Scores spread alike in both classes, for which the formula is a little cautious.
    assert 1.0 < error_of_auc(float(np.mean(found)), 80, 220) / np.std(found) < 1.3


def test_the_error_of_a_difference_of_aucs_is_that_of_the_bootstrap():
    labels, scores, other = pair()
    found = auc_difference(labels, scores, other)
    assert found.value == pytest.approx(roc_auc_score(labels, scores) - roc_auc_score(labels, other), abs=1e-12)
    expected = resampled(lambda y, a, b: roc_auc_score(y, a) - roc_auc_score(y, b), labels, scores, other)
    assert found.error == pytest.approx(expected, rel=0.08)
    # Paired: far below what two models on rows of their own would have.
    assert found.error < 0.7 * np.hypot(auc(labels, scores).error, auc(labels, other).error)


def test_the_interval_covers_the_truth_as_often_as_it_says():
    true, covered = 0.0, 0
    for seed in range(400):
        low, high = auc_difference(*pair(300, seed)).interval(0.95)
        covered += low <= true <= high
    assert 0.92 < covered / 400 < 0.98


def test_identical_scores_differ_by_nothing_with_certainty():
    labels, scores, _ = pair()
    assert auc_difference(labels, scores, scores) == Estimate(0.0, 0.0)
    assert auc_difference(labels, scores, scores * 0.5) == Estimate(0.0, 0.0)
    assert brier_difference(labels, scores, scores) == Estimate(0.0, 0.0)


def test_without_two_rows_of_each_class_there_is_no_auc():
    scores = np.linspace(0, 1, 10)
    for positives in (0, 1, 9, 10):
        assert auc(np.arange(10) < positives, scores) is None
        assert auc_difference(np.arange(10) < positives, scores, scores) is None


def test_the_difference_of_brier_scores_is_the_mean_of_the_rows():
    labels, scores, other = pair()
    found = brier_difference(labels, scores, other)
    each = (scores - labels) ** 2 - (other - labels) ** 2
    assert found.value == pytest.approx(each.mean())
    drawn = bootstrap((each,), np.mean, n_resamples=2000, rng=np.random.default_rng(5))
    assert found.error == pytest.approx(drawn.standard_error, rel=0.08)


def test_true_probabilities_are_better_calibrated_than_doubled_ones():
    random = np.random.default_rng(2)
    truth = random.random(5000) * 0.4
    labels = random.random(5000) < truth
    assert calibration_error(labels, truth) < 0.03
    assert calibration_error(labels, truth * 2) > 0.15
    assert calibration_error(labels[:0], truth[:0]) is None


def test_holm_rejects_step_by_step():
    # Worked by hand: 0.01 <= 0.05/4; 0.015 <= 0.05/3; 0.03 > 0.05/2 stops, and 0.04 with it.
    assert holm([0.04, 0.01, 0.03, 0.015]) == [False, True, False, True]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_lies_between_bonferroni_and_no_correction(p_values):
    for p_value, rejected in zip(p_values, holm(p_values), strict=True):
        assert rejected or p_value > 0.05 / len(p_values)
        assert not rejected or p_value <= 0.05


def test_the_permutation_test_agrees_with_the_rank_sum_test():
    random = np.random.default_rng(4)
    labels = random.random(120) < 0.3
    for shift in (0.0, 0.3, 0.5):
        scores = labels * shift + random.normal(size=120)
        expected = mannwhitneyu(scores[labels], scores[~labels], alternative="greater").pvalue
        assert chance_of_auc(labels, scores) == pytest.approx(expected, abs=0.03)


def test_a_permutation_p_value_is_never_zero():
    labels = np.arange(100) < 30
    assert 0 < chance_of_auc(labels, labels.astype(float)) < 0.001


def test_an_estimate_gives_probability_bound_and_interval():
    assert Estimate(0.0, 0.0).chance_of_at_most(0.1) == 0.0
    assert Estimate(0.1, 0.0).chance_of_at_most(0.1) == 1.0
    assert Estimate(0.0, 1.0).lower_bound(0.95) == pytest.approx(-1.645, abs=0.001)
    assert Estimate(0.0, 1.0).interval(0.95) == pytest.approx((-1.96, 1.96), abs=0.001)


def test_more_rows_take_longer_in_proportion():
    """A pairwise comparison of 200,000 rows would take 40 times as long."""
    seconds = []
    for rows in (20_000, 200_000):
        labels, scores, other = pair(rows)
        started = time.process_time()
        auc_difference(labels, scores, other)
        seconds.append(time.process_time() - started)
    assert seconds[1] < 40 * seconds[0]
