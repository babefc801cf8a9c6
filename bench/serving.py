"""How fast a prediction is: a naive service, ours, and the limit of the server, which answers after one SELECT.

Each family of models is in Production in turn, for all services alike.
"""

import time
from collections.abc import Mapping
from contextlib import ExitStack
from statistics import median
from typing import Any

from bench import BenchError
from bench.context import Bench
from bench.figures import MEGABYTE, SIDES, Row, side_by_side
from bench.load import find_wrk, load
from bench.processes import memory
from bench.serving_world import WORKERS, Service, World, world
from embedded.stack.services import session

SECONDS = {1: 2, 8: 2, 64: 5}
"""Of a load, by connections: a slow service keeps each of many waiting for seconds."""

WARM_UP_SECONDS = 3
"""Long enough for an answer by a slow service under 64 connections."""
ROUNDS = 3
"""Each load is run so often, the sides in turns, so that other load affects all of them."""

AGREEING = 50


def run(bench: Bench) -> Row:
    """Compare the sides; --repeats is how often each load is run.

    Raises:
        BenchError: wrk is not installed, a service does not start, or naive answers otherwise than ours.
    """
    find_wrk()
    loads: list[Row] = []
    held: list[Row] = []
    with world(bench) as asked:
        for family, version in asked.versions.items():
            asked.to_production(version)
            with ExitStack() as started:
                services: dict[str, Service] = {}
                for side in SIDES:
                    bench.say(f"{family}: starting {side}")
                    begun = time.monotonic()
                    services[side] = started.enter_context(asked.service(side))
                    used = {"s to ready": time.monotonic() - begun, "MB": round(memory(services[side].pid) / MEGABYTE)}
                    held.append({"in Production": family, "service": side, **used})
                check(asked, services)
                for connections in SECONDS:
                    figures = side_by_side(_load_in_turns(bench, asked, services, connections))
                    loads.append({"in Production": family, "connections": connections, **figures})
    return {"customers": bench.customers[0], "workers of each": WORKERS, "loads": loads, "services": held}


def _load_in_turns(bench: Bench, asked: World, services: Mapping[str, Service], connections: int) -> dict[str, Row]:
    """Return the medians of the figures of each side."""
    bench.say(f"{connections} connection{'s'[: connections > 1]}")
    for service in services.values():
        load(service.url, asked.questions, connections, WARM_UP_SECONDS)
    rounds = [
        {side: load(each.url, asked.questions, connections, SECONDS[connections]) for side, each in services.items()}
        for _ in range(bench.repeats or ROUNDS)
    ]
    return {side: {name: median(each[side][name] for each in rounds) for name in rounds[0][side]} for side in services}


def check(asked: World, services: Mapping[str, Service]) -> None:
    """See that naive says of some customers what ours does; naive's model says yes above a probability of 0.5.

    Raises:
        BenchError: it does not.
    """
    for user_id in asked.users[:AGREEING]:
        ours, naive = (_ask(services[side], user_id) for side in ("ours", "naive"))
        expected = {"prediction": int(ours["churn_probability"] > 0.5), "features_used": ours["features_used"]}
        if not expected.items() <= naive.items():
            raise BenchError(f"{user_id}: naive answers {naive}, ours {ours}; times say nothing")


def _ask(service: Service, user_id: str) -> Any:
    return session().post(service.url, json={"user_id": user_id}, timeout=60).json()
