"""Which pending drops one landing check starts."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from churn.drops.landing_batch import start_first
from churn.drops.watch import PendingDrop

LOOKS = st.lists(st.booleans(), max_size=300)
"""Of each drop that waits, oldest first, whether its run was started before."""


def drops(number):
    return [PendingDrop(date(2020, 1, 1) + timedelta(days=day), 1, "0" * 64) for day in range(number)]


def airflow_with(started):
    """Return a function that counts the given runs, like Airflow."""
    ids = {drop.run_id for drop in started}
    return lambda asked: len(ids & set(asked))


@given(LOOKS, st.integers(1, 20))
def test_the_oldest_unstarted_drops_start_and_the_rest_is_counted(was_started, limit):
    pending = drops(len(was_started))
    fresh = [drop for drop, started in zip(pending, was_started, strict=True) if not started]
    started = [drop for drop in pending if drop not in fresh]
    assert start_first(pending, limit, airflow_with(started)) == (fresh[:limit], len(fresh[limit:]))


def test_rejected_drops_of_three_years_do_not_keep_a_new_one_from_starting():
    pending = drops(1100)
    assert start_first(pending, 200, airflow_with(pending[:-1])) == (pending[-1:], 0)


@pytest.mark.parametrize("number_started", [0, 1100])
def test_airflow_is_asked_about_many_runs_at_once(number_started):
    pending, asked = drops(1100), []
    count = airflow_with(pending[:number_started])
    start_first(pending, 200, lambda ids: asked.append(len(ids)) or count(ids))
    assert len(asked) == 35
    assert max(asked) == 32
