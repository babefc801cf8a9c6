"""The profile of a drop does not depend on how its files are split."""

from datetime import date
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from churn.drops.contract import PAYMENTS, REQUIRED_FILES, SUBSCRIPTIONS, SUPPORT, USERS
from churn.drops.holds import profile
from churn.drops.holds.profile import MOST_KINDS, Profiler, customers_of
from churn.drops.tables import Rows
from churn.drops.values import ARROW_TYPES

VALUES = {"text": "a", "date": date(2022, 1, 1), "boolean": True, "count": 1, "number": 1.5}


def rows_of(file, count, **columns):
    """Rows of a file with equal customers except for the given columns."""
    table = pa.table({
        column.name: pa.array(
            columns.get(column.name, [VALUES[column.kind.name.lower()]] * count), ARROW_TYPES[column.kind]
        )
        for column in file.columns
    })  # fmt: skip
    return Rows(np.arange(2, count + 2), table)


def profile_of(file, *blocks):
    profiler = Profiler()
    assert list(profiler.read(file, iter(blocks))) == list(blocks)
    return profiler.profile()[file.name]


def test_texts_and_booleans_are_counted():
    figures = profile_of(USERS, rows_of(USERS, 3, user_gender=["b", "a", "b"], has_family=[True, False, True]))
    assert figures["user_gender"] == {"rows": 3, "nulls": 0, "values": {"a": 1, "b": 2}}
    assert figures["has_family"] == {"rows": 3, "nulls": 0, "values": {"False": 1, "True": 2}}


def test_numbers_have_their_ends_their_median_and_how_many_are_unlike_the_most_frequent():
    figures = profile_of(PAYMENTS, rows_of(PAYMENTS, 5, failed_payments_90d=[0, 7, 0, 2, 0]))
    assert figures["failed_payments_90d"] == {
        "rows": 5, "nulls": 0, "min": 0, "max": 7, "sampled": 5, "median": 0.0, "other": 2
    }  # fmt: skip


def test_dates_have_their_ends_as_text():
    days = [date(2022, 3, 1), date(2021, 2, 28)]
    figures = profile_of(USERS, rows_of(USERS, 2, signup_date=days))["signup_date"]
    assert (figures["min"], figures["max"]) == ("2021-02-28", "2022-03-01")


def test_nulls_are_counted_separately():
    hours = [None, 4.0, 2.0]
    figures = profile_of(SUPPORT, rows_of(SUPPORT, 3, ticket_avg_resolution_hrs_90d=hours))
    assert figures["ticket_avg_resolution_hrs_90d"] == {
        "rows": 3, "nulls": 1, "min": 2.0, "max": 4.0, "sampled": 2, "median": 3.0, "other": 1
    }  # fmt: skip


def test_a_column_without_a_value_has_no_median():
    figures = profile_of(SUPPORT, rows_of(SUPPORT, 2, ticket_avg_resolution_hrs_90d=[None, None]))
    assert figures["ticket_avg_resolution_hrs_90d"] == {
        "rows": 2, "nulls": 2, "min": None, "max": None, "sampled": 0, "median": None, "other": 0
    }  # fmt: skip


def test_no_profile_contains_user_ids():
    assert "user_id" not in profile_of(USERS, rows_of(USERS, 1))


def test_the_profile_says_how_many_customers_there_are():
    profiler = Profiler()
    for file in REQUIRED_FILES:
        list(profiler.read(file, iter([rows_of(file, 4), rows_of(file, 3)])))
    assert customers_of(profiler.profile()) == 7


@pytest.mark.parametrize("kinds", [MOST_KINDS, MOST_KINDS + 1])
def test_too_many_distinct_texts_are_flagged(kinds):
    profiler = Profiler()
    list(profiler.read(SUBSCRIPTIONS, iter([rows_of(SUBSCRIPTIONS, kinds, net_service=map(str, range(kinds)))])))
    assert profiler.too_many_kinds(SUBSCRIPTIONS) == (["net_service"] if kinds > MOST_KINDS else [])


@given(hours=st.lists(st.none() | st.floats(0, 1e6), min_size=1, max_size=300), cuts=st.lists(st.integers(0, 300)))
def test_the_profile_does_not_depend_on_where_blocks_end(hours, cuts):
    ends = sorted({0, len(hours), *(min(cut, len(hours)) for cut in cuts)})
    blocks = [
        rows_of(SUPPORT, end - begin, ticket_avg_resolution_hrs_90d=hours[begin:end]) for begin, end in pairwise(ends)
    ]
    whole = rows_of(SUPPORT, len(hours), ticket_avg_resolution_hrs_90d=hours)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(profile, "SAMPLE", 64)
        assert profile_of(SUPPORT, *blocks) == profile_of(SUPPORT, whole)


@pytest.mark.parametrize(
    "order", [np.sort, lambda values: values, lambda values: np.sort(values).reshape(128, -1).T.ravel()],
    ids=["sorted", "shuffled", "in a period of 128"],
)  # fmt: skip
def test_a_median_of_many_is_that_of_a_value_in_the_middle_whatever_their_order(order):
    values = order(np.random.default_rng(1).permutation(1_024_000).astype(np.float64))
    blocks = [
        rows_of(SUPPORT, len(part), ticket_avg_resolution_hrs_90d=part, support_tickets_90d=np.zeros(len(part), int))
        for part in np.array_split(values, 9)
    ]
    figures = profile_of(SUPPORT, *blocks)["ticket_avg_resolution_hrs_90d"]
    assert profile.SAMPLE / 4 <= figures["sampled"] <= profile.SAMPLE
    assert abs(figures["median"] / 1_024_000 - 0.5) < 0.01
