"""Which columns of a night are flagged."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import false_discovery_control

from churn.drift import rule
from churn.drift.comparison import DRIFT, NEW, NULLS, Answer
from churn.drift.reference import profiles_of
from churn.drift.rule import BEFORE, CONSTANT, FALSE_DISCOVERIES, NONE, TOO_FEW, VERSION, WEEK_BEFORE, Reference, judge
from tests.conftest import JANUARY

RANDOM = np.random.default_rng(7)
BASE = RANDOM.normal(size=5000)
AGAIN = RANDOM.normal(size=5000)


def against(before, name=VERSION):
    as_of = None if name == VERSION else JANUARY
    return Reference(name, profiles_of({"column": pa.array(before)}), as_of)


def found(now, before, name=VERSION):
    (finding,) = judge({"column": pa.array(now)}, [against(before, name)])
    return finding


def test_rows_of_the_same_distribution_are_not_flagged():
    finding = found(AGAIN, BASE)
    assert (finding.finding, finding.flagged, finding.distribution) == (NONE, False, None)


def test_a_shift_is_flagged_with_its_figures_in_words():
    finding = found(AGAIN + 0.5, BASE, BEFORE)
    assert (finding.finding, finding.flagged) == (DRIFT, True)
    assert finding.detail.startswith("against 2024-01-31: PSI 0.2")
    assert finding.detail.endswith("(5,000 rows against 5,000)")


def test_a_quarter_of_a_deviation_is_flagged_against_the_same_weekday_alone():
    assert [found(AGAIN + 0.25, BASE, name).finding for name in (VERSION, BEFORE, WEEK_BEFORE)] == [NONE, NONE, DRIFT]


def test_a_significant_difference_below_the_limit_is_not_flagged():
    random = np.random.default_rng(9)
    before, now = random.normal(size=(2, 60_000))
    finding = found(now + 0.1, before, WEEK_BEFORE)
    assert finding.answer.p_value < 1e-20
    assert (finding.finding, finding.answer.effect < 0.05) == (NONE, True)


def test_a_large_effect_that_is_not_significant_among_so_many_columns_is_not_flagged(monkeypatch):
    answers = iter([[Answer(DRIFT, 0.5, "KS", 0.1, 0.009)], *[[Answer(DRIFT, 0.0, "KS", 0.0, 0.9)]] * 9])
    monkeypatch.setattr(rule, "compare", lambda *_: next(answers))
    columns = {f"column {number}": pa.array(BASE) for number in range(10)}
    assert {each.finding for each in judge(columns, [Reference(VERSION, profiles_of(columns))])} == {NONE}


@given(st.lists(st.lists(st.floats(1e-6, 1), min_size=1, max_size=3), min_size=1, max_size=30), st.data())
def test_the_test_survives_benjamini_and_hochberg_over_all_columns_and_references_together(p_values, data):
    of = iter(p_values)
    columns = {f"column {number}": pa.array(BASE[:1000]) for number in range(len(p_values))}
    names = [*columns]
    split = data.draw(st.integers(0, len(names)))
    references = [
        Reference(VERSION, profiles_of({name: columns[name] for name in names[:split]})),
        Reference(BEFORE, profiles_of({name: columns[name] for name in names[split:]}), JANUARY),
    ]
    with pytest.MonkeyPatch.context() as patched:
        questions = (DRIFT, NULLS, NEW)
        patched.setattr(
            rule,
            "compare",
            lambda *_: [Answer(questions[place], 9.0, "", 0.0, p) for place, p in enumerate(next(of))],
        )
        flagged = [each.flagged for each in judge(columns, references)]
    corrected = false_discovery_control([p for each in p_values for p in each])
    survive = iter(corrected <= FALSE_DISCOVERIES)
    assert flagged == [any([next(survive) for _ in each]) for each in p_values]


def test_a_new_category_is_flagged_and_named():
    finding = found(["DSL"] * 1900 + ["Satellite"] * 100, ["DSL"] * 1000 + ["Fiber"] * 1000)
    assert finding.finding == NEW
    assert finding.detail.startswith("5.0% are 'Satellite', rare or unknown in its training data; PSI 0.")


def test_a_null_spike_is_flagged_with_both_shares():
    finding = found([1.0, 2.0] * 900 + [None] * 200, [1.0, 2.0] * 1000)
    assert finding.finding == NULLS
    assert finding.detail.startswith("10.0% are empty, 0.0% of its training data; PSI ")


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (pa.array([3.0] * 1000), "one value for all of 1,000 rows; 90.0% of its training data varied"),
        (pa.nulls(1000, pa.float64()), "no value for any of 1,000 rows; 90.0% of its training data varied"),
    ],
    ids=["one value", "empty"],
)
def test_a_column_that_varied_and_is_constant_is_flagged_as_such(now, said):
    finding = found(now, np.arange(1000.0))
    assert (finding.finding, finding.answer, finding.detail) == (CONSTANT, None, said)
    assert max(*finding.distribution.now, *finding.distribution.nulls) == 1


def test_a_column_that_was_constant_before_is_not_flagged_for_it():
    assert found([3.0] * 1000, [3.0] * 1000).finding == NONE


def test_a_column_that_was_constant_and_varies_is_flagged():
    assert found([3.0] * 700 + [4.0] * 300, [3.0] * 1000).finding == DRIFT


@pytest.mark.parametrize(("now", "before"), [(999, 5000), (5000, 999)])
def test_too_few_rows_on_either_side_are_an_answer_of_their_own(now, before):
    finding = found(BASE[:now] + 9, BASE[:before])
    assert (finding.finding, finding.flagged, finding.answer) == (TOO_FEW, False, None)
    assert finding.detail.endswith("1,000 are needed on both sides")


def test_a_night_without_references_has_no_findings():
    assert judge({"column": pa.array(BASE)}, []) == []


def test_a_column_that_one_side_lacks_is_not_compared():
    assert judge({"another": pa.array(BASE)}, [against(BASE)]) == []
