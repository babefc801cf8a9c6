"""The rate of false holds: generated valid drops, each compared with the previous one."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise, product

import numpy as np
import pyarrow as pa

from bench.context import Bench
from bench.figures import Row
from churn.drops.contract import REQUIRED_FILES, USERS
from churn.drops.holds.profile import Profiler
from churn.drops.holds.rules import Look, compare
from churn.drops.tables import Rows
from churn.synthetic.drops import SyntheticDrop, simulate

SIZES = (200, 250, 1_000, 7_000, 20_000)
"""The first size drifts around the minimum for comparing medians; the second is above it."""
DRIFTS = (0.0, 0.1)
CHAINS = 15
"""Chains per case, each with its own seed."""
DROPS = 11
"""Drops of a chain: ten comparisons, 3,000 for all cases. If none is held, the share is below 0.1 % (95 %)."""


def run(bench: Bench) -> Row:
    """Compare every drop with the previous one; --repeats sets the number of chains per case."""
    chains = bench.repeats or CHAINS
    rows: list[Row] = []
    findings = Counter[str]()
    for number, (daily, customers, drift) in enumerate(product((True, False), SIZES, DRIFTS)):
        seeds = range(number * 1_000, number * 1_000 + chains)
        held = [found for seed in seeds for found in held_in(daily, customers, drift, seed)]
        findings.update(finding for found in held for finding in found)
        every = "day" if daily else "month"
        case = {"a drop every": every, "customers": customers, "churn drift": drift}
        rows.append({**case, "compared": chains * (DROPS - 1), "held": len(held)})
        bench.say(f"{rows[-1]}")
    return {
        "compared": sum(row["compared"] for row in rows),
        "held": sum(row["held"] for row in rows),
        "cases": rows,
        "findings": [{"finding": finding, "times": times} for finding, times in sorted(findings.items())],
    }


def held_in(daily: bool, customers: int, drift: float, seed: int) -> Iterator[list[str]]:
    """Yield the findings of each held drop of a chain; `drift` is the monthly share of a quarter turn of the churn
    relationship."""
    drops = simulate(customers=customers, months=DROPS, seed=seed, daily=daily, churn_drift=drift, late_labels=0)
    for (before, users_before), (now, users) in pairwise(map(look_at, drops)):
        if found := compare(now, before, len(users_before & users)):
            yield found


def look_at(drop: SyntheticDrop) -> tuple[Look, set[str]]:
    """Return the compared figures of a drop, and its customers."""
    profiler, sha256 = Profiler(), {}
    for file in REQUIRED_FILES:
        content = drop.tables[file.table]
        list(profiler.read(file, iter([Rows(np.arange(len(content)), content)])))
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, content.schema) as stream:
            stream.write_table(content)
        sha256[file.name] = hashlib.sha256(sink.getvalue()).hexdigest()
    return Look(sha256, profiler.profile()), set(drop.tables[USERS.table]["user_id"].to_pylist())
