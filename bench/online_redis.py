"""Redis and Postgres as the online store: time to write an AS_OF, memory, and latency of serving's reads."""

import csv
import os
import random
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from shutil import which

from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from bench import ours
from bench.context import SEED, Bench, BenchError
from bench.figures import Row, number, percentile, significant
from bench.measure import Watch, measure
from bench.online import PERCENTILES, READS, READS_IN_A_ROW, WARM_UP
from churn.drops.contract import USERS
from churn.features.lookup import OnlineLookup
from churn.features.materialization import materialize
from churn.features.store import FEATURE_SERVICE, apply_definitions, open_store
from embedded.table import table

DATABASE = "bench_online_redis"
STORES = ("postgres", "redis")


def run(bench: Bench) -> Row:
    """Measure each size, with one AS_OF in both stores of one database.

    Raises:
        BenchError: redis-server is not installed, or the two return different values.
    """
    if which("redis-server") is None:
        raise BenchError("redis-server is not installed")
    rows = []
    for customers in bench.customers:
        with _redis(bench.server.directory) as url:
            rows.append({"customers": customers, **_measure(bench, customers, url)})
    return {"reads": READS, "sizes": rows}


def _measure(bench: Bench, customers: int, redis_url: str) -> Row:
    (drop,) = drops = bench.drops(customers, 1)
    landing, as_of = drop.path.parent, drop.as_of
    url = bench.server.create(DATABASE)
    bench.say(f"{customers:,} customers into Postgres and into Redis")
    measure(bench.server, DATABASE, None, ours.prepare, url)
    for step in (ours.load_and_validate, ours.snapshot):
        measure(bench.server, DATABASE, None, step, url, landing, as_of)
    before = _used_memory(redis_url)
    seconds = {
        name: measure(bench.server, DATABASE, None, _materialize, url, redis_url if name == "redis" else "", as_of)
        for name in STORES
    }
    used = _used_memory(redis_url) - before
    bench.say(f"{READS:,} reads from each")
    found = measure(bench.server, DATABASE, None, read_in_turns, url, redis_url, drop.path / USERS.name).result
    bench.server.drop(DATABASE)
    bench.forget_drops(drops)
    return {
        "materialize_seconds": {name: significant(each.seconds) for name, each in seconds.items()},
        "bytes_per_customer": round(used / customers),
        "milliseconds": {
            name: {key: significant(1000 * percentile(each, share)) for key, share in PERCENTILES.items()}
            for name, each in found.items()
        },
    }


def _used_memory(redis_url: str) -> int:
    return Redis.from_url(redis_url).execute_command("INFO", "memory")["used_memory"]


def _materialize(watch: Watch, url: str, redis_url: str, as_of: date) -> None:
    os.environ["CHURN_REDIS_URL"] = redis_url
    apply_definitions(url)
    with watch:
        materialize(as_of, url)


def read_in_turns(_: Watch, url: str, redis_url: str, users: Path) -> dict[str, list[float]]:
    """Return the seconds of every read from each store, alternating every hundred reads.

    Raises:
        BenchError: they differ.
    """
    lookups = {}
    for name, each in zip(STORES, ("", redis_url), strict=True):
        os.environ["CHURN_REDIS_URL"] = each
        store = open_store(url)
        lookups[name] = OnlineLookup(store, store.get_feature_service(FEATURE_SERVICE))
    with users.open(encoding="utf-8") as file:
        customers = [row["user_id"] for row in csv.DictReader(file)]
    chosen = random.Random(SEED).choices(customers, k=READS)
    for user_id in chosen[:WARM_UP]:
        first, second = (lookup.read([user_id]) for lookup in lookups.values())
        if first != second:
            raise BenchError(f"the two online stores differ, first for the customer {user_id}")
    seconds: dict[str, list[float]] = {name: [] for name in STORES}
    for start in range(0, READS, READS_IN_A_ROW):
        for name, lookup in lookups.items():
            for user_id in chosen[start : start + READS_IN_A_ROW]:
                started = time.perf_counter()
                lookup.read([user_id])
                seconds[name].append(time.perf_counter() - started)
    return seconds


@contextmanager
def _redis(directory: Path) -> Iterator[str]:
    socket = directory / "redis.sock"
    command = ["redis-server", "--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", str(directory)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        client = Redis.from_url(f"unix://{socket}")
        while process.poll() is None:
            try:
                client.ping()
                break
            except RedisConnectionError:
                time.sleep(0.01)
        yield f"unix://{socket}"
    finally:
        process.terminate()
        process.wait()


def render(result: Row) -> str:
    """Return the result as a table for a terminal."""
    header = ("customers", "store", "materialize s", "bytes a customer", *(f"{key} ms" for key in PERCENTILES))
    rows = [
        (
            f"{each['customers']:,}",
            name,
            number(each["materialize_seconds"][name]),
            each["bytes_per_customer"] if name == "redis" else None,
            *(number(each["milliseconds"][name][key]) for key in PERCENTILES),
        )
        for each in result["sizes"]
        for name in STORES
    ]
    return table(header, rows)
