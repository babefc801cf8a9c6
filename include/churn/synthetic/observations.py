"""The contract's columns for customers at an AS_OF, from their attributes and moods.

Counts are moods binned at the quantiles of the real marginals, so that they vary with the moods.
"""

from collections.abc import Sequence
from datetime import date
from itertools import accumulate
from math import exp, factorial
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from churn.synthetic.customers import DSL, MOODS, NO, SERVICES, Customers

Observations = dict[str, NDArray]
"""Column name → one value per customer; masked values are NULL in the drop."""

CONTRACTS = np.array(["Month-to-month", "One year", "Two year"])
# Long contracts become more frequent with tenure: the shares at CONTRACT_MONTHS, interpolated.
CONTRACT_MONTHS = (0, 24, 48, 66)
TWO_YEAR_SHARE = (0.02, 0.10, 0.29, 0.70)
YEAR_OR_MORE_SHARE = (0.06, 0.40, 0.70, 0.93)
CONTRACT_BY_SERVICE = np.array([1.4, 1.0, 0.7])  # factor on the shares, by service

WATCH_HOURS_MEAN, WATCH_HOURS_SD = np.array([23.0, 28.6, 33.7]), 5.3
# The column is constant in the real drops; the spread is invented.
SESSION_MINS_MEAN, SESSION_MINS_SD, SESSION_FOLLOWS_WATCHING = 29.1, 6.0, 0.6
RESOLUTION_HRS_MEAN, RESOLUTION_HRS_SD = 10.0, 3.9
# Before this month, a customer without tickets has no resolution time; later, the last one stands.
RESOLUTION_KNOWN_FROM_MONTH = 3

ID_DIGITS, ID_LETTERS = 10**4, 26**5
# Coprime to the number of ids (odd, no multiple of 5 or 13), so that ids are unique. The product with a hundred million
# customers fits into 64 bits.
ID_STRIDE = 73_430_942_857


def _cuts_of(shares: Sequence[float]) -> NDArray[np.float64]:
    """Return the bin edges of a standard normal value for 0, 1 … with these shares; the last bin gets the rest."""
    return np.array([NormalDist().inv_cdf(share) for share in accumulate(shares)])


def _poisson(mean: float, most: int) -> NDArray[np.float64]:
    return _cuts_of([exp(-mean) * mean**k / factorial(k) for k in range(most)])


DEVICES = _cuts_of((1 / 3, 1 / 3))
SKIPS = _poisson(5.05, most=16)
REBUFFERS_DSL, REBUFFERS_OTHER = _poisson(3.0, most=12), _poisson(1.95, most=12)
FAILED_PAYMENTS = _poisson(0.17, most=4)
TICKETS = _poisson(0.31, most=6)


def observe(customers: Customers, as_of: date) -> Observations:
    """Return the columns of the drop of `as_of`, except user_id and the label."""
    mood = dict(zip(MOODS, customers.mood.T, strict=True))
    months = months_active(customers, as_of)
    tickets = np.searchsorted(TICKETS, mood["asking"])
    session = SESSION_FOLLOWS_WATCHING * mood["watching"] + 0.8 * mood["session"]
    rebuffers = np.where(
        customers.service == DSL,
        np.searchsorted(REBUFFERS_DSL, mood["rebuffering"]),
        np.searchsorted(REBUFFERS_OTHER, mood["rebuffering"]),
    )
    resolution = np.maximum(1.0, RESOLUTION_HRS_MEAN + RESOLUTION_HRS_SD * mood["resolving"])
    unresolved = (tickets == 0) & (months < RESOLUTION_KNOWN_FROM_MONTH)
    paid = months * customers.fee * customers.paid_ratio
    watch_hours = WATCH_HOURS_MEAN[customers.service] + WATCH_HOURS_SD * mood["watching"]
    without_net = customers.service == NO
    return {
        "signup_date": customers.signup,
        "user_gender": np.where(customers.male, "Male", "Female"),
        "user_is_senior": customers.senior,
        "has_family": customers.family,
        "has_dependents": customers.dependents,
        "months_active": months,
        "plan_stream_tv": np.ma.array(customers.stream_tv, mask=without_net),
        "plan_stream_movies": np.ma.array(customers.stream_movies, mask=without_net),
        "contract_type": CONTRACTS[_contract(customers, months)],
        "paperless_billing": customers.paperless,
        "monthly_fee": customers.fee,
        "total_paid": np.ma.array(np.round(paid, 2), mask=months == 0),
        "net_service": SERVICES[customers.service],
        "watch_hours_30d": np.round(np.maximum(0.0, watch_hours), 3),
        "avg_session_mins_7d": np.round(np.maximum(1.0, SESSION_MINS_MEAN + SESSION_MINS_SD * session), 2),
        "unique_devices_30d": 1 + np.searchsorted(DEVICES, mood["devices"]),
        "skips_7d": np.searchsorted(SKIPS, mood["skipping"]),
        "rebuffer_events_7d": rebuffers,
        "failed_payments_90d": np.searchsorted(FAILED_PAYMENTS, mood["paying"]),
        "support_tickets_90d": tickets,
        "ticket_avg_resolution_hrs_90d": np.ma.array(np.round(resolution, 1), mask=unresolved),
    }


def months_active(customers: Customers, as_of: date) -> NDArray[np.int64]:
    """Return the number of monthly bills of each customer by the end of `as_of`."""
    month = customers.first_bill.astype("datetime64[M]")
    day = (customers.first_bill - month.astype("datetime64[D]")).astype(np.int64) + 1
    whole_months = (np.datetime64(as_of, "M") - month).astype(np.int64)
    return np.maximum(0, whole_months + (as_of.day >= day))


def user_ids(numbers: NDArray[np.int64], seed: int) -> NDArray[np.bytes_]:
    """Return a unique, unordered id like 1234-ABCDE for each number."""
    space = np.uint64(ID_DIGITS * ID_LETTERS)
    start = np.uint64(np.random.default_rng(seed).integers(ID_DIGITS * ID_LETTERS))
    mixed = (numbers.astype(np.uint64) * np.uint64(ID_STRIDE) + start) % space
    digits, letters = mixed % np.uint64(ID_DIGITS), mixed // np.uint64(ID_DIGITS)
    text = np.empty((len(numbers), 10), dtype=np.uint8)
    for place in range(3, -1, -1):
        text[:, place] = ord("0") + digits % np.uint64(10)
        digits //= np.uint64(10)
    text[:, 4] = ord("-")
    for place in range(9, 4, -1):
        text[:, place] = ord("A") + letters % np.uint64(26)
        letters //= np.uint64(26)
    return text.view("S10").ravel()


def _contract(customers: Customers, months: NDArray[np.int64]) -> NDArray[np.int64]:
    factor = CONTRACT_BY_SERVICE[customers.service]
    year_or_more = customers.commitment < factor * np.interp(months, CONTRACT_MONTHS, YEAR_OR_MORE_SHARE)
    two_year = customers.commitment < factor * np.interp(months, CONTRACT_MONTHS, TWO_YEAR_SHARE)
    return year_or_more.astype(np.int64) + two_year
