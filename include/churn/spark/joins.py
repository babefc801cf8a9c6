"""Point-in-time joins by Feast and Spark: the rows of a training set, and the features of all customers of an AS_OF."""

from collections.abc import Mapping
from datetime import date
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa
from feast import FeatureService, FeatureStore

from churn.postgres.database import Connection, statement
from churn.spark.views import instant_of, needed, register

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


class InSample(Protocol):
    """A sample of customers, see churn.training.sample."""

    @property
    def salt(self) -> str:
        """The salt of the positions."""

    @property
    def bounds(self) -> list[bytes]:
        """The positions at which the sample alternately begins and ends."""


def labelled_rows(
    connection: Connection,
    store: FeatureStore,
    service: FeatureService,
    labelled: date,
    as_of: date,
    *,
    sample: InSample,
) -> pa.Table:
    """Return the rows of one labelled date, in any order: user_id, churn_label, event_timestamp and the features.

    Args:
        store: opened by open_offline_store().
        sample: which customers.

    Raises:
        ParquetMissing: a snapshot that is needed is not there as Parquet.
    """
    values = {"labelled": labelled, "as_of": as_of, "event_timestamp": instant_of(labelled)}
    values |= {"salt": sample.salt, "bounds": [each.hex() for each in sample.bounds]}
    return _joined(connection, store, service, (labelled, as_of), name="spark/entities", values=values).toArrow()


def customers(connection: Connection, store: FeatureStore, service: FeatureService, as_of: date) -> "DataFrame":
    """Return every customer of `as_of`: user_id, event_timestamp, fee and the features. Nothing is computed yet.

    Raises:
        ParquetMissing: the snapshot is not there as Parquet.
    """
    instant = {"event_timestamp": instant_of(as_of)}
    return _joined(connection, store, service, (as_of, as_of), name="spark/customers", values=instant)


def _joined(
    connection: Connection,
    store: FeatureStore,
    service: FeatureService,
    dates: tuple[date, date],
    *,
    name: str,
    values: Mapping[str, Any],
) -> "DataFrame":
    """Return the entities that a statement gives, joined with the features of the first of `dates`."""
    from feast.infra.offline_stores.contrib.spark_offline_store.spark import (  # noqa: PLC0415 — needs pyspark
        SparkRetrievalJob,
    )

    spark = register(store.config.offline_store.location, dates[0], needed(connection, *dates))
    entities = spark.sql(statement(name), args={**values})
    job = store.get_historical_features(entity_df=entities, features=service)
    assert isinstance(job, SparkRetrievalJob)
    return job.to_spark_df()
