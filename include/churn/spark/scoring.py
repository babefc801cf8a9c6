"""Scores of every customer by Spark: executors score the joined features, and write them as Parquet.

The files are on their way only: they lie under SNAPSHOTS_URL/scored/, which every executor reaches, until the driver
has passed them on. A killed run leaves them to the next one, and an erasure deletes them.
"""

from collections.abc import Callable, Generator, Iterator
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from feast import FeatureService, FeatureStore

from churn.drops.storage import storage_at
from churn.postgres.database import Connection
from churn.spark.joins import customers
from churn.spark.manifests import SCORED, folder_of, parts_in
from churn.spark.session import url_of

PROBABILITY = "churn_probability"

ProbabilitiesOf = Callable[[pa.RecordBatch], np.ndarray]
"""Gives the probability of churn of each row of a batch; a row's does not depend on the others. It is sent to
executors."""


def scored_batches(
    connection: Connection,
    store: FeatureStore,
    service: FeatureService,
    as_of: date,
    *,
    probabilities_of: ProbabilitiesOf,
) -> Generator[pa.RecordBatch, None, None]:
    """Yield every customer of `as_of` with their churn_probability, in any order.

    The caller holds the lock of the list, and closes the generator, which deletes the files.

    Args:
        store: opened by open_offline_store().

    Raises:
        ParquetMissing: the snapshot is not there as Parquet.
    """
    location = store.config.offline_store.location
    storage, folder = storage_at(location), f"{SCORED}/{folder_of(as_of)}"
    try:
        rows = customers(connection, store, service, as_of)
        schema = ", ".join(f"{name} {dtype}" for name, dtype in [*rows.dtypes, (PROBABILITY, "double")])
        scored = rows.mapInArrow(lambda batches: with_probabilities(batches, probabilities_of), schema)
        scored.write.mode("overwrite").parquet(url_of(location, folder), compression="zstd")
        for name in parts_in(storage, folder):
            with storage.fetched(name) as path, pyarrow.parquet.ParquetFile(path) as parquet:
                yield from parquet.iter_batches()
    finally:
        storage.delete_folder(folder)


def with_probabilities(
    batches: Iterator[pa.RecordBatch], probabilities_of: ProbabilitiesOf
) -> Iterator[pa.RecordBatch]:
    """Yield the batches with their probabilities. Runs on an executor."""
    for batch in batches:
        yield batch.append_column(PROBABILITY, pa.array(probabilities_of(batch), pa.float64()))
