import pytest
from hypothesis import given
from hypothesis import strategies as st

from churn.outcomes.verdict import AS_PROMISED, CHANCE, TOO_FEW, WORSE, judge
from churn.statistics import Estimate

PROMISED = Estimate(0.83, 0.012)


def word(auc, error, *, rows=1800, churned=450, promised=PROMISED):
    return judge(Estimate(auc, error), rows, churned, promised).word


@pytest.mark.parametrize(
    ("auc", "error", "expected"),
    [
        (0.83, 0.012, AS_PROMISED),
        (0.79, 0.012, AS_PROMISED),  # 2.4 standard errors of the difference
        (0.77, 0.012, WORSE),  # 3.5 of them
        (0.56, 0.015, WORSE),  # its upper bound is above the floor
        (0.51, 0.018, CHANCE),
        (0.48, 0.018, CHANCE),
    ],
)
def test_a_realized_auc_has_the_verdict(auc, error, expected):
    assert word(auc, error) == expected


@pytest.mark.parametrize(("rows", "churned"), [(199, 60), (1800, 29), (1800, 1771), (0, 0)])
def test_too_few_rows_or_too_few_of_a_class_give_no_verdict(rows, churned):
    assert word(0.4, 0.02, rows=rows, churned=churned) == TOO_FEW


def test_a_single_class_gives_no_verdict():
    assert judge(None, 1800, 0, PROMISED).word == TOO_FEW


def test_without_a_promise_only_chance_is_an_alarm():
    assert word(0.6, 0.015, promised=None) == AS_PROMISED
    assert word(0.48, 0.015, promised=None) == CHANCE


def test_a_high_realized_auc_is_as_promised():
    assert word(0.95, 0.001) == AS_PROMISED


def test_the_reason_gives_the_figures():
    verdict = judge(Estimate(0.75, 0.01), 1800, 450, PROMISED)
    assert str(verdict) == (
        "worse than promised: AUC 0.750 (0.730 to 0.770), promised 0.830 (0.806 to 0.854): worse by 0.080, which is "
        "not chance"
    )


@given(st.floats(0.3, 1), st.floats(0.3, 1), st.floats(0.001, 0.05))
def test_a_lower_auc_never_has_a_better_verdict(one, other, error):
    order = [AS_PROMISED, WORSE, CHANCE]
    low, high = sorted([one, other])
    assert order.index(word(low, error)) >= order.index(word(high, error))
