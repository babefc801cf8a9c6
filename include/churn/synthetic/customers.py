"""The customers of a synthetic StreamFlow: attributes, signups, and changes between AS_OFs.

The marginals are rounded from the two real drops; no real row is used. Attributes are fixed. Behaviour varies: each of
the MOODS is a standard normal AR(1) process.
"""

from dataclasses import dataclass, fields, replace
from datetime import date

import numpy as np
from numpy.typing import NDArray

SERVICES = np.array(["No", "DSL", "Fiber optic"])
NO, DSL, FIBER = range(len(SERVICES))
SERVICE_SHARES = (0.217, 0.344, 0.439)

# By service, as SERVICES. Streaming plans: neither, only movies, only tv, both.
STREAMING_SHARES = np.array([(1, 0, 0, 0), (0.46, 0.145, 0.135, 0.26), (0.292, 0.142, 0.142, 0.424)])
PAPERLESS_SHARE = np.array([0.29, 0.55, 0.775])
# The monthly fee: a base between these two, 10 for each streaming plan, 5 for each of up to five extras.
FEE_BASE = np.array([(18.25, 25.0), (23.5, 51.0), (62.0, 72.0)])
FEE_OF_PLAN, FEE_OF_EXTRA, MOST_EXTRAS = 10.0, 5.0, 5

MALE_SHARE, SENIOR_SHARE, FAMILY_SHARE = 0.505, 0.162, 0.483
DEPENDENTS_SHARE = np.array([0.09, 0.525])  # without and with a family

# Months active in the first drop: shares of 0, 1, 2 to 3, 4 to 6 … months, uniform within each bin.
TENURE_FROM = np.array([0, 1, 2, 4, 7, 13, 25, 37, 49, 61, 73])
TENURE_SHARES = (0.002, 0.087, 0.062, 0.060, 0.100, 0.145, 0.118, 0.108, 0.118, 0.200)

# The first bill comes after a free week; until then a customer has 0 months and total_paid is NULL.
FREE_DAYS = 7
LAST_BILLING_DAY = 28

MOODS = ("watching", "session", "devices", "skipping", "rebuffering", "paying", "asking", "resolving")
# Autocorrelation of each mood over a month.
MOOD_MEMORY = np.array([0.85, 0.7, 0.95, 0.5, 0.6, 0.7, 0.6, 0.6])


@dataclass(frozen=True)
class Customers:
    """Customers as columns; every array has one entry (of `mood`: one row) per customer."""

    number: NDArray[np.int64]  # unique; the user_id is derived from it
    signup: NDArray[np.datetime64]
    first_bill: NDArray[np.datetime64]  # on a day that every month has
    male: NDArray[np.bool_]
    senior: NDArray[np.bool_]
    family: NDArray[np.bool_]
    dependents: NDArray[np.bool_]
    service: NDArray[np.int8]  # index in SERVICES
    stream_tv: NDArray[np.bool_]  # meaningless for service "No"
    stream_movies: NDArray[np.bool_]
    paperless: NDArray[np.bool_]
    fee: NDArray[np.float64]
    paid_ratio: NDArray[np.float64]  # total paid as a share of fee times months
    commitment: NDArray[np.float64]  # in [0, 1): low values sign long contracts sooner
    fortune: NDArray[np.float64]  # in [0, 1): below the churn probability, the customer leaves
    mood: NDArray[np.float64]  # one column for each of MOODS

    def __len__(self) -> int:
        return len(self.number)

    def at(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> "Customers":
        return Customers(*(getattr(self, field.name)[rows] for field in fields(self)))

    def joined_by(self, others: "Customers") -> "Customers":
        columns = ((getattr(self, f.name), getattr(others, f.name)) for f in fields(self))
        return Customers(*(np.concatenate(pair) for pair in columns))


def first_customers(rng: np.random.Generator, count: int, as_of: date) -> Customers:
    """Return the `count` customers of the first drop, of every tenure."""
    bin_ = _pick(rng, TENURE_SHARES, count)
    width = np.diff(TENURE_FROM)[bin_]
    tenure = TENURE_FROM[bin_] + np.floor(rng.random(count) * width).astype(np.int64)
    month = np.datetime64(as_of, "M") - (tenure - 1)
    billed = month.astype("datetime64[D]") + rng.integers(0, min(as_of.day, LAST_BILLING_DAY), count)
    unbilled = np.datetime64(as_of, "D") + rng.integers(1, FREE_DAYS, count, endpoint=True)
    first_bill = np.where(tenure == 0, unbilled, billed)
    return _customers(rng, 0, first_bill - FREE_DAYS)


def new_customers(rng: np.random.Generator, count: int, first_number: int, after: date, as_of: date) -> Customers:
    """Return `count` customers, numbered from `first_number`, who signed up after `after` and by `as_of`."""
    signup = np.datetime64(as_of, "D") - rng.integers(0, (as_of - after).days, count)
    return _customers(rng, first_number, signup)


def a_step_later(rng: np.random.Generator, customers: Customers, months: float, new_month: bool) -> Customers:
    """Return the customers `months` (or a fraction) later; a new calendar month draws a new fortune."""
    memory = MOOD_MEMORY**months
    # Weighted so that each mood stays standard normal and the population is stationary.
    mood = customers.mood * memory + rng.standard_normal(customers.mood.shape) * np.sqrt(1 - memory**2)
    fortune = rng.random(len(customers)) if new_month else customers.fortune
    return replace(customers, mood=mood, fortune=fortune)


def _customers(rng: np.random.Generator, first_number: int, signup: NDArray[np.datetime64]) -> Customers:
    count = len(signup)
    service = _pick(rng, SERVICE_SHARES, count).astype(np.int8)
    plans = np.zeros(count, dtype=np.int8)
    for code in (DSL, FIBER):
        of_service = service == code
        plans[of_service] = _pick(rng, STREAMING_SHARES[code], int(of_service.sum()))
    base_low, base_high = FEE_BASE[service].T
    extras = np.where(service == NO, 0, rng.integers(0, MOST_EXTRAS, count, endpoint=True))
    fee = base_low + rng.random(count) * (base_high - base_low)
    fee += FEE_OF_PLAN * (plans // 2 + plans % 2) + FEE_OF_EXTRA * extras
    family = rng.random(count) < FAMILY_SHARE
    return Customers(
        number=np.arange(first_number, first_number + count),
        signup=signup,
        first_bill=_on_billing_day(signup + FREE_DAYS),
        male=rng.random(count) < MALE_SHARE,
        senior=rng.random(count) < SENIOR_SHARE,
        family=family,
        dependents=rng.random(count) < DEPENDENTS_SHARE[family.astype(int)],
        service=service,
        stream_tv=plans >= 2,
        stream_movies=plans % 2 == 1,
        paperless=rng.random(count) < PAPERLESS_SHARE[service],
        fee=np.round(fee * 20) / 20,  # multiples of five cents
        paid_ratio=0.92 + 0.16 * rng.random(count),
        commitment=rng.random(count),
        fortune=rng.random(count),
        mood=rng.standard_normal((count, len(MOODS))),
    )


def _on_billing_day(day: NDArray[np.datetime64]) -> NDArray[np.datetime64]:
    """Return the days, moved back to a day that every month has, so that each month has exactly one bill."""
    month = day.astype("datetime64[M]").astype("datetime64[D]")
    return np.minimum(day, month + np.timedelta64(LAST_BILLING_DAY - 1, "D"))


def _pick(rng: np.random.Generator, shares: tuple[float, ...] | NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """Return `count` indices, drawn with the given shares."""
    return np.searchsorted(np.cumsum(shares)[:-1], rng.random(count), side="right")
