"""Figures of a list against its labels, compared with scikit-learn."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import expit
from scipy.stats import binom
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, precision_score, recall_score, roc_auc_score

from churn import statistics
from churn.outcomes.figures import Performance, effect_of_campaign, measure
from churn.outcomes.logistic import CLIP, fit_intercept, fit_line, log_odds

THRESHOLD = 0.3


def a_list(rows: int = 2_000, seed: int = 3, intercept: float = -0.3, slope: float = 0.8) -> tuple[np.ndarray, ...]:
    """Labels, scores, predictions and deciles; the log odds of churn are a line of those of the scores."""
    random = np.random.default_rng(seed)
    scores = np.round(expit(random.normal(-1, 1.2, size=rows)), 3)
    labels = random.random(rows) < expit(intercept + slope * log_odds(scores))
    ranks = np.argsort(np.argsort(-scores, kind="stable"))
    return labels, scores, scores >= THRESHOLD, 1 + ranks * 10 // rows


def regression(labels: np.ndarray, scores: np.ndarray) -> LogisticRegression:
    return LogisticRegression(C=np.inf, tol=1e-12, max_iter=10_000, solver="newton-cholesky").fit(
        log_odds(scores)[:, None], labels
    )


# --- figures ----------------------------------------------------------------------------------------------------


def test_the_figures_are_scikit_learns():
    labels, scores, predictions, deciles = a_list()
    found = measure(labels, scores, predictions, deciles)
    assert (found.rows, found.churned) == (2_000, labels.sum())
    assert found.auc.value == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert found.auc == statistics.auc(labels, scores)
    assert found.brier == pytest.approx(brier_score_loss(labels, scores), abs=1e-12)
    assert found.precision == pytest.approx(precision_score(labels, predictions), abs=1e-12)
    assert found.recall == pytest.approx(recall_score(labels, predictions), abs=1e-12)
    assert (found.mean_probability, found.churn_rate) == (pytest.approx(scores.mean()), labels.mean())


def test_lift_and_capture_are_of_the_top_decile_of_the_list():
    labels = np.array([True, True, False, True, False, False, False, False, False, False])
    scores = np.linspace(0.9, 0.1, 10)
    # Two rows of this part of the list are in its top decile, one of whom left; three of ten left.
    found = measure(labels, scores, scores > 0.5, np.array([1, 2, 1, 2, 3, 3, 4, 5, 9, 10]))
    assert found.lift == pytest.approx(0.5 / 0.3)
    assert found.capture == pytest.approx(1 / 3)


def test_a_part_of_the_list_without_its_top_decile_has_no_lift_and_captures_nobody():
    labels, scores, predictions, deciles = a_list()
    found = measure(*(each[deciles > 1] for each in (labels, scores, predictions, deciles)))
    assert (found.lift, found.capture) == (None, 0.0)


def test_nothing_predicted_has_no_precision_and_recalls_nobody():
    labels, scores, _, deciles = a_list()
    found = measure(labels, scores, np.zeros(len(labels), bool), deciles)
    assert (found.precision, found.recall) == (None, 0.0)


def test_nobody_left_leaves_only_the_figures_that_need_no_leaver():
    labels, scores, predictions, deciles = a_list()
    found = measure(np.zeros(len(labels), bool), scores, predictions, deciles)
    assert found == Performance(
        len(labels), 0, None, float((scores**2).mean()), None, None, pytest.approx(scores.mean()), 0.0,
        None, None, 0.0, None,
    )  # fmt: skip


def test_no_rows_have_no_figures():
    nothing = np.zeros(0)
    found = measure(nothing.astype(bool), nothing, nothing.astype(bool), nothing.astype(int))
    assert found == Performance(0, 0, *[None] * 10)


@given(
    st.integers(0, 12).flatmap(
        lambda rows: st.tuples(
            arrays(bool, rows), arrays(float, rows, elements=st.sampled_from([0.0, 1e-9, 0.2, 0.5, 0.50001, 1.0]))
        )
    )
)
def test_no_list_however_small_warns_or_fails(given):
    labels, scores = given
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = measure(labels, scores, scores >= 0.5, np.arange(len(labels)) + 1)
    figures = [each for each in vars(found).values() if each is not None and not isinstance(each, statistics.Estimate)]
    assert np.isfinite(figures).all()
    assert (found.calibration_intercept is None) == (found.churned in {0, found.rows})


@given(st.integers(0, 2**32 - 1))
def test_the_order_of_the_rows_does_not_matter(seed):
    table = a_list(200)
    order = np.random.default_rng(seed).permutation(200)
    found, shuffled = measure(*table), measure(*(each[order] for each in table))
    for name in ("brier", "calibration_intercept", "calibration_slope", "lift", "capture", "precision", "recall"):
        assert getattr(shuffled, name) == pytest.approx(getattr(found, name), rel=1e-9), name
    assert shuffled.auc.value == pytest.approx(found.auc.value, abs=1e-12)


# --- calibration ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("intercept", "slope"), [(0.0, 1.0), (-0.5, 0.6), (1.0, 2.5), (0.3, -0.7)])
def test_the_line_is_scikit_learns_logistic_regression(intercept, slope):
    labels, scores, *_ = a_list(3_000, 4, intercept, slope)
    found, expected = fit_line(labels, scores), regression(labels, scores)
    assert found.slope == pytest.approx(expected.coef_[0, 0], abs=1e-9)
    assert found.intercept == pytest.approx(expected.intercept_[0], abs=1e-9)


def test_the_covariance_of_the_line_is_that_of_many_lists():
    lists = [a_list(800, seed) for seed in range(600)]
    found = [fit_line(labels, scores) for labels, scores, *_ in lists]
    spread = np.cov([[each.intercept, each.slope] for each in found], rowvar=False)
    assert np.mean([each.intercept_variance for each in found]) == pytest.approx(spread[0, 0], rel=0.15)
    assert np.mean([each.slope_variance for each in found]) == pytest.approx(spread[1, 1], rel=0.15)
    assert np.mean([each.covariance for each in found]) == pytest.approx(spread[0, 1], rel=0.15)


def test_the_intercept_makes_as_many_leave_as_did():
    labels, scores, *_ = a_list()
    shifted = expit(log_odds(scores) + fit_intercept(labels, scores))
    assert shifted.mean() == pytest.approx(labels.mean(), abs=1e-9)


def test_true_probabilities_have_intercept_0_and_slope_1():
    labels, scores, predictions, deciles = a_list(200_000, intercept=0.0, slope=1.0)
    found = measure(labels, scores, predictions, deciles)
    assert found.calibration_intercept == pytest.approx(0.0, abs=0.03)
    assert found.calibration_slope == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize(
    ("labels", "scores"),
    [
        ([True, True, False, False], [0.9, 0.8, 0.2, 0.1]),
        ([True, True, False, False], [0.9, 0.5, 0.5, 0.1]),
        ([False, False, True, True], [0.9, 0.5, 0.5, 0.1]),
        ([True, False, True, False], [0.5, 0.5, 0.5, 0.5]),
        ([True, True], [0.3, 0.6]),
        ([False], [0.3]),
    ],
    ids=["separated", "touching", "separated backwards", "one score", "one class", "one row"],
)
def test_where_no_finite_slope_fits_there_is_none(labels, scores):
    assert fit_line(np.array(labels), np.array(scores)) is None


def test_scores_of_0_and_1_count_as_the_clipped_ones():
    labels, scores, *_ = a_list()
    extreme = np.where(scores < 0.1, 0.0, np.where(scores > 0.8, 1.0, scores))
    clipped = np.clip(extreme, CLIP, 1 - CLIP)
    assert fit_line(labels, extreme) == fit_line(labels, clipped)
    assert fit_intercept(labels, extreme) == fit_intercept(labels, clipped)


# --- campaign ---------------------------------------------------------------------------------------------------


def test_the_effect_is_the_difference_of_churn_rates():
    found = effect_of_campaign(1_260, 6_300, 189, 700)
    assert found.value == pytest.approx(0.20 - 0.27)
    # Wald's error, from which so many rows hardly differ.
    assert found.error == pytest.approx(np.sqrt(0.2 * 0.8 / 6_300 + 0.27 * 0.73 / 700), rel=0.05)


@pytest.mark.parametrize(
    ("arms", "bound"),
    [
        ((1_260, 6_300, 189, 700), -0.10542957781886737),
        ((0, 90, 0, 10), -0.27753279986288926),
        ((3, 30, 5, 12), -0.04406398755498986),
    ],
)
def test_the_wider_side_is_newcombes_interval_of_statsmodels(arms, bound):
    # confint_proportions_2indep(method="newcomb", compare="diff") of statsmodels 0.15.0.
    assert min(abs(each - bound) for each in effect_of_campaign(*arms).interval()) < 1e-12


def test_an_effect_without_a_leaver_is_not_certain():
    low, high = effect_of_campaign(0, 90, 0, 10).interval()
    assert low < -0.1
    assert high > 0.1


def test_without_both_arms_there_is_no_effect():
    assert effect_of_campaign(3, 10, 0, 0) is None
    assert effect_of_campaign(0, 0, 3, 10) is None


@pytest.mark.parametrize(("treated", "control"), [(90, 10), (270, 30), (630, 70)])
@pytest.mark.parametrize(("left", "stayed"), [(0.05, 0.05), (0.02, 0.10), (0.20, 0.27), (0.5, 0.5)])
def test_the_interval_of_the_effect_covers_it_as_often_as_it_says(treated, control, left, stayed):
    def covers(first: int, second: int) -> bool:
        low, high = effect_of_campaign(first, treated, second, control).interval()
        return low <= left - stayed <= high

    chances = (
        np.outer(binom.pmf(np.arange(treated + 1), treated, left), binom.pmf(np.arange(control + 1), control, stayed))
    )  # fmt: skip
    likely = np.argwhere(chances > 1e-9)
    # Exact: every number of leavers, by its chance.
    assert sum(chances[first, second] for first, second in likely if covers(first, second)) > 0.925
