"""The online stores: Feast's stock Postgres store, ours in Postgres and ours in Redis.

Measured are the time to write an AS_OF, Redis' memory, and the latency of reading one customer's features: from the
stock store by Feast, from ours as serving does.
"""

import csv
import os
import random
import time
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

from redis import Redis

from bench import BenchError, naive, naive_feast, ours
from bench.context import SEED, Bench
from bench.figures import MEGABYTE, Row, milliseconds, significant
from bench.measure import Watch, measure
from bench.processes import redis_server
from bench.server import Server
from bench.sides import NAIVE_UP_TO
from churn.drops.contract import USERS
from churn.drops.landing import Drop
from churn.features.lookup import OnlineLookup
from churn.features.materialization import materialize
from churn.features.store import FEATURE_SERVICE, apply_definitions, open_store

READS = 4_000
READS_IN_A_ROW = 100
WARM_UP = 200
STOCK, POSTGRES, REDIS = "stock Postgres", "Postgres", "Redis"

Read = Callable[[str], Mapping[str, Any]]
"""Returns the features of a customer."""


def run(bench: Bench) -> Row:
    """Measure each size, with one AS_OF in each store; the stock store only up to 100,000 customers.

    Raises:
        BenchError: redis-server is not installed, or two stores return different values.
    """
    rows: list[Row] = []
    directory = bench.server.directory
    for customers in bench.customers:
        with (
            bench.drops(customers) as (drop,),
            redis_server(directory, "--unixsocket", str(directory / "redis.sock")),
            bench.server.database("stock") as stock_url,
            bench.server.database() as url,
        ):
            urls = {STOCK: stock_url, POSTGRES: url, REDIS: f"unix://{directory}/redis.sock"}
            if customers > NAIVE_UP_TO:
                del urls[STOCK]
            bench.say(f"{customers:,} customers into {', '.join(urls)}")
            rows += [{"customers": customers, **row} for row in _measure(bench.server, drop, urls)]
    return {"reads": READS, "stores": rows}


def _measure(server: Server, drop: Drop, urls: Mapping[str, str]) -> list[Row]:
    where, seconds = (drop.path.parent, drop.as_of), {}
    if STOCK in urls:
        for fill in (naive_feast.prepare, naive.load, naive.snapshot):
            measure(server, fill, urls[STOCK], *where)
        seconds[STOCK] = measure(server, naive_feast.materialize, urls[STOCK], *where).seconds
    for fill in (ours.prepare, ours.load_and_validate, ours.snapshot):
        measure(server, fill, urls[POSTGRES], *where)
    empty = _used_memory(urls[REDIS])
    # Before Postgres: a materialization into Redis ends what Postgres serves.
    seconds[REDIS] = measure(server, write, urls[POSTGRES], urls[REDIS], drop.as_of).seconds
    redis_bytes = _used_memory(urls[REDIS]) - empty
    seconds[POSTGRES] = measure(server, write, urls[POSTGRES], "", drop.as_of).seconds
    reads = measure(server, read_in_turns, urls, drop.path / USERS.name).result
    return [
        {
            "store": store,
            "write s": significant(seconds[store]),
            "memory MB": significant(redis_bytes / MEGABYTE) if store == REDIS else None,
            **milliseconds(each, 50, 95, 99),
        }
        for store, each in reads.items()
    ]


def _used_memory(redis_url: str) -> int:
    found: Any = Redis.from_url(redis_url).info("memory")
    return int(found["used_memory"])


def write(watch: Watch, url: str, redis_url: str, as_of: date) -> None:
    """Materialize an AS_OF into the Redis, or into Postgres where its URL is empty."""
    os.environ["CHURN_REDIS_URL"] = redis_url
    apply_definitions(url)
    with watch:
        materialize(as_of, url)


def read_in_turns(_: Watch, urls: Mapping[str, str], users: Path) -> dict[str, list[float]]:
    """Return the seconds of every read from each store.

    The stores alternate every hundred reads, so that other load affects all of them.

    Raises:
        BenchError: two of them differ.
    """
    stores = {STOCK: _stock(urls[STOCK])} if STOCK in urls else {}
    stores |= {POSTGRES: _ours(urls[POSTGRES], ""), REDIS: _ours(urls[POSTGRES], urls[REDIS])}
    with users.open(encoding="utf-8") as file:
        customers = [row["user_id"] for row in csv.DictReader(file)]
    chosen = random.Random(SEED).choices(customers, k=READS)
    for user_id in chosen[:WARM_UP]:
        first, *others = (read(user_id) for read in stores.values())
        if any(each != first for each in others):
            raise BenchError(f"the online stores differ, first for the customer {user_id}: {first}, {others}")
    seconds: dict[str, list[float]] = {name: [] for name in stores}
    for start in range(0, READS, READS_IN_A_ROW):
        for name, read in stores.items():
            for user_id in chosen[start : start + READS_IN_A_ROW]:
                started = time.perf_counter()
                read(user_id)
                seconds[name].append(time.perf_counter() - started)
    return seconds


def _stock(url: str) -> Read:
    store = naive_feast.open_stock_store(url)
    service = store.get_feature_service(FEATURE_SERVICE)

    def read(user_id: str) -> dict[str, Any]:
        found = store.get_online_features(features=service, entity_rows=[{"user_id": user_id}]).to_dict()
        return {name: value for name, (value,) in found.items() if name != "user_id"}

    return read


def _ours(url: str, redis_url: str) -> Read:
    os.environ["CHURN_REDIS_URL"] = redis_url
    store = open_store(url)
    lookup = OnlineLookup(store, store.get_feature_service(FEATURE_SERVICE))
    return lambda user_id: lookup.read([user_id])[0].values
