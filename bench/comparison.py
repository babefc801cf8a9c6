"""Ratios between the sides and between the sizes, the goals, and the tables of the measured steps."""

import itertools
from collections.abc import Mapping
from typing import Any

from bench.figures import Row, goal, goal_rows, number, ratio, total
from embedded.table import table

LOAD, SNAPSHOT, MATERIALIZE, TRAINING_SET = STEPS = ("load + validate", "snapshot", "materialize", "training set")
SIDES = ("naive", "ours", "limit")
ALL = "all"
NAIVE_UP_TO = 100_000
MILLION = 1_000_000


def compare(measurements: list[Row]) -> Row:
    """Return the ratios of each step and of all steps, their growth, and the goals that were measured."""
    sizes = sorted({row["customers"] for row in measurements})

    def times(size: int, side: str, over_side: str, *steps: str) -> float | None:
        return ratio(seconds_of(measurements, size, side, *steps), seconds_of(measurements, size, over_side, *steps))

    ratios = [
        {
            "customers": size,
            "step": name,
            "naive_over_ours": times(size, "naive", "ours", *steps),
            "ours_over_limit": times(size, "ours", "limit", *steps),
        }
        for size in sizes
        for name, steps in {**{step: (step,) for step in STEPS}, ALL: STEPS}.items()
    ]
    growth = [
        {
            "from": smaller,
            "to": larger,
            "step": step,
            "ratio": ratio(
                seconds_of(measurements, larger, "ours", step), seconds_of(measurements, smaller, "ours", step)
            ),
        }
        for smaller, larger in itertools.pairwise(sizes)
        for step in STEPS
    ]
    goals = [
        goal("naive / ours at 100,000: load + snapshot", times(100_000, "naive", "ours", LOAD, SNAPSHOT), least=5),
        goal("naive / ours at 100,000: materialize", times(100_000, "naive", "ours", MATERIALIZE), least=20),
        goal("naive / ours at 100,000: training set", times(100_000, "naive", "ours", TRAINING_SET), least=5),
        *(
            goal(f"ours / limit at {size:,}: {step}", times(size, "ours", "limit", step), most=3)
            for size in (100_000, MILLION)
            for step in STEPS
        ),
        *(
            goal(f"ours from 100,000 to 1,000,000: {each['step']}", each["ratio"], most=12)
            for each in growth
            if (each["from"], each["to"]) == (100_000, MILLION)
        ),
        goal("ours at 1,000,000: seconds of all steps", seconds_of(measurements, MILLION, "ours", *STEPS), most=60),
        goal("ours at 1,000,000: most MB of a process", _most_megabytes(measurements, MILLION), most=1500),
    ]
    return {"ratios": ratios, "growth": growth, "goals": [each for each in goals if each["figure"] is not None]}


def seconds_of(measurements: list[Row], size: int, side: str, *steps: str) -> float | None:
    """Return the total seconds of these steps, None if one of them was not measured to its end."""
    found = {row["step"]: row["seconds"] for row in measurements if (row["customers"], row["side"]) == (size, side)}
    return total(found.get(step) for step in steps)


def _most_megabytes(measurements: list[Row], size: int) -> float | None:
    ours = [row for row in measurements if (row["customers"], row["side"]) == (size, "ours")]
    return max((row[key] for row in ours for key in ("peak_mb", "server_mb") if row[key] is not None), default=None)


def render(result: Row) -> str:
    """Return the result as tables for a terminal."""
    measurements = result["measurements"]
    found = {(row["customers"], row["side"], row["step"]): row for row in measurements}

    def cells(size: int, step: str, key: str) -> list[str]:
        if step == ALL:
            return [number(seconds_of(measurements, size, s, *STEPS)) if key == "seconds" else "" for s in SIDES]
        return [_cell(found.get((size, side, step)), key) for side in SIDES]

    rows = [
        (
            f"{each['customers']:,}",
            each["step"],
            *cells(each["customers"], each["step"], "seconds"),
            number(each["naive_over_ours"]),
            number(each["ours_over_limit"]),
            *cells(each["customers"], each["step"], "peak_mb"),
            *cells(each["customers"], each["step"], "server_mb"),
        )
        for each in result["ratios"]
    ]
    growth = [(f"{row['from']:,} to {row['to']:,}", row["step"], number(row["ratio"])) for row in result["growth"]]
    tables = (
        (("customers", "step", *(f"{side} s" for side in SIDES), "naive/ours", "ours/limit",
          *(f"{side} MB" for side in SIDES), *(f"{side} server MB" for side in SIDES)), rows),
        (("ours, customers", "step", "times the seconds"), growth),
        (("goal", "is", "asked", "met"), goal_rows(result["goals"])),
    )  # fmt: skip
    note = f"naive is not measured beyond {NAIVE_UP_TO:,} customers"
    beyond = any(row["customers"] > NAIVE_UP_TO for row in measurements)
    return "\n\n".join([*(table(header, lines) for header, lines in tables if lines), *([note] if beyond else [])])


def _cell(row: Mapping[str, Any] | None, key: str) -> str:
    if row is None:
        return "-"
    if key == "seconds" and row["over_seconds"] is not None:
        return f"> {number(row['over_seconds'])}"
    return number(row[key])
