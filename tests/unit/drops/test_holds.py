"""Each hold rule on both sides of its limit, and when a held drop is compared again."""

from copy import deepcopy
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from churn.drops.contract import REQUIRED_FILES, Kind
from churn.drops.holds.acceptance import Accept, Revision, accepted_before, why_not_accepted
from churn.drops.holds.record import Hold, is_to_be_compared
from churn.drops.holds.rules import LEAST_ROWS, Look, compare

D31, F29 = date(2024, 1, 31), date(2024, 2, 29)
ROWS = 1000


def figures_of(kind, rows):
    if kind in (Kind.TEXT, Kind.BOOLEAN):
        return {"rows": rows, "nulls": 0, "values": {"a": rows - rows // 4, "b": rows // 4}}
    return {"rows": rows, "nulls": 0, "min": 1, "max": 90, "sampled": rows, "median": 20.0, "other": rows // 2}


def look(rows=ROWS, sha256="now", **changed):
    """A drop of that many customers, with equal columns except for the given figures."""
    profile = {
        file.name: {c.name: figures_of(c.kind, rows) for c in file.columns if c.name != "user_id"}
        for file in REQUIRED_FILES
    }
    for column, figures in changed.items():
        file = next(name for name, columns in profile.items() if column in columns)
        profile[file][column] |= figures
    return Look({file.name: sha256 for file in REQUIRED_FILES}, profile)


BEFORE = look(sha256="before")


def constant(rows=ROWS):
    return {"min": 20, "max": 20, "sampled": rows, "other": 0}


# --- ids and customers -------------------------------------------------------------------------------------------


def test_a_drop_like_the_one_before_is_not_held():
    assert compare(look(), BEFORE, ROWS) == []


def test_half_of_the_ids_before_are_enough():
    assert compare(look(), BEFORE, 500) == []


def test_fewer_than_half_of_the_ids_before_are_held_however_many_customers_there_are():
    assert compare(look(), BEFORE, 499) == [
        "users.csv, column user_id: 499 of the 1,000 ids of the drop before are in this one, fewer than half; "
        "it has 1,000 customers"
    ]


def test_twice_as_many_customers_are_not_held():
    assert compare(look(2000), BEFORE, ROWS) == []


def test_more_than_twice_as_many_customers_are_held():
    assert compare(look(2001), BEFORE, ROWS) == [
        "users.csv: 2,001 customers, more than twice the 1,000 of the drop before"
    ]


# --- the same files again ----------------------------------------------------------------------------------------


def test_five_files_that_are_equal_are_held():
    assert compare(look(), replace(BEFORE, sha256=look().sha256), ROWS) == [
        "all five required files are byte for byte those of the drop before (1,000 customers)"
    ]


def test_four_files_that_are_equal_are_not_held():
    before = replace(BEFORE, sha256={**look().sha256, "usage_agg_30d.csv": "another"})
    assert compare(look(), before, ROWS) == []


def test_labels_of_their_own_do_not_make_another_drop():
    now = look()
    now = replace(now, sha256={**now.sha256, "labels.csv": "new"})
    assert len(compare(now, replace(BEFORE, sha256=look().sha256), ROWS)) == 1


# --- medians -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("median", [100.0, 4.0])
def test_a_median_that_moves_by_a_factor_of_five_is_not_held(median):
    assert compare(look(monthly_fee={"median": median}), BEFORE, ROWS) == []


@pytest.mark.parametrize(
    ("median", "said"),
    [
        (2000.0, "the median is 2,000, before 20, a factor of 100"),
        (3.9, "the median is 3.9, before 20, a factor of 5.13"),
    ],
)
def test_a_median_that_moves_by_more_either_way_is_held(median, said):
    assert compare(look(monthly_fee={"median": median}), BEFORE, ROWS) == [
        f"subscriptions.csv, column monthly_fee: {said}; 1,000 customers, 1,000 before"
    ]


@pytest.mark.parametrize(("now", "before"), [(0.0, 20.0), (20.0, 0.0)])
def test_a_median_of_zero_has_no_factor(now, before):
    assert compare(look(skips_7d={"median": now}), look(sha256="before", skips_7d={"median": before}), ROWS) == []


@pytest.mark.parametrize(("rows", "findings"), [(LEAST_ROWS, 1), (LEAST_ROWS - 1, 0)])
def test_medians_are_compared_where_both_drops_have_enough_values(rows, findings):
    moved = {"median": 2000.0, "nulls": ROWS - rows}
    assert len(compare(look(total_paid=moved), BEFORE, ROWS)) == findings
    assert len(compare(look(total_paid={"median": 2000.0}), look(sha256="before", total_paid={
        "nulls": ROWS - rows}), ROWS)) == findings  # fmt: skip


# --- texts -------------------------------------------------------------------------------------------------------


def test_five_percent_of_customers_with_a_new_text_are_not_held():
    assert compare(look(net_service={"values": {"a": 950, "A": 50}}), BEFORE, ROWS) == []


def test_more_than_five_percent_of_customers_with_new_texts_are_held():
    now = look(net_service={"values": {"a": 949, "A": 30, "B": 21}})
    assert compare(now, BEFORE, ROWS) == [
        "subscriptions.csv, column net_service: 51 of 1,000 customers have a text that none of 1,000 had before: "
        "'A' (30), 'B' (21)"
    ]


def test_the_first_texts_of_a_column_that_was_empty_are_not_held():
    empty = {"nulls": ROWS, "values": {}}
    assert compare(look(), look(sha256="before", net_service=empty), ROWS) == []


def test_a_text_that_is_gone_is_not_held():
    assert compare(look(net_service={"values": {"a": 600, "c": 400}}), look(sha256="before", net_service={
        "values": {"a": 500, "b": 300, "c": 200}}), ROWS) == []  # fmt: skip


@pytest.mark.parametrize(("unseen", "findings"), [(9, 0), (10, 1)])
def test_in_a_drop_of_few_customers_a_new_text_is_held_where_ten_would_have_been_expected_before(unseen, findings):
    now = look(20, net_service={"values": {"a": 20 - unseen, "A": unseen}})
    assert len(compare(now, look(20, sha256="before"), 20)) == findings


# --- constants ---------------------------------------------------------------------------------------------------


def test_a_number_that_varied_and_is_constant_is_held():
    assert compare(look(skips_7d=constant()), BEFORE, ROWS) == [
        "usage_agg_30d.csv, column skips_7d: one value, 20, for all of 1,000 customers; of 1,000 before, "
        "500 of 1,000 values differed from the most frequent one"
    ]


def test_a_column_that_was_constant_before_is_not_held():
    assert compare(look(skips_7d=constant()), look(sha256="before", skips_7d=constant()), ROWS) == []


def test_a_text_or_boolean_that_varied_and_is_constant_is_held():
    now = look(contract_type={"values": {"a": ROWS}}, user_is_senior={"values": {"b": ROWS}})
    assert [each.split(": ")[0] for each in compare(now, BEFORE, ROWS)] == [
        "users.csv, column user_is_senior",
        "subscriptions.csv, column contract_type",
    ]


def test_a_column_that_is_empty_now_is_held():
    nothing = {"nulls": ROWS, "min": None, "max": None, "sampled": 0, "median": None, "other": 0}
    assert compare(look(total_paid=nothing), BEFORE, ROWS) == [
        "subscriptions.csv, column total_paid: no value for any of 1,000 customers; of 1,000 before, "
        "500 of 1,000 values differed from the most frequent one"
    ]


@pytest.mark.parametrize(("other", "findings"), [(9, 0), (10, 1)])
def test_a_constant_column_is_held_where_ten_other_values_would_be_expected(other, findings):
    assert len(compare(look(skips_7d=constant()), look(sha256="before", skips_7d={"other": other}), ROWS)) == findings


def test_the_expected_count_scales_with_the_number_of_customers():
    before = look(sha256="before", skips_7d={"other": 19})
    assert compare(look(500, skips_7d=constant(500)), before, 500) == []


def test_a_column_that_an_older_profile_lacks_is_not_compared():
    before = deepcopy(BEFORE)
    del before.profile["usage_agg_30d.csv"]["skips_7d"]
    assert compare(look(skips_7d=constant()), before, ROWS) == []


# --- acceptance --------------------------------------------------------------------------------------------------

WITHDRAWN = datetime(2024, 3, 1, tzinfo=UTC)
ACCEPT = Accept("a new tariff", "sha", 17)


def revision(number, digest, accepted=None, withdrawn_at=None):
    recorded = accepted and {
        "because": accepted.because,
        "sha256": accepted.sha256,
        "modified_ns": accepted.modified_ns,
    }
    return Revision(number, digest, 1, recorded, withdrawn_at, None, None)


def test_a_content_that_was_accepted_is_accepted_whatever_came_after_it():
    history = [revision(1, "x"), revision(2, "y")]
    assert accepted_before(history, "x") == history[0]
    assert accepted_before(history, "z") is None


def test_a_content_that_was_withdrawn_and_loaded_again_was_accepted():
    history = [revision(1, "x", withdrawn_at=WITHDRAWN), revision(2, "x")]
    assert accepted_before(history[:1], "x") is None
    assert accepted_before(history, "x") == history[1]


def test_accept_with_a_reason_accepts():
    assert why_not_accepted(ACCEPT, [revision(1, "x")], "y") is None


def test_without_accept_the_person_is_told_to_write_it():
    assert why_not_accepted(None, [], "y") == "to accept it, write why into its file _ACCEPT"


def test_an_accept_without_a_reason_does_not_accept():
    assert why_not_accepted(replace(ACCEPT, because=""), [], "y") == (
        "its _ACCEPT is empty: write into it why the drop is right"
    )


def test_an_accept_that_was_recorded_with_another_content_is_spent():
    assert why_not_accepted(ACCEPT, [revision(4, "x", ACCEPT)], "y") == (
        "its _ACCEPT was written for another content, revision 4: write _ACCEPT again"
    )


def test_an_accept_that_was_written_again_is_not_spent():
    assert why_not_accepted(replace(ACCEPT, modified_ns=18), [revision(4, "x", ACCEPT)], "y") is None
    assert why_not_accepted(replace(ACCEPT, sha256="other"), [revision(4, "x", ACCEPT)], "y") is None


@pytest.mark.parametrize(("after", "accepts"), [(0, False), (1000, True)])
def test_withdrawn_content_needs_an_accept_newer_than_the_withdrawal(after, accepts):
    accept = replace(ACCEPT, modified_ns=int(WITHDRAWN.timestamp()) * 10**9 + after)
    found = why_not_accepted(accept, [revision(1, "x", withdrawn_at=WITHDRAWN)], "x")
    assert (found is None) == accepts
    assert accepts or found == "its _ACCEPT is older than the withdrawal: write _ACCEPT again"


# --- comparing again ---------------------------------------------------------------------------------------------

HELD = Hold(F29, WITHDRAWN, "content", "verdict", (D31, "before"), ["a finding"])


@pytest.mark.parametrize(
    ("verdict", "nearest", "again"),
    [
        ("verdict", (D31, "before"), False),
        ("with _ACCEPT", (D31, "before"), True),
        ("verdict", (D31, "corrected"), True),
        ("verdict", (date(2024, 2, 1), "before"), True),
        ("verdict", None, True),
    ],
)
def test_a_held_drop_is_compared_again_when_it_or_what_it_is_compared_with_changes(verdict, nearest, again):
    assert is_to_be_compared(HELD, verdict, nearest) == again
