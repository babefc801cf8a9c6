"""The arithmetic of the benchmarks and the format of their results."""

import json

import pytest

from bench.comparison import STEPS, compare, render
from bench.figures import Sample, goal, number, percentile, ratio, significant, total
from bench.results import write


def measurements(*sizes, naive=8.0, ours=2.0, limit=1.0, over=None):
    """Every step of every side, with these seconds at the first size and in proportion at the others."""
    rows = []
    for size in sizes:
        for side, seconds in (("naive", naive), ("ours", ours), ("limit", limit)):
            for step in STEPS:
                sample = Sample(over=over if (side, step) == ("naive", "training set") else None)
                if sample.over is None:
                    sample.add(seconds * size / sizes[0], 200_000_000, 30_000_000)
                rows.append({"customers": size, "side": side, "step": step, **sample.to_json()})
    return rows


# --- figures ----------------------------------------------------------------------------------------------------


def test_a_sample_keeps_the_least_seconds_the_median_and_the_highest_peaks():
    sample = Sample()
    for seconds, peak, server in ((3.0, 200_000_000, 20_000_000), (1.0, 300_000_000, None), (2.0, 100_000_000, 5)):
        sample.add(seconds, peak, server)
    assert sample.to_json() == {
        "seconds": 1.0, "seconds_median": 2.0, "repeats": 3, "over_seconds": None, "peak_mb": 300, "server_mb": 20,
    }  # fmt: skip


def test_a_sample_that_was_over_its_limit_once_has_the_limit_and_no_seconds():
    sample = Sample()
    sample.add(590.0, 200_000_000, None)
    sample.over = 600.0
    found = sample.to_json()
    assert (found["seconds"], found["over_seconds"], found["peak_mb"]) == (None, 600.0, None)


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


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50), (0.95, 95), (0.99, 99), (1.0, 100), (0.001, 1)])
def test_a_percentile_is_the_smallest_value_that_the_share_does_not_exceed(share, expected):
    assert percentile(list(range(100, 0, -1)), share) == expected


@pytest.mark.parametrize(("figure", "least", "most", "met"), [
    (5.0, 5, None, True), (4.9, 5, None, False), (3.0, None, 3, True), (3.1, None, 3, False), (None, 5, None, None),
])  # fmt: skip
def test_a_goal_is_met_up_to_its_bound(figure, least, most, met):
    assert goal("what", figure, least=least, most=most)["met"] is met


# --- comparison -------------------------------------------------------------------------------------------------


def test_each_step_and_all_together_are_compared_with_naive_and_with_the_limit():
    found = compare(measurements(7_000))["ratios"]
    assert [row["step"] for row in found] == [*STEPS, "all"]
    assert {(row["naive_over_ours"], row["ours_over_limit"]) for row in found} == {(4.0, 2.0)}


def test_growth_is_the_ratio_of_our_seconds_from_a_size_to_the_next():
    found = compare(measurements(100, 300, 3_000))["growth"]
    assert [(row["from"], row["to"], row["step"], row["ratio"]) for row in found] == [
        *((100, 300, step, 3.0) for step in STEPS),
        *((300, 3_000, step, 10.0) for step in STEPS),
    ]


def test_goals_are_those_of_the_sizes_that_were_measured():
    assert compare(measurements(7_000))["goals"] == []
    small = {each["what"]: each["met"] for each in compare(measurements(100_000))["goals"]}
    assert small["naive / ours at 100,000: materialize"] is False
    assert small["ours / limit at 100,000: materialize"] is True
    both = {each["what"]: each["figure"] for each in compare(measurements(100_000, 1_000_000))["goals"]}
    assert both["ours at 1,000,000: seconds of all steps"] == 80.0
    assert both["ours at 1,000,000: most MB of a process"] == 200
    assert both["ours from 100,000 to 1,000,000: snapshot"] == 10.0


def test_a_step_over_its_limit_has_no_ratio_and_is_shown_as_such():
    rows = measurements(100_000, over=600.0)
    compared = compare(rows)
    ratios = {row["step"]: row["naive_over_ours"] for row in compared["ratios"]}
    assert (ratios["training set"], ratios["all"], ratios["snapshot"]) == (None, None, 4.0)
    line = next(line for line in render({"measurements": rows, **compared}).splitlines() if "training set" in line)
    assert line.split()[:7] == ["100,000", "training", "set", ">", "600", "2", "1"]


def test_the_table_says_where_naive_stops():
    rows = [row for row in measurements(100_000, 1_000_000) if (row["side"], row["customers"]) != ("naive", 1_000_000)]
    assert render({"measurements": rows, **compare(rows)}).endswith("naive is not measured beyond 100,000 customers")


# --- files ------------------------------------------------------------------------------------------------------


def test_equal_results_give_equal_files_with_sorted_keys(tmp_path):
    first = write(tmp_path / "results", "steps", {"b": 1, "a": [1.5, None]})
    content = first.read_bytes()
    assert write(tmp_path / "results", "steps", {"a": [1.5, None], "b": 1}).read_bytes() == content
    assert list(json.loads(content)) == ["a", "b"]
