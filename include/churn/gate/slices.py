"""The slices of customers that a candidate must not harm, and by which outcomes are shown."""

from collections import defaultdict
from datetime import date

import numpy as np
import pyarrow as pa

from churn.as_of import event_timestamp
from churn.postgres.database import Connection, execute

ASKED_AT_ONCE = 100_000
"""Customers per statement: it lists their ids, and scans the whole date."""


def slices_of(connection: Connection, as_of: date, users: pa.ChunkedArray) -> dict[str, np.ndarray]:
    """Return {slice: mask of its customers in `users`}, by the snapshot of `as_of`."""
    found: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(len(users), dtype=bool))
    for begin in range(0, len(users), ASKED_AT_ONCE):
        block = users[begin : begin + ASKED_AT_ONCE].to_pylist()
        asked = {"event_timestamp": event_timestamp(as_of), "users": block}
        for name, places in execute(connection, "gate/slices", asked):
            found[name][begin:][places] = True
    return dict(sorted(found.items()))
