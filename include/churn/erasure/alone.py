"""The locks of an erasure that changes files."""

from collections.abc import Iterator
from contextlib import contextmanager

from churn.postgres.database import connect, lock_session
from churn.postgres.personal_data import erasing_personal_data
from churn.retention import RETENTION_LOCK


@contextmanager
def alone(database_url: str) -> Iterator[None]:
    """Run the block while no step writes rows of customers, and no backup or retention reads or deletes files."""
    with erasing_personal_data(database_url), connect(database_url, autocommit=True) as connection:
        lock_session(connection, RETENTION_LOCK)
        yield
