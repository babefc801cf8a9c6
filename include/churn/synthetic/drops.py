"""The drops of a synthetic StreamFlow, one per AS_OF, as tables of the contract."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from churn.drops.contract import LABELS, REQUIRED_FILES
from churn.synthetic.churn import churn_probability
from churn.synthetic.customers import a_step_later, first_customers, new_customers
from churn.synthetic.observations import Observations, observe, user_ids

FIRST_AS_OF = date(2024, 1, 31)
# Share of leavers who are gone by the next month end; the others are won back. This share keeps the distribution of
# tenure and the churn rate stable.
GONE_SHARE = 0.28
# Maximum monthly change of the population, either way.
SIZE_WOBBLE = 0.005
DAY_IN_MONTHS = 12 / 365.25


class ScenarioError(ValueError):
    """The arguments of a simulation are invalid."""


@dataclass(frozen=True)
class SyntheticDrop:
    """A drop: contract table → Arrow table. It has no labels if they come in a later drop."""

    as_of: date
    tables: dict[str, pa.Table]


def simulate(
    *,
    customers: int,
    months: int,
    seed: int,
    start: date = FIRST_AS_OF,
    daily: bool = False,
    churn_drift: float = 0.0,
    late_labels: int = 0,
    label_days: int = 0,
) -> Iterator[SyntheticDrop]:
    """Yield one drop per month end, or per day with `daily`. A drop does not depend on the number of drops.

    Without `label_days`, labels are drawn per drop, as for drops a month apart. With it, daily drops have labels with a
    real horizon: customers leave from one day to the next, and a label says whether the customer left within
    `label_days` days. It comes when these are over.

    Args:
        customers: customers in the first drop; the population stays within half a percent.
        months: number of drops.
        seed: equal seeds give equal drops.
        start: the first AS_OF; a month end, unless `daily`.
        daily: AS_OFs are days instead of month ends.
        churn_drift: the share of a quarter turn per month of the churn relationship, see churn_probability().
        late_labels: 0: a drop has its own labels. K: it has the labels of the Kth drop before it, with that drop's
            AS_OF in the column as_of, including customers who are gone.
        label_days: 0, or with `daily` the days that a label covers. The drop of D + label_days has the labels of D.

    Raises:
        ScenarioError: no customers or drops, a negative seed or delay, a start that is not a month end, `label_days`
            of drops that are not daily or have `late_labels` too.
    """
    for name, value, least in (
        ("customers", customers, 1),
        ("months", months, 1),
        ("seed", seed, 0),
        ("late_labels", late_labels, 0),
        ("label_days", label_days, 0),
    ):
        if value < least:
            raise ScenarioError(f"{name} must be at least {least}, got {value}")
    if not daily and (start + timedelta(days=1)).day != 1:
        raise ScenarioError(f"start {start} is not a month end: say {_month_end(start)}, or ask for daily drops")
    if label_days and (late_labels or not daily):
        raise ScenarioError(
            "label_days are for daily drops; their labels come when these days are over: no late_labels"
        )
    if label_days:
        return _days(customers, months, seed, start, churn_drift=churn_drift, label_days=label_days)
    return _drops(customers, months, seed, start, step_by_day=daily, churn_drift=churn_drift, late_labels=late_labels)


def _drops(
    size: int, count: int, seed: int, start: date, *, step_by_day: bool, churn_drift: float, late_labels: int
) -> Iterator[SyntheticDrop]:
    rng = np.random.default_rng(seed)
    step = DAY_IN_MONTHS if step_by_day else 1.0
    wobble = int(size * SIZE_WOBBLE * step)
    as_of = start
    population = first_customers(rng, size, as_of)
    joined = size
    undelivered: deque[pa.Table] = deque()
    for index in range(count):
        seen = observe(population, as_of)
        leaves = population.fortune < churn_probability(seen, index * step, churn_drift)
        ids = _ids(population.number, seed)
        tables = _tables(ids, seen)
        labels = pa.table({"user_id": ids, "churn_label": pa.array(leaves)})
        if late_labels:
            labels = labels.append_column("as_of", pa.repeat(pa.scalar(as_of), len(labels)))
        undelivered.append(labels)
        if len(undelivered) > late_labels:
            tables[LABELS.table] = undelivered.popleft()
        yield SyntheticDrop(as_of, tables)

        gone = leaves & (rng.random(len(population)) < GONE_SHARE * step)
        before, tomorrow = as_of, as_of + timedelta(days=1)
        as_of = tomorrow if step_by_day else _month_end(tomorrow)
        new_month = as_of.month != before.month
        stayed = a_step_later(rng, population.at(~gone), step, new_month)
        newcomers = max(0, size - len(stayed) + int(rng.integers(-wobble, wobble, endpoint=True)))
        population = stayed.joined_by(new_customers(rng, newcomers, joined, before, as_of))
        # Shuffled, because rows in order of signup would bias folds and samples by tenure.
        population = population.at(rng.permutation(len(population)))
        joined += newcomers


def _days(
    size: int, count: int, seed: int, start: date, *, churn_drift: float, label_days: int
) -> Iterator[SyntheticDrop]:
    rng = np.random.default_rng(seed)
    wobble = int(size * SIZE_WOBBLE * DAY_IN_MONTHS)
    as_of = start
    population = first_customers(rng, size, as_of)
    # By customer number: the last drop after which the customer left; one that was won back may leave again.
    last_left = np.full(size, -1)
    unknown: deque[tuple[date, NDArray[np.int64]]] = deque()
    for index in range(count):
        tables = _tables(_ids(population.number, seed), seen := observe(population, as_of))
        unknown.append((as_of, population.number))
        if len(unknown) > label_days:
            day, numbers = unknown.popleft()
            tables[LABELS.table] = pa.table({
                "user_id": _ids(numbers, seed),
                "churn_label": pa.array(last_left[numbers] >= index - label_days),
                "as_of": pa.repeat(pa.scalar(day), len(numbers)),
            })  # fmt: skip
        yield SyntheticDrop(as_of, tables)

        # The chance of a day that, day after day, makes the chance of the whole label.
        staying = (1 - churn_probability(seen, index * DAY_IN_MONTHS, churn_drift)) ** (1 / label_days)
        leaves = rng.random(len(population)) >= staying
        last_left[population.number[leaves]] = index
        stayed = population.at(~(leaves & (rng.random(len(population)) < GONE_SHARE)))
        before, as_of = as_of, as_of + timedelta(days=1)
        stayed = a_step_later(rng, stayed, DAY_IN_MONTHS, new_month=False)
        newcomers = max(0, size - len(stayed) + int(rng.integers(-wobble, wobble, endpoint=True)))
        population = stayed.joined_by(new_customers(rng, newcomers, len(last_left), before, as_of))
        population = population.at(rng.permutation(len(population)))
        last_left = np.append(last_left, np.full(newcomers, -1))


def _ids(numbers: NDArray[np.int64], seed: int) -> pa.Array:
    return pa.array(user_ids(numbers, seed)).cast(pa.string())


def _tables(ids: pa.Array, seen: Observations) -> dict[str, pa.Table]:
    arrays = {"user_id": ids} | {name: pa.array(values) for name, values in seen.items()}
    return {
        file.table: pa.table({column.name: arrays[column.name] for column in file.columns}) for file in REQUIRED_FILES
    }


def _month_end(day: date) -> date:
    return (day.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)
