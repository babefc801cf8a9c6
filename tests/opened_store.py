"""A feature store that gives its connections back."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from feast import FeatureStore

from churn.features import open_store


@contextmanager
def opened_store(database_url: str) -> Iterator[FeatureStore]:
    store = open_store(database_url)
    try:
        yield store
    finally:
        asyncio.run(store.close())
