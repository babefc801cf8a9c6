"""How often a quiet night is flagged, and how soon a drift is found: simulated nights, judged as the pipeline does.

The columns are those of churn_v1 in kind: numbers, counts with many zeros, booleans and texts, some with NULLs, and the
scores, which a quarter of the customers have. Rows are drawn anew each night; true customers stay, so their nights
differ less. Every column follows a weekly cycle of ± 0.1 standard deviations. Sampling is exact: above 65,536 customers
the pipeline itself compares a sample of that size, and so does the simulation.
"""

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import product

import numpy as np
import pyarrow as pa
from scipy.special import ndtri

from bench.context import Bench
from bench.figures import Row
from churn.drift.reading import SAMPLE, SCORE
from churn.drift.reference import Profiles, profiles_of
from churn.drift.rule import BEFORE, VERSION, WEEK_BEFORE, Finding, Reference, judge

CUSTOMERS = (200, 1_000, 1_400, 5_000, 20_000, 1_000_000)
"""From 65,536 on all cases are equal."""
NIGHTS = 1_000
"""Quiet nights per case. If none is flagged, the rate is below 0.3 % (95 %)."""
DRIFT_EVERY = 5
"""Nights from drift to drift: 200 per case. If all are found, the rate is above 98.5 % (95 %)."""
PATIENCE = 3
"""Nights within which a drift is to be found."""

CYCLE = 0.1
TRAINED_ON = 6
"""Dates of a training set. They lie 28 days apart: all of one weekday, which is the worst case of a weekly cycle."""
NIGHTS_A_VERSION = 28
COHORTS = 0.25
"""Share of customers with a score to compare."""

KINDS: Mapping[str, str] = {
    "months_active": "count",
    "monthly_fee": "number",
    "paperless_billing": "boolean",
    "plan_stream_tv": "boolean or null",
    "plan_stream_movies": "boolean or null",
    "net_service": "text",
    "watch_hours_30d": "number",
    "avg_session_mins_7d": "number",
    "unique_devices_30d": "count",
    "skips_7d": "count",
    "rebuffer_events_7d": "count",
    "failed_payments_90d": "rare count",
    "support_tickets_90d": "rare count",
    "ticket_avg_resolution_hrs_90d": "number or null",
    SCORE: "number",
}
NULLS = 0.22
TEXTS, LESS_THAN = np.array(["DSL", "Fiber", "none"]), (0.35, 0.78)

SHIFT = 0.25
"""In standard deviations of the column."""
ARRIVES = 0.05
"""Share of customers with a new category."""


@dataclass(frozen=True)
class Change:
    """A drift of one column, or none: a shift, or a new category."""

    column: str = ""
    shift: float = 0.0
    new: float = 0.0


QUIET = Change()
CHANGES = {
    "number + 0.25 sd": Change("watch_hours_30d", SHIFT),
    "count + 0.25 sd": Change("skips_7d", SHIFT),
    # 0.25 standard deviations of a share of a half: 0.125.
    "boolean + 0.25 sd": Change("paperless_billing", float(ndtri(0.5 + SHIFT / 2))),
    "score + 0.25 sd": Change(SCORE, SHIFT),
    "new category, 5 %": Change("net_service", new=ARRIVES),
}


def run(bench: Bench) -> Row:
    """Judge chains of quiet nights, and drifts that begin in every fifth; --repeats sets the number of nights."""
    nights = bench.repeats or NIGHTS
    cases = [*product(CUSTOMERS, (True, False), [nights])]
    with ProcessPoolExecutor() as pool:
        # The largest first, so that no process waits for one at the end.
        done = [*pool.map(run_case, *zip(*cases[::-1], strict=True))][::-1]
    findings = sum((each for _, _, each in done), Counter[str]())
    for row, *_ in done:
        bench.say(f"{row}")
    return {
        "quiet": [row for row, *_ in done],
        "found": [row for _, rows, _ in done for row in rows],
        "findings in quiet nights": [{"finding": name, "times": times} for name, times in sorted(findings.items())],
    }


def run_case(customers: int, daily: bool, nights: int) -> tuple[Row, list[Row], Counter[str]]:
    """Return the row of the quiet nights of a chain, those of its drifts, and the findings in quiet nights."""
    world = World(customers, np.random.default_rng(customers), daily)
    flagged = 0
    after: dict[str, list[int | None]] = {name: [] for name in CHANGES}
    findings = Counter[str]()
    for night in range(nights):
        if daily and night % DRIFT_EVERY == 0:
            for name, change in CHANGES.items():
                after[name].append(world.nights_to_find(change))
        wrong = world.pass_quiet_night()
        flagged += bool(wrong)
        findings.update(f"{each.finding}, {each.reference.name}" for each in wrong)
    case = {"customers": customers, "a drop every": "day" if daily else "month", "nights": nights}
    quiet = {**case, "flagged": flagged, "flagged %": 100 * flagged / nights}
    found = [{"customers": customers, "drift": name, **_summary(each)} for name, each in after.items() if each]
    return quiet, found, findings


def _summary(after: Sequence[int | None]) -> Row:
    in_time = sum(each is not None for each in after)
    return {
        "drifts": len(after),
        "found in the first night %": 100 * after.count(1) / len(after),
        f"found within {PATIENCE} nights %": 100 * in_time / len(after),
    }


@dataclass
class World:
    """A chain of nights and what they are held against."""

    customers: int
    random: np.random.Generator
    daily: bool
    tonight: int = 0
    version: Profiles = field(default_factory=dict)
    judged: int = 0
    before: deque[Profiles] = field(default_factory=deque)

    def __post_init__(self) -> None:
        days = range(self.tonight - 7, self.tonight) if self.daily else [int(self.random.integers(7))]
        self.before.extend(profiles_of(self.draw([day], QUIET)) for day in days)

    def pass_quiet_night(self) -> list[Finding]:
        """Judge the next night without a drift; return its flagged findings."""
        if self.judged % NIGHTS_A_VERSION == 0:
            self.version = self.train()
        columns, found = self.judge_night(0, QUIET)
        self.before.popleft()
        self.before.append(profiles_of(columns))
        self.tonight, self.judged = self.tonight + 1, self.judged + 1
        return found

    def nights_to_find(self, change: Change) -> int | None:
        """Return in which of PATIENCE nights a drift is found that begins tonight and lasts, None if in none."""
        self.version = self.version or self.train()
        for night in range(PATIENCE):
            if any(each.column == change.column for each in self.judge_night(night, change)[1]):
                return night + 1
        return None

    def train(self) -> Profiles:
        return profiles_of(self.draw([int(self.random.integers(7))] * TRAINED_ON, QUIET))

    def judge_night(self, nights_ahead: int, change: Change) -> tuple[dict[str, pa.Array], list[Finding]]:
        """Return the columns of a night and its flagged findings."""
        day = self.tonight + nights_ahead if self.daily else int(self.random.integers(7))
        columns = self.draw([day], change)
        before = Reference(self.name_before, self.before[nights_ahead])
        return columns, [each for each in judge(columns, [Reference(VERSION, self.version), before]) if each.flagged]

    @property
    def name_before(self) -> str:
        return WEEK_BEFORE if self.daily else BEFORE

    def draw(self, days: Sequence[int], change: Change) -> dict[str, pa.Array]:
        """Draw the compared rows of one or more days of `customers` each."""
        weekly = np.array([CYCLE * np.sin(2 * np.pi * day / 7) for day in days])
        columns = {}
        for name, kind in KINDS.items():
            of_column = self.customers * len(days) * (COHORTS if name == SCORE else 1)
            latent = self.random.standard_normal(int(min(of_column, SAMPLE)))
            latent += weekly[np.arange(len(latent)) % len(weekly)]
            if name == change.column:
                latent += change.shift
            columns[name] = self.column(kind, latent, change.new if name == change.column else 0.0)
        return columns

    def column(self, kind: str, latent: np.ndarray, new: float) -> pa.Array:
        """Return the column of a kind whose latent values are normal."""
        base, _, nullable = kind.partition(" or ")
        mask = self.random.random(len(latent)) < NULLS if nullable else None
        match base:
            case "number":
                return pa.array(latent, mask=mask)
            case "count":
                return pa.array(np.maximum(0, np.round(6 + 3 * latent)).astype(np.int64), mask=mask)
            case "rare count":
                return pa.array(np.maximum(0, np.floor(1.2 * latent)).astype(np.int64), mask=mask)
            case "boolean":
                return pa.array(latent > 0, mask=mask)
        texts = TEXTS[np.searchsorted(ndtri(LESS_THAN), latent)].astype(object)
        texts[self.random.random(len(texts)) < new] = "Satellite"
        return pa.array(texts, pa.string(), mask=mask)
