"""Effect sizes and tests of a column against its reference, held against scipy."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from churn.drift.comparison import (
    DRIFT,
    NEW,
    NULLS,
    PRIOR,
    chi_squared,
    compare,
    effect_of,
    kolmogorov_smirnov,
    psi,
    unusual,
)
from churn.drift.reference import count_on, profile_of

COUNTS = st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 5000)), min_size=2, max_size=12).map(
    lambda pairs: np.array(pairs).T
)


def enough(now, before):
    assume(now.sum() > 100 and before.sum() > 100)


def asked(now, before):
    reference = profile_of(before)
    return {answer.question: answer for answer in compare(count_on(now, reference), reference)}


@given(COUNTS)
def test_psi_is_the_sum_of_both_relative_entropies(counts):
    now, before = counts
    enough(now, before)
    used = now + before > 0
    smooth = [each[used] + PRIOR for each in counts]
    oracle = stats.entropy(smooth[0], smooth[1]) + stats.entropy(smooth[1], smooth[0])
    assert psi(now, before) == pytest.approx(oracle, abs=1e-12)


@given(COUNTS)
def test_psi_is_symmetric_and_zero_for_equal_counts(counts):
    now, before = counts
    assert psi(now, before) == pytest.approx(psi(before, now))
    assert psi(now, now) == pytest.approx(0)


@given(COUNTS)
def test_chi_squared_is_scipys_and_pearsons_formula(counts):
    now, before = counts
    enough(now, before)
    used = now + before > 0
    assume(used.sum() > 1)
    statistic, p_value = chi_squared(now, before)
    share = (now + before)[used] / (now.sum() + before.sum())
    pearson = sum(((each[used] - each.sum() * share) ** 2 / (each.sum() * share)).sum() for each in counts)
    assert statistic == pytest.approx(pearson)
    assert p_value == pytest.approx(stats.chi2.sf(pearson, used.sum() - 1))


@given(COUNTS)
def test_ks_on_counts_is_scipys_on_the_rows(counts):
    now, before = counts
    enough(now, before)
    rows = [np.repeat(np.arange(len(each)), each) for each in counts]
    oracle = stats.ks_2samp(*rows, method="asymp")
    distance, p_value = kolmogorov_smirnov(now, before)
    assert distance == pytest.approx(oracle.statistic)
    assert p_value == pytest.approx(oracle.pvalue, rel=0.25, abs=1e-3)


@pytest.mark.parametrize("rows", [1_000, 20_000])
def test_the_p_value_of_ks_is_scipys_to_a_tenth_where_it_decides(rows):
    for z in (1.6, 2.0, 2.4):
        distance = round(z / np.sqrt(rows / 2) * rows / 2)
        now = np.array([rows // 2 + distance, rows // 2 - distance])
        found, p_value = kolmogorov_smirnov(now, np.array([rows // 2, rows // 2]))
        assert p_value == pytest.approx(stats.kstwo.sf(found, rows // 2), rel=0.1)


@pytest.mark.parametrize("rows", [200, 1_000, 20_000])
def test_the_mean_effect_of_chance_is_that_of_none_at_every_size(rows):
    random = np.random.default_rng(rows)
    draws = random.multinomial(rows, [0.1] * 10, size=(400, 2))
    raw = np.mean([psi(*pair) for pair in draws])
    assert raw == pytest.approx(9 * 2 / rows, rel=0.15)
    # Half of the effects are cut off at 0; the others spread by the deviation of chi-squared with nine degrees.
    assert np.mean([effect_of(*pair) for pair in draws]) < np.sqrt(18) * 2 / rows / 2


def test_a_shift_of_a_quarter_of_a_deviation_has_a_psi_of_006():
    random = np.random.default_rng(3)
    before, now = random.normal(size=(2, 200_000))
    assert asked(pa.array(now + 0.25), pa.array(before))[DRIFT].effect == pytest.approx(0.06, abs=0.005)


def test_a_share_that_moves_by_a_quarter_of_its_deviation_has_the_same_effect():
    before, now = [True] * 5000 + [False] * 5000, [True] * 6250 + [False] * 3750
    assert asked(pa.array(now), pa.array(before))[DRIFT].effect == pytest.approx(0.0625, abs=0.003)


@given(st.integers(0, 300), st.integers(1, 300), st.integers(0, 300), st.integers(1, 300))
def test_the_share_of_nulls_has_fishers_exact_p_value(nulls, known, nulls_before, known_before):
    column, before = ([1.0] * known + [None] * nulls), ([1.0] * known_before + [None] * nulls_before)
    answer = asked(pa.array(column), pa.array(before))[NULLS]
    assert answer.p_value == pytest.approx(stats.fisher_exact([[nulls, known], [nulls_before, known_before]]).pvalue)
    assert answer.statistic == pytest.approx(nulls / len(column) - nulls_before / len(before))


def test_nulls_do_not_count_as_drift_and_drift_not_as_nulls():
    random = np.random.default_rng(5)
    values = random.normal(size=4000)
    emptied = asked(pa.array(values, mask=random.random(4000) < 0.3), pa.array(values))
    assert (emptied[DRIFT].effect, emptied[NULLS].effect > 0.3) == (0, True)
    moved = asked(pa.array(values + 1), pa.array(values))
    assert (moved[NULLS].p_value, moved[DRIFT].effect > 0.5) == (1, True)


def test_a_new_category_is_asked_apart_from_the_known_ones():
    before = pa.array(["DSL", "Fiber"] * 2000)
    found = asked(pa.array(["DSL", "Fiber"] * 1900 + ["Satellite"] * 200), before)
    assert (found[DRIFT].effect, found[NEW].statistic) == (0, 0.05)
    assert found[NEW].p_value < 1e-40


def test_a_category_that_was_rare_counts_as_new_when_it_grows():
    before, now = ["DSL"] * 9990 + ["Satellite"] * 10, ["DSL"] * 9000 + ["Satellite"] * 1000
    found = asked(pa.array(now), pa.array(before))
    assert found[NEW].effect > 0.1
    reference = profile_of(pa.array(before))
    assert unusual(count_on(pa.array(now), reference), reference) == {"Satellite": 1000}


def test_an_empty_column_has_no_spread_to_compare():
    assert DRIFT not in asked(pa.nulls(2000, pa.float64()), pa.array(np.arange(2000.0)))
