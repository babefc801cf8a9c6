"""The dates that a training set takes: one a label period, the same all period long."""

from datetime import date, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from churn.settings import SettingError, label_days
from churn.training.label_period import START, choose_dates, overlap
from churn.training.learned_from import Learned

BOUNDARY = date(2024, 1, 18)
"""The first day of a period of 28 days: 705 of them after 1970-01-01."""

ALL = 1000
days = st.dates(date(2023, 1, 1), date(2025, 12, 31))
lengths = st.integers(1, 60)


def every(step, count, start=BOUNDARY):
    return [start + timedelta(days=step * number) for number in range(count)]


def month_ends(count):
    firsts = [date(2024 + month // 12, month % 12 + 1, 1) for month in range(1, count + 1)]
    return [first - timedelta(days=1) for first in firsts]


@given(st.sets(days, max_size=80), lengths)
def test_neighbours_are_at_least_a_label_period_apart(labelled, length):
    chosen = choose_dates(labelled, length, ALL)
    assert all(not overlap(one, other, length) for one, other in pairwise(chosen))
    assert set(chosen) <= labelled
    assert bool(chosen) == bool(labelled)


@given(st.sets(days, max_size=80), lengths, days)
def test_later_dates_change_nothing_about_the_choice_among_earlier_ones(labelled, length, until):
    earlier = {day for day in labelled if day <= until}
    assert choose_dates(earlier, length, ALL) == [day for day in choose_dates(labelled, length, ALL) if day <= until]


@given(st.sets(days, min_size=1, max_size=80), lengths, st.sets(st.integers(0, 59)))
def test_the_choice_is_the_same_all_period_long(labelled, length, offsets):
    newest = max(labelled)
    end = newest + timedelta(days=length - (newest - START).days % length)
    rest = {day for offset in offsets if newest < (day := newest + timedelta(days=offset)) < end}
    assert choose_dates(labelled | rest, length, 6) == choose_dates(labelled, length, 6)


@given(st.lists(days, max_size=40), lengths, st.integers(1, 8))
def test_the_newest_of_the_chosen_count_in_any_order(labelled, length, limit):
    chosen = choose_dates(labelled, length, limit)
    assert chosen == choose_dates(labelled[::-1], length, ALL)[-limit:]


@given(st.integers(0, 400), st.lists(st.integers(28, 31), min_size=1, max_size=40))
def test_of_dates_28_to_31_days_apart_every_one_counts(offset, gaps):
    labelled = [BOUNDARY + timedelta(days=offset + sum(gaps[:number])) for number in range(len(gaps) + 1)]
    assert choose_dates(labelled, 28, ALL) == labelled


def test_every_month_end_counts():
    assert choose_dates(month_ends(60), 28, ALL) == month_ends(60)
    assert choose_dates([date(2024, 1, 31), date(2024, 2, 29)], 28, 6) == [date(2024, 1, 31), date(2024, 2, 29)]


def test_of_daily_dates_one_in_28_counts():
    assert choose_dates(every(1, 100), 28, 6) == every(28, 4)


def test_the_first_date_of_a_period_gives_way_to_one_less_than_a_period_before_it():
    begun = BOUNDARY - timedelta(days=10)
    assert choose_dates(every(1, 100, begun), 28, 6) == [begun, *every(28, 4)[1:]]


def test_with_labels_of_one_day_every_date_counts():
    assert choose_dates(every(1, 9), 1, 6) == every(1, 9)[-6:]


def test_to_learn_from_a_date_is_to_learn_from_one_whose_label_overlaps_it():
    learned = Learned(frozenset({BOUNDARY}), complete=True, label_days=28)
    told = {offset: learned.has(BOUNDARY + timedelta(days=offset)) for offset in (-28, -27, 0, 27, 28)}
    assert told == {-28: False, -27: True, 0: True, 27: True, 28: False}


def test_the_label_covers_28_days_unless_set():
    assert (label_days({}), label_days({"CHURN_LABEL_DAYS": ""}), label_days({"CHURN_LABEL_DAYS": "7"})) == (28, 28, 7)


@pytest.mark.parametrize("text", ["0", "-1", "367", "28.0", "a month", "²"])
def test_an_odd_number_of_label_days_is_refused_by_name(text):
    with pytest.raises(SettingError, match="CHURN_LABEL_DAYS must be a whole number from 1 to 366"):
        label_days({"CHURN_LABEL_DAYS": text})
