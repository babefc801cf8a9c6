"""Regime change: when the earlier dates say nothing about a later one, which says something about itself."""

from datetime import date

import numpy as np
import pandas as pd
import pytest
from feast.types import Float64
from hypothesis import given
from hypothesis import strategies as st

from churn.statistics import FLOOR, Estimate
from churn.training.recipe import Parameters, Rows
from churn.training.regime import REGIME_CHANGE, Judged, judge_dates, judged_of, learned_dates

DATES = [date(2024, month, 28) for month in (1, 2, 3, 4)]
FEBRUARY = DATES[1]
ERROR = 0.01

same, turned, flipped, nothing = (1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, 0.0)
"""Weights of two features in the log odds of churn."""


def judged(forward: float, in_time: float, error: float = ERROR) -> Judged:
    return Judged(FEBRUARY, Estimate(forward, error), Estimate(in_time, error), Estimate(in_time - forward, error))


def months(*weights: tuple[float, float], customers: int = 3000) -> tuple[Rows, np.ndarray]:
    """The rows of the same customers at each date, and their dates."""
    random = np.random.default_rng(5)
    features, labels = [], []
    for weight in weights:
        own = random.normal(size=(customers, 2))
        features.append(pd.DataFrame(own, columns=["fee", "skips"]))
        labels.append(random.random(customers) < 1 / (1 + np.exp(1 - own @ weight)))
    days = np.repeat(np.array(DATES[: len(weights)], dtype="datetime64[D]"), customers)
    users = np.tile([f"user-{number}" for number in range(customers)], len(weights))
    return Rows(pd.concat(features, ignore_index=True), np.concatenate(labels), users, days == days.max()), days


def judge(*weights: tuple[float, float], **named: int) -> list[Judged]:
    return judge_dates(*months(*weights, **named), {"fee": Float64, "skips": Float64}, Parameters())


def learned(*weights: tuple[float, float]) -> list[date]:
    """Return the dates that a candidate of the last of these months learns from."""
    return learned_dates(DATES[: len(weights)], judge(*weights))


@pytest.mark.parametrize(
    ("forward", "in_time", "changed"),
    [
        (0.48, 0.65, True),
        (0.54, 0.65, False),  # its upper bound is above the floor
        (0.48, 0.56, False),  # the lower bound in time is below it
        (0.80, 0.82, False),
        (0.20, 0.65, True),
    ],
)
def test_a_change_is_called_where_only_the_figure_in_time_is_better_than_chance(forward, in_time, changed):
    assert judged(forward, in_time).changed == changed


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 0.2))
def test_no_change_is_called_where_the_earlier_dates_are_better_than_the_floor(forward, in_time, error):
    found = judged(forward, in_time, error)
    assert not found.changed or (forward <= FLOOR <= in_time and forward < in_time)


@pytest.mark.parametrize(("forward", "swapped"), [(0.20, True), (0.24, True), (0.26, False), (0.48, False)])
def test_labels_look_swapped_where_the_earlier_dates_read_backwards_do_as_well(forward, swapped):
    assert judged(forward, 0.80).swapped == swapped


def test_a_tag_holds_every_figure():
    found = judged(0.48, 0.65)
    assert judged_of({REGIME_CHANGE: found.to_tag(), "graded_on": str(FEBRUARY)}) == found


@pytest.mark.parametrize("tag", ["", "{}", "[]", '{"forward": 1}', '{"forward": [0.5, 0.1]}', "true"])
def test_an_odd_tag_is_no_change(tag):
    assert judged_of({REGIME_CHANGE: tag, "graded_on": str(FEBRUARY)}) is None
    assert judged_of({}) is None


def test_a_relation_that_stays_is_no_change():
    found = judge(same, same, same)
    assert [each.day for each in found] == DATES[1:3]
    assert learned_dates(DATES[:3], found) == DATES[:3]
    assert all(each.forward.value > 0.7 for each in found)


def test_a_relation_that_turns_is_a_change_and_only_its_date_is_learned():
    (found,) = judge(same, turned)
    assert (found.changed, found.swapped) == (True, False)
    assert "the dates before say nothing about 2024-02-28" in str(found)
    assert learned(same, turned) == [FEBRUARY]


def test_a_date_that_nothing_explains_is_no_change():
    assert learned(same, nothing) == DATES[:2]


def test_later_dates_are_judged_and_learn_without_those_before_a_change():
    found = judge(same, turned, turned, turned)
    assert [each.changed for each in found] == [True, False, False]
    # With January among them it would be lower.
    assert found[-1].forward.value == pytest.approx(found[-1].in_time.value, abs=0.02)
    assert learned_dates(DATES, found) == DATES[1:]


def test_the_newest_of_two_changes_counts():
    assert learned(same, turned, same, same) == DATES[2:]


def test_swapped_labels_are_learned_alone_for_a_person_to_judge():
    (found,) = judge(same, flipped)
    assert found.swapped
    assert "True and False look swapped" in str(found)
    assert learned(same, flipped) == [FEBRUARY]


def test_a_later_date_is_neither_judged_by_swapped_labels_nor_learns_from_them():
    found = judge(same, flipped, same)
    assert [each.swapped for each in found] == [True, False]
    assert not found[-1].changed
    assert learned(same, flipped, same) == [DATES[0], DATES[2]]


def test_a_weak_relation_forward_and_in_time_is_not_taken_for_swapped_labels():
    assert not judged(0.49, 0.57, error=0.009).swapped


def test_few_earlier_customers_are_no_change():
    rows, days = months(same, same, customers=8000)
    few = (days == days.max()) | (np.arange(len(days)) < 200)
    (found,) = judge_dates(rows.take(few), days[few], {"fee": Float64, "skips": Float64}, Parameters())
    assert not found.changed
    assert found.in_time.value == pytest.approx(found.forward.value, abs=0.05)


def test_a_date_with_too_few_customers_of_a_class_and_an_empty_set_are_not_judged():
    rows, days = months(same, turned, customers=60)
    none = np.zeros(len(days), dtype=bool)
    for kept in (~none, none):
        assert judge_dates(rows.take(kept), days[kept], {"fee": Float64, "skips": Float64}, Parameters()) == []
