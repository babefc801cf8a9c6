"""The latency of reading one customer's 14 features online, from our store and from Feast's stock Postgres store."""

import asyncio
import csv
import random
import time
from datetime import date
from pathlib import Path
from typing import Any

from feast import FeatureService, FeatureStore

from bench import naive, naive_feast, ours
from bench.context import SEED, Bench, BenchError
from bench.figures import Row, goal, goal_rows, number, percentile, significant
from bench.measure import Watch, measure
from churn.drops.contract import USERS
from churn.features.store import FEATURE_SERVICE, open_store
from embedded.table import table

READS = 4_000
READS_IN_A_ROW = 100
WARM_UP = 200
STOCK, OURS = "bench_stock", "bench_ours"
PERCENTILES = {"p50": 0.50, "p95": 0.95, "p99": 0.99}


def run(bench: Bench) -> Row:
    """Read alternately from both stores, one AS_OF of the smallest size in each.

    Raises:
        BenchError: the two return different values.
    """
    customers = bench.customers[0]
    drops = bench.drops(customers, 1)
    landing, as_of = drops[0].path.parent, drops[0].as_of
    urls = {}
    for database, fill in ((STOCK, fill_stock), (OURS, fill_ours)):
        bench.say(f"filling {database} with {customers:,} customers")
        urls[database] = bench.server.create(database)
        measure(bench.server, database, None, fill, urls[database], landing, as_of)
    bench.say(f"{READS:,} reads from each store")
    path = landing / as_of.isoformat() / USERS.name
    measured = measure(bench.server, OURS, None, read_in_turns, urls[STOCK], urls[OURS], path)
    differing, seconds = measured.result
    if differing:
        raise BenchError(f"the two online stores differ, first for the customer {differing}")
    for database in urls:
        bench.server.drop(database)
    bench.forget_drops(drops)
    return {"customers": customers, "reads": READS, **summarize(seconds)}


def fill_stock(watch: Watch, url: str, landing: Path, as_of: date) -> None:
    naive_feast.prepare(watch, url)
    for step in (naive.load, naive.snapshot, naive_feast.materialize):
        step(watch, url, landing, as_of)


def fill_ours(watch: Watch, url: str, landing: Path, as_of: date) -> None:
    ours.prepare(watch, url)
    for step in (ours.load_and_validate, ours.snapshot, ours.materialize_online):
        step(watch, url, landing, as_of)


def read_in_turns(_: Watch, stock_url: str, ours_url: str, users: Path) -> tuple[str | None, dict[str, list[float]]]:
    """Return a customer for whom the stores differ, if any, and the seconds of every read of each store.

    The stores alternate every hundred reads, so that other load affects both.
    """
    stores = {"stock": naive_feast.open_stock_store(stock_url), "ours": open_store(ours_url)}
    services = {name: store.get_feature_service(FEATURE_SERVICE) for name, store in stores.items()}
    with users.open(encoding="utf-8") as file:
        customers = [row["user_id"] for row in csv.DictReader(file)]
    chosen = random.Random(SEED).choices(customers, k=READS)
    for user_id in chosen[:WARM_UP]:
        stock, own = (_read(stores[name], services[name], user_id).to_dict() for name in stores)
        if stock != own:
            return user_id, {}
    seconds: dict[str, list[float]] = {name: [] for name in stores}
    for start in range(0, READS, READS_IN_A_ROW):
        for name, store in stores.items():
            for user_id in chosen[start : start + READS_IN_A_ROW]:
                started = time.perf_counter()
                _read(store, services[name], user_id)
                seconds[name].append(time.perf_counter() - started)
    for store in stores.values():
        asyncio.run(store.close())
    return None, seconds


def _read(store: FeatureStore, service: FeatureService, user_id: str) -> Any:
    return store.get_online_features(features=service, entity_rows=[{"user_id": user_id}])


def summarize(seconds: dict[str, list[float]]) -> Row:
    """Return the percentiles of each store in milliseconds."""
    milliseconds = {
        name: {key: significant(1000 * percentile(values, share)) for key, share in PERCENTILES.items()}
        for name, values in seconds.items()
    }
    return {"milliseconds": milliseconds, "goals": [goal("p50 ms of ours", milliseconds["ours"]["p50"], most=0.8)]}


def render(result: Row) -> str:
    """Return the result as tables for a terminal."""
    rows = [(name, *(number(each[key]) for key in PERCENTILES)) for name, each in result["milliseconds"].items()]
    header = (f"{result['customers']:,} customers", *(f"{key} ms" for key in PERCENTILES))
    return "\n\n".join((table(header, rows), table(("goal", "is", "asked", "met"), goal_rows(result["goals"]))))
