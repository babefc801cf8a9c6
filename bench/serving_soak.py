"""Minutes at 60 % of the most that ours can answer, while stage Production changes every 20 s between two versions.

Every answer is compared with what the version that it names gives to that customer. --repeats is the minutes.
"""

import asyncio
import itertools
import json
import time
from collections.abc import Sequence
from statistics import mean

from bench.context import Bench
from bench.figures import MEGABYTE, Row, goal, goal_rows, number, ratio, significant
from bench.load import find_wrk
from bench.measure import measure
from bench.open_loop import OpenLoop
from bench.service import Memory, Service, memory
from bench.serving_sides import OURS, Started, start, started
from bench.serving_world import DATABASE, FOREST, LINEAR, World, world
from bench.soak_judge import Judge, find_truth
from embedded.table import table

MINUTES = 10
SECONDS_BETWEEN_CHANGES = 20
SECONDS_BETWEEN_LOOKS = 5
SECONDS_OF_MAXIMUM = 5
CONNECTIONS = (8, 64)
SHARE = 0.6
CUSTOMERS = 1_000


def run(bench: Bench) -> Row:
    """Load ours for minutes.

    Raises:
        BenchError: wrk is not installed, or a service does not start.
    """
    find_wrk()
    minutes = _minutes(bench)
    with world(bench) as asked:
        asked.to_production(FOREST)
        users = [json.loads(line)["user_id"] for line in asked.questions.read_text().splitlines()[:CUSTOMERS]]
        arguments = (asked.settings.mlflow_url, users, sorted(asked.versions.values()))
        truth = measure(bench.server, DATABASE, None, find_truth, bench.server.url(DATABASE), *arguments).result
        with start(OURS, asked) as service:
            ours = started(OURS, service, asked)
            most = max(ours.load(connections, SECONDS_OF_MAXIMUM).rate for connections in CONNECTIONS)
            bench.say(f"{minutes} minutes at {number(SHARE * most)} requests/s, {SHARE:.0%} of {number(most)}")
            judge = Judge(users, truth, asked.versions[FOREST])
            found = asyncio.run(_soak(bench, asked, judge, ours, SHARE * most))
    result = {
        "customers": bench.customers[0],
        "minutes": minutes,
        "maximum_requests_per_second": significant(most),
        **found,
    }
    return {**result, "goals": _goals(result)}


def _minutes(bench: Bench) -> float:
    return bench.repeats or MINUTES


async def _soak(bench: Bench, asked: World, judge: Judge, ours: Started, rate: float) -> Row:
    bodies = [json.dumps({"user_id": user}).encode() for user in judge.users]
    loop = OpenLoop(ours.service.port, ours.route, bodies, rate, 60.0 * _minutes(bench), judge.judge)
    over, began = asyncio.Event(), time.monotonic()
    looking = asyncio.create_task(_look(ours.service, over))
    changing = asyncio.create_task(_change(bench, asked, judge, over))
    try:
        answers = await loop.run()
        took = time.monotonic() - began
    finally:
        over.set()
    held = await looking
    return {
        **answers.to_json(),
        "asked_requests_per_second": significant(rate),
        "requests_per_second": significant((answers.good + answers.failed.total()) / took),
        "mixed": judge.mixed,
        "first_mixed": judge.example,
        "changes": await changing,
        "versions": {str(version): count for version, count in sorted(judge.versions.items())},
        "seconds_to_change": significant(judge.slowest_change),
        "memory": _begin_and_end(held),
    }


async def _change(bench: Bench, asked: World, judge: Judge, over: asyncio.Event) -> int:
    """Move Production to the other version again and again; return how often."""
    changes = 0
    for family in itertools.cycle([LINEAR, FOREST]):
        if not await _pause(SECONDS_BETWEEN_CHANGES, over):
            break
        judge.in_production = None
        await asyncio.to_thread(asked.to_production, family)
        judge.in_production, judge.changed_at = asked.versions[family], asyncio.get_running_loop().time()
        changes += 1
        bench.say(f"change {changes}, to the {family}: {judge.versions.total():,} answers, {judge.mixed} of them mixed")
    return changes


async def _look(service: Service, over: asyncio.Event) -> list[Memory]:
    held = []
    while await _pause(SECONDS_BETWEEN_LOOKS, over):
        held.append(await asyncio.to_thread(memory, service))
    return held


async def _pause(seconds: float, over: asyncio.Event) -> bool:
    """Wait so long and return True, or until it is over and return False."""
    try:
        async with asyncio.timeout(seconds):
            await over.wait()
    except TimeoutError:
        return True
    return False


def _begin_and_end(held: Sequence[Memory]) -> Row:
    """Return MB in the second fifth of the time, when both versions have come in, in the last fifth, and at most."""
    fifth, looks = max(1, len(held) // 5), max(1, SECONDS_BETWEEN_CHANGES // SECONDS_BETWEEN_LOOKS)
    parts = {"begin": held[fifth : 2 * fifth], "end": held[-fifth:]}
    return {
        "mb": {name: round(mean(each.proportional for each in part) / MEGABYTE) for name, part in parts.items()}
        | {"most": round(max(each.proportional for each in held) / MEGABYTE)},
        "own_mb_of_a_worker": {name: _own(part) for name, part in parts.items()},
        "own_mb_of_a_worker_by_change": [_own(held[each : each + looks]) for each in range(0, len(held), looks)],
    }


def _own(held: Sequence[Memory]) -> int:
    return round(mean(mean(each.own) for each in held) / MEGABYTE)


def _goals(result: Row) -> list[Row]:
    held = result["memory"]["mb"]
    came, asked = result["requests_per_second"], result["asked_requests_per_second"]
    return [
        goal("answers that failed", sum(result["failed"].values()), most=0),
        goal("answers that mix two versions", result["mixed"], most=0),
        goal("versions that answered", len(result["versions"]), least=2),
        goal("requests/s, of those asked", ratio(came, asked), least=0.99),
        goal("seconds from a change to the last answer before it", result["seconds_to_change"], most=30),
        goal("MB at the end, of those at the beginning", ratio(held["end"], held["begin"]), most=1.05),
    ]


def render(result: Row) -> str:
    """Return the result as tables for a terminal."""
    held = result["memory"]
    facts = {
        "minutes": number(result["minutes"]),
        "maximum requests/s": number(result["maximum_requests_per_second"]),
        "requests/s": f"{number(result['requests_per_second'])} of {number(result['asked_requests_per_second'])} asked",
        "changes of Production": str(result["changes"]),
        "answers of each version": ", ".join(f"{version}: {count:,}" for version, count in result["versions"].items()),
        "failed": ", ".join(f"{what}: {count}" for what, count in result["failed"].items()) or "0",
        "mixed": f"{result['mixed']} {result['first_mixed'] or ''}".strip(),
        "ms from due to answered": _list(result["milliseconds"]),
        "sent late": f"{result['sent_late']:,}",
        "MB": _list(held["mb"]),
        "MB of a worker alone": _list(held["own_mb_of_a_worker"]),
    }
    tables = (
        table((f"{result['customers']:,} customers", ""), list(facts.items())),
        table(("goal", "is", "asked", "met"), goal_rows(result["goals"])),
    )
    return "\n\n".join(tables)


def _list(figures: Row) -> str:
    return ", ".join(f"{name} {number(each)}" for name, each in figures.items())
