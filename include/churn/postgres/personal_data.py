"""The lock between erasure and every step that writes rows of customers.

A step that began before a customer was erased could write them again when it ends. So an erasure waits for the steps
under way, and steps that begin meanwhile wait for it; they then read the tombstones, or data without the customer.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from churn.postgres.database import connect, lock_session, lock_session_shared

log = logging.getLogger(__name__)

LOCK = "personal data"


@contextmanager
def writing_personal_data(database_url: str) -> Iterator[None]:
    """Keep erasures waiting while the block runs. Any number of steps may be in such a block."""
    with connect(database_url, autocommit=True) as connection:
        lock_session_shared(connection, LOCK)
        yield


@contextmanager
def erasing_personal_data(database_url: str) -> Iterator[None]:
    """Run the block while no step writes rows of customers."""
    with connect(database_url, autocommit=True) as connection:
        log.info("waiting until no step writes rows of customers")
        lock_session(connection, LOCK)
        yield
