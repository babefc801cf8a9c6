"""What is expected of a list before its labels: the figures, how often their intervals cover, and when to believe."""

import json
from dataclasses import asdict, fields
from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from churn import statistics
from churn.outcomes.expected import (
    MIN_EACH_CLASS,
    Calibration,
    Checked,
    Expected,
    believed,
    expect,
    fit_calibration,
)
from churn.outcomes.logistic import Line, log_odds
from churn.statistics import Estimate

TRUE = Calibration(Line(0.0, 1.0, 0.0, 0.0, 0.0), 1_000_000, 250_000)
"""Scores are probabilities, and that is certain."""


def a_list(random: np.random.Generator, rows: int, weight: float = 1.3, turned: bool = False) -> tuple[np.ndarray, ...]:
    """Labels and scores; the scores are too extreme, and with `turned` say the opposite."""
    truth = weight * random.normal(size=rows) - 1
    labels = random.random(rows) < expit(-truth - 2 if turned else truth)
    return labels, expit(0.4 + 1.5 * truth)


def realized(labels: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    return {
        "auc": statistics.auc(labels, scores).value,
        "brier": float(np.mean((scores - labels) ** 2)),
        "churn_rate": float(labels.mean()),
    }


# --- figures ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("intercept", "slope", "auc"),
    [(0.0, 1.0, 0.8324979114452797), (-0.5, 0.6, 0.744727110215204), (0.3, -0.7, 0.22896818623600174)],
)
def test_the_expected_auc_is_nannymls(intercept, slope, auc):
    # estimate_roc_auc(p, s) of NannyML 0.13.1, which rounds its sums to five digits.
    scores = np.arange(1, 400) / 400
    found = expect(scores, Calibration(Line(intercept, slope, 0.0, 0.0, 0.0), 1_000, 300))
    assert found.auc.value == pytest.approx(auc, abs=1e-7)


@given(st.integers(0, 2**32 - 1), st.floats(-2, 2), st.floats(-2, 2))
def test_each_row_counts_as_churned_and_as_not_by_its_probability(seed, intercept, slope):
    scores = np.round(np.random.default_rng(seed).random(400), 2)
    chances = expit(intercept + slope * log_odds(scores))
    found = expect(scores, Calibration(Line(intercept, slope, 0.0, 0.0, 0.0), 1_000, 300))
    labels, twice, weights = np.repeat([True, False], 400), np.tile(scores, 2), np.append(chances, 1 - chances)
    if found.auc:
        assert found.auc.value == pytest.approx(roc_auc_score(labels, twice, sample_weight=weights), abs=1e-12)
    assert found.brier.value == pytest.approx(np.average((twice - labels) ** 2, weights=weights), abs=1e-12)
    assert found.churn_rate.value == pytest.approx(np.average(labels, weights=weights), abs=1e-12)


@given(st.integers(0, 2**32 - 1))
def test_the_order_of_the_rows_does_not_matter(seed):
    random = np.random.default_rng(seed)
    scores = np.round(random.random(300), 2)
    found, shuffled = expect(scores, TRUE), expect(random.permutation(scores), TRUE)
    for name in ("auc", "brier", "churn_rate"):
        for part in ("value", "error"):
            ours, theirs = (getattr(getattr(each, name), part) for each in (found, shuffled))
            assert ours == pytest.approx(theirs, abs=1e-12), (name, part)


@given(st.floats(0.1, 0.9), st.integers(400, 900))
def test_one_score_for_all_has_an_auc_of_a_half_for_certain(score, rows):
    assert expect(np.full(rows, score), TRUE).auc == Estimate(pytest.approx(0.5), pytest.approx(0.0, abs=1e-12))


def test_scores_that_are_certain_are_expected_to_be_right():
    found = expect(np.repeat([0.0, 1.0], [700, 300]), TRUE)
    assert found.auc.value == pytest.approx(1.0, abs=1e-3)
    assert found.brier.value == pytest.approx(0.0, abs=1e-3)
    assert found.churn_rate.value == pytest.approx(0.3, abs=1e-3)


def test_no_rows_are_expected_to_do_nothing():
    assert expect(np.zeros(0), TRUE) is None


def test_too_few_expected_leavers_have_no_auc():
    assert expect(np.full(MIN_EACH_CLASS * 10 - 10, 0.1), TRUE).auc is None
    assert expect(np.full(MIN_EACH_CLASS * 10 + 10, 0.1), TRUE).auc is not None


# --- intervals --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("figure", [field.name for field in fields(Expected)])
def test_the_error_of_a_certain_calibration_is_that_of_drawn_labels(figure):
    random = np.random.default_rng(1)
    scores = np.round(expit(random.normal(-1, 1.3, size=700)), 2)
    drawn = [realized(random.random(700) < scores, scores)[figure] for _ in range(2_000)]
    found = getattr(expect(scores, TRUE), figure)
    assert found.error == pytest.approx(np.std(drawn), rel=0.06)
    assert found.value == pytest.approx(np.mean(drawn), abs=4 * found.error / np.sqrt(2_000))


@pytest.mark.parametrize("figure", [field.name for field in fields(Expected)])
def test_the_error_of_a_calibration_is_that_of_drawn_lines(figure):
    scores = np.round(expit(np.random.default_rng(1).normal(-1, 1.3, size=1_000)), 2)
    mean, covariance = [0.1, 0.9], np.array([[0.004, 0.002], [0.002, 0.003]])

    def expected(intercept: float, slope: float, variances: np.ndarray) -> Estimate:
        line = Line(intercept, slope, *map(float, variances[[0, 1, 0], [0, 1, 1]]))
        return getattr(expect(scores, Calibration(line, 1_000, 300)), figure)

    drawn = np.random.default_rng(2).multivariate_normal(mean, covariance, size=1_000)
    spread = np.std([expected(*each, covariance).value for each in drawn])
    with_it, without = expected(*mean, covariance).error, expected(*mean, covariance * 0).error
    assert np.sqrt(with_it**2 - without**2) == pytest.approx(spread, rel=0.1)


@pytest.mark.parametrize(("fitted", "rows"), [(400, 400), (1_400, 7_000), (7_000, 1_400)])
def test_the_interval_covers_the_realized_figure_as_often_as_it_says(fitted, rows):
    random, lists = np.random.default_rng(fitted), 300
    covered = dict.fromkeys((field.name for field in fields(Expected)), 0)
    for _ in range(lists):
        found = expect((later := a_list(random, rows))[1], fit_calibration(*a_list(random, fitted)))
        for name, value in realized(*later).items():
            low, high = getattr(found, name).interval()
            covered[name] += low <= value <= high
    # Three standard errors of 300 lists below and above 95 %.
    assert all(0.912 < each / lists < 0.988 for each in covered.values()), covered


# --- calibration ------------------------------------------------------------------------------------------------


def test_a_calibration_makes_scores_that_are_too_extreme_true():
    found = fit_calibration(*a_list(np.random.default_rng(1), 100_000))
    assert (found.rows, found.line.slope) == (100_000, pytest.approx(1 / 1.5, abs=0.02))
    assert found.line.intercept == pytest.approx(-0.4 / 1.5, abs=0.03)


def test_a_calibration_survives_json():
    found = fit_calibration(*a_list(np.random.default_rng(1), 1_000))
    kept = json.loads(json.dumps(asdict(found)))
    assert Calibration(**{**kept, "line": Line(**kept["line"])}) == found


def test_few_rows_of_a_class_give_no_calibration():
    scores = np.tile(np.linspace(0.1, 0.9, 9), 100)
    for churned in (0, MIN_EACH_CLASS - 1, 900 - MIN_EACH_CLASS + 1, 900):
        labels = np.arange(900) < churned
        assert fit_calibration(labels, scores) is None
    assert fit_calibration(np.arange(900) < MIN_EACH_CLASS, scores).churned == MIN_EACH_CLASS
    assert fit_calibration(np.zeros(0, bool), np.zeros(0)) is None


def test_scores_that_separate_the_classes_give_no_calibration():
    assert fit_calibration(np.arange(200) < 100, np.linspace(0.9, 0.1, 200)) is None
    assert fit_calibration(np.arange(200) < 100, np.full(200, 0.3)) is None


# --- believed ---------------------------------------------------------------------------------------------------


def test_without_a_track_record_the_expectation_is_shown_and_said_to_be_unchecked():
    assert believed([]) == (True, "no expectation could be held against labels yet")


def test_the_last_date_decides_in_whatever_order_labels_came():
    hit = Checked(date(2024, 2, 29), Estimate(0.8, 0.01), Estimate(0.81, 0.02))
    miss = Checked(date(2024, 1, 31), Estimate(0.8, 0.01), Estimate(0.7, 0.02))
    assert believed([hit, miss]) == (
        True, "0.810 came at 2024-02-29, within the 0.780 to 0.820 that were expected",
    )  # fmt: skip
    later_miss = miss._replace(as_of=date(2024, 3, 31))
    assert believed([later_miss, hit, miss]) == (
        False, "0.700 came at 2024-03-31, outside of the 0.780 to 0.820 that were expected",
    )  # fmt: skip


def test_a_turned_relation_is_not_seen_before_its_labels_and_disbelieved_after_them():
    random = np.random.default_rng(4)
    calibration = fit_calibration(*a_list(random, 1_400))
    same, turned = a_list(random, 7_000), a_list(random, 7_000, turned=True)
    before, after = (expect(scores, calibration).auc for _, scores in (same, turned))
    assert before.value == pytest.approx(after.value, abs=0.02)
    track = [Checked(date(2024, 1, 31), before, statistics.auc(*same))]
    assert believed(track)[0]
    track.append(Checked(date(2024, 2, 29), after, statistics.auc(*turned)))
    assert not believed(track)[0]
