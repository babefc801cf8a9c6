"""How fast a prediction is: ours beside a naive service, `mlflow models serve`, and the limit of the server.

One drop of the smallest size, one Postgres, one version of the model for all of them. The limit is the server of ours
that answers a constant, and the same after one SELECT of a row by its key; `mlflow models serve` is sent the features.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import islice
from statistics import mean, median
from urllib.request import Request, urlopen

from bench.context import Bench, BenchError
from bench.figures import MEGABYTE, Row, goal, ratio, significant
from bench.load import Load, find_wrk, together
from bench.service import memory
from bench.serving_sides import NAIVE, OURS, SELECT, SIDES, WORKERS, Started, service_of, start, started
from bench.serving_tables import render
from bench.serving_world import FOREST, LINEAR, World, world

__all__ = ["render", "run"]

SECONDS = {1: 2, 8: 2, 64: 5}
"""Of a load, by connections: a slow service keeps each of many waiting for seconds."""

WARM_UP_SECONDS = 1
ROUNDS = 3
"""Each load is run so often, the sides in turns: what else the machine does then meets all of them."""

NUMBERS_OF_WORKERS = (1, 2, 4)
SECONDS_OF_START = 3
COMPARED = {FOREST: SIDES, LINEAR: (NAIVE, OURS)}
"""By the family in stage Production: the baseline of the goals, and what the chain chooses."""

LEAST = {FOREST: 25, LINEAR: 10}
"""The goals: so much faster than naive, and so many times its requests a second."""

AGREEING = 50

Loads = dict[tuple[str, int], list[Load]]


def run(bench: Bench) -> Row:
    """Compare the sides, and measure the start and the memory of ours; --repeats is how often each load is run.

    Raises:
        BenchError: wrk is not installed, a service does not start, or naive answers otherwise than ours.
    """
    find_wrk()
    with world(bench) as asked:
        asked.to_production(FOREST)
        starts = [_start(bench, asked, workers) for workers in NUMBERS_OF_WORKERS]
        found = {family: _compare(bench, asked, family) for family in COMPARED}
    result: Row = {
        "customers": bench.customers[0],
        "rounds": bench.repeats or ROUNDS,
        "seconds": [*SECONDS.values()],
        "workers": WORKERS,
        "starts": starts,
        "services": [row for services, _ in found.values() for row in services],
        "loads": [
            {"family": family, "side": side, "connections": connections, **together(each).to_json()}
            for family, (_, loads) in found.items()
            for (side, connections), each in loads.items()
        ],
        "ratios": [row for family, (_, loads) in found.items() for row in _ratios(family, loads)],
    }
    return {**result, "goals": _goals(result)}


def _start(bench: Bench, asked: World, workers: int) -> Row:
    """Start ours with so many workers, alone; return the seconds until it was ready and what it held after a load."""
    with start(OURS, asked, workers) as service:
        started(OURS, service, asked).load(8 * workers, SECONDS_OF_START)
        held = memory(service)
    row = {
        "workers": workers,
        "seconds_to_ready": significant(service.seconds_to_ready),
        "mb": round(held.proportional / MEGABYTE),
        "master_mb": round(held.first / MEGABYTE),
        "own_mb_of_a_worker": round(mean(held.own) / MEGABYTE),
    }
    bench.say(
        f"ours with {workers} worker{'s'[: workers > 1]}: ready after {row['seconds_to_ready']} s, {row['mb']} MB"
    )
    return row


def _compare(bench: Bench, asked: World, family: str) -> tuple[list[Row], Loads]:
    """Load the sides in turns, with the family's version in stage Production; return their services and their loads."""
    asked.to_production(family)
    loads: Loads = {(side, connections): [] for connections in SECONDS for side in COMPARED[family]}
    with _all_started(bench, asked, family) as sides:
        _check(sides)
        for connections, seconds in SECONDS.items():
            bench.say(f"{family}: {connections} connection{'s'[: connections > 1]}")
            for side in sides.values():
                side.load(connections, WARM_UP_SECONDS)
            for _ in range(bench.repeats or ROUNDS):
                for name, side in sides.items():
                    loads[name, connections].append(side.load(connections, seconds))
        services = {service_of(side): each.service for side, each in sides.items()}
        rows = [
            {
                "family": family,
                "service": name,
                "seconds_to_ready": significant(service.seconds_to_ready),
                "mb": round(memory(service).proportional / MEGABYTE),
            }
            for name, service in services.items()
        ]
    return rows, loads


@contextmanager
def _all_started(bench: Bench, asked: World, family: str) -> Iterator[dict[str, Started]]:
    with ExitStack() as stack:
        services = {}
        for name in dict.fromkeys(service_of(side) for side in COMPARED[family]):
            bench.say(f"{family}: starting {name}")
            services[name] = stack.enter_context(start(name, asked))
        yield {side: started(side, services[service_of(side)], asked) for side in COMPARED[family]}


def _check(sides: Mapping[str, Started]) -> None:
    """See that naive says of some customers what ours does; naive's model says yes above a probability of 0.5."""
    with sides[OURS].bodies.open("rb") as file:
        bodies = list(islice(file, AGREEING))  # of customers in a random order
    for body in bodies:
        ours, naive = (_ask(sides[side], body) for side in (OURS, NAIVE))
        expected = {"prediction": int(ours["churn_probability"] > 0.5), "features_used": ours["features_used"]}
        if not expected.items() <= naive.items():
            raise BenchError(f"{body.decode().strip()}: naive answers {naive}, ours {ours}; times say nothing")


def _ask(side: Started, body: bytes) -> Row:
    request = Request(side.service.url(side.route), body, {"Content-Type": "application/json"})
    with urlopen(request, timeout=60) as answer:
        found: Row = json.load(answer)
    return found


def _ratios(family: str, loads: Loads) -> list[Row]:
    """Return the median of the rounds' ratios, each of loads that were run one after the other."""

    def of(figure: str, side: str, over: str, connections: int) -> float | None:
        # Not every side is compared for every family.
        pairs = zip(loads[side, connections], loads.get((over, connections), []), strict=False)
        found = [ratio(getattr(one, figure), getattr(other, figure)) for one, other in pairs]
        known = [each for each in found if each is not None]
        return significant(median(known)) if known else None

    return [
        {
            "family": family,
            "connections": connections,
            "p50_naive_over_ours": of("p50", NAIVE, OURS, connections),
            "rate_ours_over_naive": of("rate", OURS, NAIVE, connections),
            "p50_ours_over_limit": of("p50", OURS, SELECT, connections),
        }
        for connections in SECONDS
    ]


def _goals(result: Row) -> list[Row]:
    ratios = {(each["family"], each["connections"]): each for each in result["ratios"]}
    starts = {each["workers"]: each for each in result["starts"]}
    fewest, most = min(starts), max(starts)
    another = (starts[most]["mb"] - starts[fewest]["mb"]) / (most - fewest)
    few, some = min(SECONDS), sorted(SECONDS)[:2][-1]
    errors = sum(each["errors"] for each in result["loads"] if each["side"] == OURS)
    return [
        *(
            row
            for family, least in ((each, LEAST[each]) for each in COMPARED)
            for row in (
                goal(
                    f"{family}: naive / ours, p50 at {few} connection",
                    ratios[family, few]["p50_naive_over_ours"],
                    least=least,
                ),
                goal(
                    f"{family}: ours / naive, requests/s at {some} connections",
                    ratios[family, some]["rate_ours_over_naive"],
                    least=least,
                ),
            )
        ),
        goal(
            f"ours / constant + SELECT, p50 at {few} connection", ratios[FOREST, few]["p50_ours_over_limit"], most=2.5
        ),
        goal("seconds of ours from start to ready", starts[WORKERS]["seconds_to_ready"], most=8),
        goal("MB of an additional worker of ours", significant(another), most=150),
        goal("answers of ours that were errors", errors, most=0),
    ]
