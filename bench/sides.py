"""Measures the steps of the naive pipeline, of ours and of the limit beside each other, by customers.

A new comparison is a table of steps like that of bench/steps.py.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import date
from itertools import product
from pathlib import Path
from typing import Any

from bench import BenchError
from bench.context import Bench
from bench.figures import MEGABYTE, SIDES, Row, number, side_by_side, significant, total
from bench.measure import Measured, Watch, measure

NAIVE_UP_TO = 100_000
ALL = "all with a limit"

Step = Callable[[Watch, str, Path, date], Any]
"""Takes the watch, the URL of the database, the landing directory and the AS_OF, which is the newest drop's."""

Steps = Mapping[str, Mapping[str, Step]]
"""The steps in their order, each with its function for each side."""

Samples = Mapping[tuple[str, str], list[Measured]]
"""The repeated measurements of each (side, step)."""


def compare_sides(bench: Bench, prepare: Mapping[str, Step], steps: Steps) -> Row:
    """Measure every step at every size; naive only up to 100,000 customers.

    Args:
        prepare: what naive and ours do before the first step, in an empty database. The limit runs after ours, in the
            same database.

    Raises:
        BenchError: a step of naive returns something else than that of ours, so that the times cannot be compared.
    """
    rows: list[Row] = []
    for customers in bench.customers:
        samples: Samples = defaultdict(list)
        databases = [("ours", "limit")] if customers > NAIVE_UP_TO else [("naive",), ("ours", "limit")]
        with bench.drops(customers) as (drop,):
            where = (drop.path.parent, drop.as_of)
            for repetition in range(1, bench.repeats_of(customers) + 1):
                bench.say(f"{customers:,} customers, repetition {repetition} of {bench.repeats_of(customers)}")
                for sides in databases:
                    with bench.server.database() as url:
                        measure(bench.server, prepare[sides[0]], url, *where)
                        for side, name in product(sides, steps):
                            if side not in steps[name]:
                                continue
                            measured = measure(bench.server, steps[name][side], url, *where)
                            samples[side, name].append(measured)
                            bench.say(f"  {side:5}  {name:15}  {number(measured.seconds)} s")
        rows += [{"customers": customers, **row} for row in compare(samples, [*steps])]
    return {"steps": rows}


def compare(samples: Samples, steps: list[str]) -> list[Row]:
    """Return a row for each step, with the figures of each side and their ratios, and one for all steps that have a
    limit.

    Raises:
        BenchError: naive and ours have different results.
    """
    rows = []
    for step in steps:
        results = {each.result for side in ("naive", "ours") for each in samples.get((side, step), [])}
        if len(results) > 1:
            raise BenchError(f"{step}: naive and ours differ, or a repetition from another: {results}")
        figures = {side: _figures(samples[side, step]) for side in SIDES if samples.get((side, step))}
        rows.append({"step": step, **side_by_side(figures)})
    whole = [row for row in rows if row["limit s"] is not None] or rows
    return [*rows, {"step": ALL, **side_by_side({side: _together(whole, side) for side in SIDES})}]


def _figures(measured: list[Measured]) -> Row:
    """Return the minimum seconds, which other load disturbs least, and the peaks."""
    return {
        "s": significant(min(each.seconds for each in measured)),
        "MB": round(max(each.peak_bytes for each in measured) / MEGABYTE),
        "server MB": round(max(each.server_bytes for each in measured) / MEGABYTE),
    }


def _together(rows: list[Row], side: str) -> Row:
    """Return the seconds of all steps, and the largest peaks."""
    peaks = {name: [row[f"{side} {name}"] for row in rows] for name in ("MB", "server MB")}
    return {
        "s": total(row[f"{side} s"] for row in rows),
        **{name: None if None in values else max(values) for name, values in peaks.items()},
    }
