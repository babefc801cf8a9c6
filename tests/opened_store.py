"""A feature store whose connections are closed at the end."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from feast import FeatureStore

from churn.features.store import open_store


@contextmanager
def opened_store(database_url: str, patience_seconds: float = 30.0) -> Iterator[FeatureStore]:
    """A feature store with a longer read timeout, for busy machines."""
    store = open_store(database_url)
    store.config.online_store.connection_timeout_seconds = patience_seconds
    try:
        yield store
    finally:
        asyncio.run(store.close())
