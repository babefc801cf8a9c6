"""The gate cohort (20 % of customers) and the audit cohort (5 %): fixed holdouts that no model version trains on.

A split by time alone leaks: the same customers recur from date to date with near-identical features. The gate's
choices slowly overfit the gate cohort. The audit cohort shows by how much; it is scored only when a candidate is
promoted.
"""

from collections.abc import Iterable
from hashlib import sha256

import numpy as np

SALT = "streamflow-gate-cohort-1"
"""Do not change: another salt selects another cohort, which every earlier version has trained on."""

SHARE = 0.20
"""Large enough to grade on (1,400 of 7,000 customers), with little loss for training."""

AUDIT_SHARE = 0.05
"""350 of 7,000 customers: enough for an AUC of 0.83 to within 0.05, with little loss for training."""


def in_cohort(user_ids: Iterable[str], salt: str = SALT) -> np.ndarray:
    """Return a boolean array, in the order of the users: the user is in the gate cohort."""
    return cohorts(user_ids, salt)[0]


def cohorts(user_ids: Iterable[str], salt: str = SALT) -> tuple[np.ndarray, np.ndarray]:
    """Return two disjoint boolean arrays: membership of the gate cohort and of the audit cohort."""
    position = positions(user_ids, salt)
    return position < SHARE, (position >= SHARE) & (position < SHARE + AUDIT_SHARE)


def positions(user_ids: Iterable[str], salt: str) -> np.ndarray:
    """Return a number in [0, 1) for each user, in their order, that depends only on the user and the salt."""
    digests = bytearray()
    for user_id in user_ids:
        digests += sha256(f"{salt}:{user_id}".encode()).digest()[:8]
    return np.frombuffer(digests, dtype=">u8") / 2.0**64


def both_cohorts_below() -> bytes:
    """Return the exclusive upper bound of the first eight hash bytes of the customers in either cohort."""
    return int((SHARE + AUDIT_SHARE) * 2.0**64).to_bytes(8)
