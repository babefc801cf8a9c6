"""Whether an AS_OF costs more with a longer history: twelve monthly drops in order, with the time of each step."""

from datetime import date
from pathlib import Path

from bench import ours
from bench.comparison import STEPS
from bench.context import Bench
from bench.figures import Row, goal, goal_rows, number, ratio, significant
from bench.measure import Watch, measure
from embedded.table import table

MONTHS = 12
EIGHTH, TWELFTH = 7, 11
DATABASE = "bench"


def run(bench: Bench) -> Row:
    """Run the months at the smallest size, each repetition in an empty database; keep each step's minimum."""
    customers = bench.customers[0]
    drops = bench.drops(customers, MONTHS)
    landing, dates = drops[0].path.parent, [drop.as_of for drop in drops]
    repeats = bench.repeats_of(customers)
    runs = []
    for repetition in range(1, repeats + 1):
        url = bench.server.create(DATABASE)
        measure(bench.server, DATABASE, None, ours.prepare, url)
        runs.append(measure(bench.server, DATABASE, None, in_order, url, landing, dates).result)
        bench.server.drop(DATABASE)
        bench.say(
            f"{MONTHS} months of {customers:,} customers, repetition {repetition} of {repeats}: "
            f"{number(sum(map(sum, runs[-1])))} s"
        )
    bench.forget_drops(drops)
    return {"customers": customers, "repeats": repeats, **summarize(dates, runs)}


def in_order(_: Watch, url: str, landing: Path, dates: list[date]) -> list[list[float]]:
    """Return the seconds of each step, for each date."""
    functions = (ours.load_and_validate, ours.snapshot, ours.materialize_online, ours.training_set)
    seconds: list[list[float]] = []
    for as_of in dates:
        seconds.append([])
        for function in functions:
            watch = Watch()
            function(watch, url, landing, as_of)
            seconds[-1].append(watch.seconds)
    return seconds


def summarize(dates: list[date], runs: list[list[list[float]]]) -> Row:
    """Return the minimum seconds of each date and step, and the ratio of the twelfth to the eighth date."""
    least = [[min(run[index][step] for run in runs) for step in range(len(STEPS))] for index in range(len(dates))]
    months = [
        {
            "as_of": as_of.isoformat(),
            "steps": {step: significant(value) for step, value in zip(STEPS, seconds, strict=True)},
            "all": significant(sum(seconds)),
        }
        for as_of, seconds in zip(dates, least, strict=True)
    ]
    ratios = {step: ratio(least[TWELFTH][index], least[EIGHTH][index]) for index, step in enumerate(STEPS)}
    whole = ratio(sum(least[TWELFTH]), sum(least[EIGHTH]))
    return {
        "months": months,
        "twelfth_over_eighth": {**ratios, "all": whole},
        "goals": [goal("the twelfth AS_OF / the eighth", whole, most=1.2)],
    }


def render(result: Row) -> str:
    """Return the result as tables for a terminal."""
    rows = [
        (month["as_of"], *(number(month["steps"][step]) for step in STEPS), number(month["all"]))
        for month in result["months"]
    ]
    ratios = result["twelfth_over_eighth"]
    rows.append(("twelfth / eighth", *(number(ratios[step]) for step in (*STEPS, "all"))))
    header = (f"{result['customers']:,} customers", *(f"{step} s" for step in STEPS), "all s")
    return "\n\n".join((table(header, rows), table(("goal", "is", "asked", "met"), goal_rows(result["goals"]))))
