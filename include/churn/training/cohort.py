"""The gate cohort: about 20 % of customers, chosen for ever, whom no model version ever trains on; and the audit
cohort, 5 % more, who are kept even from the gate's decisions.

Splitting by time alone is not enough: the same customers recur from date to date with near-identical features, so a
model that saw a customer in January is graded on its own training data in February. And a cohort on which many
candidates were chosen is one day fitted by the choice itself: the audit cohort, looked at only when a candidate is
promoted, shows by how much.
"""

from collections.abc import Iterable
from hashlib import sha256

import numpy as np

SALT = "streamflow-gate-cohort-1"
"""Fixed before any result was seen. Another salt would be another cohort, on which every version so far has trained."""

SHARE = 0.20
"""Large enough to grade on (1,400 of 7,000 customers), small enough that training barely feels it."""

AUDIT_SHARE = 0.05
"""350 of 7,000 customers: an AUC of 0.83 to within 0.05, which shows a fitted gate and costs training little."""


def in_cohort(user_ids: Iterable[str], salt: str = SALT) -> np.ndarray:
    """Return for each user whether the gate cohort holds them, as an array of booleans in the same order."""
    return cohorts(user_ids, salt)[0]


def cohorts(user_ids: Iterable[str], salt: str = SALT) -> tuple[np.ndarray, np.ndarray]:
    """Return for each user whether the gate cohort holds them, and whether the audit cohort does; nobody is in both."""
    digests = bytearray()
    for user_id in user_ids:
        digests += sha256(f"{salt}:{user_id}".encode()).digest()[:8]
    # A number in [0, 1) that depends on nothing but the user and the salt.
    position = np.frombuffer(digests, dtype=">u8") / 2.0**64
    return position < SHARE, (position >= SHARE) & (position < SHARE + AUDIT_SHARE)


def both_cohorts_below() -> bytes:
    """Return the eight bytes that the hash of every customer of the two cohorts lies below, and nobody else's."""
    return int((SHARE + AUDIT_SHARE) * 2.0**64).to_bytes(8)
