"""The rate of false holds: generated valid drops, each compared with the previous one."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np
import pyarrow as pa

from bench.context import Bench
from bench.figures import Row, goal, goal_rows
from churn.drops.contract import REQUIRED_FILES, USERS
from churn.drops.customers import Agreement, count_shared
from churn.drops.holds.profile import Profiler
from churn.drops.holds.rules import Look, compare
from churn.drops.tables import Rows
from churn.synthetic.drops import SyntheticDrop, simulate
from embedded.table import table

SIZES = (200, 250, 1_000, 7_000, 20_000)
"""The first size drifts around the minimum for comparing medians; the second is above it."""
DRIFTS = (0.0, 0.1)
CHAINS = 15
"""Chains per case, each with its own seed."""
DROPS = 11
"""Drops of a chain: ten comparisons, 3,000 for all cases. If none is held, the share is below 0.1 % (95 %)."""
MOST = 0.001
"""The maximum share of valid drops that are held."""


@dataclass(frozen=True)
class Case:
    """Chains of one kind of drop; `drift` is the monthly share of a quarter turn of the churn relationship."""

    daily: bool
    customers: int
    drift: float

    def to_json(self) -> Row:
        return {"every": "day" if self.daily else "month", "customers": self.customers, "churn_drift": self.drift}


def run(bench: Bench) -> Row:
    """Compare every drop with the previous one; --repeats sets the number of chains per case."""
    chains = bench.repeats or CHAINS
    cases = [Case(*each) for each in product((True, False), SIZES, DRIFTS)]
    rows, findings = [], Counter[str]()
    for number, case in enumerate(cases):
        held = 0
        for chain in range(chains):
            for found in held_in(case, seed=number * 1_000 + chain):
                held += 1
                findings.update(found)
        rows.append({**case.to_json(), "compared": chains * (DROPS - 1), "held": held})
        bench.say(f"{rows[-1]}")
    compared, held = (sum(row[name] for row in rows) for name in ("compared", "held"))
    what = f"share of {compared:,} true drops that are held"
    return {
        "cases": rows,
        "compared": compared,
        "held": held,
        "findings": dict(sorted(findings.items())),
        "goals": [goal(what, held / compared, most=MOST)],
    }


def held_in(case: Case, seed: int) -> Iterator[list[str]]:
    """Yield the findings of each held drop of a chain."""
    drops = simulate(
        customers=case.customers, months=DROPS, seed=seed, daily=case.daily, churn_drift=case.drift, late_labels=0
    )
    for (before, users_before), (now, users) in pairwise(map(look_at, drops)):
        if found := compare(now, before, count_shared(users_before, users)):
            yield found


def look_at(drop: SyntheticDrop) -> tuple[Look, np.ndarray]:
    """Return the compared figures of a drop, and the hashes of its customers."""
    agreement, profiler, sha256 = Agreement(drop.as_of), Profiler(), {}
    for file in REQUIRED_FILES:
        content = drop.tables[file.table]
        rows = profiler.read(file, iter([Rows(np.arange(len(content)), content)]))
        if file is USERS:
            agreement.read(file, rows)
        else:
            list(rows)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, content.schema) as stream:
            stream.write_table(content)
        sha256[file.name] = hashlib.sha256(sink.getvalue()).hexdigest()
    return Look(sha256, profiler.profile()), agreement.users


def render(result: Row) -> str:
    """Return the result as tables for a terminal."""
    header = ("a drop every", "customers", "churn drift", "compared", "held")
    rows = [
        (each["every"], f"{each['customers']:,}", f"{each['churn_drift']:g}", each["compared"], each["held"])
        for each in result["cases"]
    ]
    why = [f"{times} times: {finding}" for finding, times in result["findings"].items()]
    goals = table(("goal", "is", "asked", "met"), goal_rows(result["goals"]))
    return "\n\n".join(("\n".join([table(header, rows), *why]), goals))
