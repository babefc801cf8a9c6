"""The Parquet snapshots as temporary views of the Spark session, named like the tables in snapshots.*."""

from collections.abc import Iterable, Mapping
from datetime import date
from typing import TYPE_CHECKING

from churn.as_of import event_timestamp
from churn.drops.snapshots import FEATURE_TABLES, LABELS_TABLE
from churn.drops.storage import Location, storage_at
from churn.postgres.database import Connection, execute
from churn.spark.manifests import Manifest, read_manifest
from churn.spark.schemas import snapshot_schema
from churn.spark.session import session_for, url_of

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


class ParquetMissing(RuntimeError):
    """A date that is to be joined has no Parquet snapshot, or one of another drop."""


def instant_of(as_of: date) -> str:
    """Return the instant of a snapshot as a parameter of a statement: as text, since a datetime is bound in the time
    zone of this process."""
    return event_timestamp(as_of).strftime("%Y-%m-%d %H:%M:%S")


def needed(connection: Connection, labelled: date, as_of: date) -> dict[date, str]:
    """Return the drops that a join of a labelled date reads, AS_OF → digest: of its features, and of the labels
    delivered for it up to `as_of`."""
    return dict(execute(connection, "parquet/needed", {"labelled": labelled, "as_of": as_of}).fetchall())


def register(location: Location, day: date, drops: Mapping[date, str]) -> "SparkSession":
    """Make the views of the features of one date and of the labels of these drops, and return the session.

    Args:
        location: SNAPSHOTS_URL.
        drops: AS_OF → digest, as in snapshots.builds; without that of `day` the views of features have no rows.

    Raises:
        ParquetMissing: one of them has no Parquet snapshot.
    """
    manifests = {as_of: _manifest_of(location, as_of, digest) for as_of, digest in drops.items()}
    of_day = [manifests[day]] if day in manifests else []
    spark = session_for(location)
    for table, of in {**dict.fromkeys(FEATURE_TABLES, of_day), LABELS_TABLE: manifests.values()}.items():
        parts = [name for each in of for name in each.tables[table].parts]
        read_parts(spark, location, table, parts).createOrReplaceTempView(table)
    return spark


def read_parts(spark: "SparkSession", location: Location, table: str, parts: Iterable[str]) -> "DataFrame":
    """Return the rows of Parquet files of a table in snapshots.*."""
    if urls := [url_of(location, name) for name in parts]:
        return spark.read.schema(snapshot_schema(table)).parquet(*urls)
    return spark.createDataFrame([], snapshot_schema(table))


def _manifest_of(location: Location, as_of: date, digest: str) -> Manifest:
    manifest = read_manifest(storage_at(location), as_of)
    if manifest is None or manifest.drop_digest != digest:
        state = "is missing" if manifest is None else "is of another drop"
        raise ParquetMissing(f"the Parquet snapshot of {as_of} {state}: run the task parquet of churn_snapshot for it")
    return manifest
