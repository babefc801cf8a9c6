"""The arithmetic of the benchmarks and the format of their results."""

import json

import pytest

from bench import BenchError
from bench.figures import milliseconds, number, ratio, significant, total
from bench.measure import Measured
from bench.results import render, write
from bench.sides import compare

STEPS = ["load", "snapshot", "training set"]


def samples(*sides, **results):
    """The measurements of every step of these sides, each taking its number of seconds."""
    seconds = {"naive": 8.0, "ours": 2.0, "limit": 1.0}
    return {
        (side, step): [Measured(seconds[side], 200_000_000, 30_000_000, results.get(side))]
        for side in sides
        for step in STEPS
    }


# --- figures ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("value", "kept"), [(0.0012345, 0.00123), (12.345, 12.3), (98765.0, 98800.0), (None, None)])
def test_a_figure_has_three_significant_digits(value, kept):
    assert significant(value) == kept


@pytest.mark.parametrize(("value", "text"), [(0.0012345, "0.00123"), (2.0, "2"), (98765.0, "98,800"), (None, "-")])
def test_a_figure_is_written_without_an_exponent(value, text):
    assert number(value) == text


@pytest.mark.parametrize(("top", "bottom", "expected"), [(8.0, 2.0, 4.0), (None, 2.0, None), (8.0, None, None)])
def test_a_ratio_needs_both_of_its_figures(top, bottom, expected):
    assert ratio(top, bottom) == expected


def test_a_total_lacks_what_one_of_its_parts_lacks():
    assert (total([1.0, 2.0]), total([1.0, None]), total([])) == (3.0, None, None)


def test_a_percentile_is_the_smallest_value_that_the_share_does_not_exceed():
    seconds = [value / 1000 for value in range(100, 0, -1)]
    assert milliseconds(seconds, 0.1, 50, 95, 99.9) == {"p0.1 ms": 1, "p50 ms": 50, "p95 ms": 95, "p99.9 ms": 100}


def test_no_values_have_no_percentiles():
    assert milliseconds([], 50, 99) == {}


# --- sides ------------------------------------------------------------------------------------------------------


def test_a_step_has_the_least_seconds_and_the_highest_peaks_of_its_repetitions():
    found = {("ours", "load"): [Measured(3.0, 200_000_000, 20_000_000), Measured(1.0, 300_000_000, 5)]}
    row, _ = compare(found, ["load"])
    assert (row["ours s"], row["ours MB"], row["ours server MB"]) == (1.0, 300, 20)


def test_each_step_and_all_together_are_compared_with_naive_and_with_the_limit():
    found = compare(samples("naive", "ours", "limit"), STEPS)
    assert [row["step"] for row in found] == [*STEPS, "all with a limit"]
    assert {(row["naive / ours"], row["ours / limit"]) for row in found} == {(4.0, 2.0)}
    assert (found[-1]["ours s"], found[-1]["ours MB"], found[-1]["ours server MB"]) == (6.0, 200, 30)


def test_a_side_that_is_not_measured_has_no_ratio():
    for row in compare(samples("ours", "limit"), STEPS):
        assert (row["naive s"], row["naive MB"], row["naive / ours"], row["ours / limit"]) == (None, None, None, 2.0)


def test_times_of_different_results_are_not_compared():
    assert compare(samples("naive", "ours", "limit", naive="a", ours="a", limit="b"), STEPS)
    with pytest.raises(BenchError, match="load: naive and ours differ"):
        compare(samples("naive", "ours", "limit", naive="a", ours="b"), STEPS)


# --- files ------------------------------------------------------------------------------------------------------


def test_equal_results_give_equal_files_with_sorted_keys(tmp_path):
    first = write(tmp_path / "results", "steps", {"b": 1, "a": [1.5, None]})
    content = first.read_bytes()
    assert write(tmp_path / "results", "steps", {"a": [1.5, None], "b": 1}).read_bytes() == content
    assert list(json.loads(content)) == ["a", "b"]


def test_a_result_is_shown_as_its_figures_and_a_table_of_each_list():
    rows = [{"store": "Redis", "p50 ms": 0.0612}, {"store": "stock", "p50 ms": None}]
    shown = render({"reads": 4_000, "machine": {"cores": 2}, "stores": rows, "failed": []})
    assert shown.splitlines() == ["reads: 4,000", "", "store  p50 ms", "Redis  0.0612", "stock  -"]
