"""parquet: write the snapshots of an AS_OF as Parquet, by Spark, from the accepted drop in the archive.

Executors read each file of the drop by the code that loads it into raw.*, so values are those of Postgres to the bit.
Postgres is the record: the rows of each table must be as many as there.
"""

import logging
import secrets
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from typing import TYPE_CHECKING

import pyarrow as pa

from churn.code import step_digest
from churn.drops.accepted import AcceptedDrop, AcceptedFile
from churn.drops.contract import FILES, File
from churn.drops.loading import raw_rows
from churn.drops.snapshots import DELIVERED_TABLES, FEATURE_TABLES
from churn.drops.storage import Location, Storage, storage_at
from churn.outcome import DONE, UNCHANGED, Outcome
from churn.postgres.database import Connection, connect, execute, lock, lock_session, one, statement
from churn.postgres.personal_data import writing_personal_data
from churn.spark.manifests import (
    Manifest,
    Table,
    delete_other_builds,
    folder_of,
    is_whole,
    parts_in,
    publish,
    read_manifest,
)
from churn.spark.schemas import raw_schema
from churn.spark.session import session_for, url_of
from churn.spark.views import instant_of, read_parts

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

log = logging.getLogger(__name__)

PARQUET_LOCK = "parquet"

TABLES = (*FEATURE_TABLES, *DELIVERED_TABLES)


class SnapshotMissing(RuntimeError):
    """There is no snapshot of the AS_OF in Postgres."""


class SnapshotDiffers(RuntimeError):
    """The snapshot in Postgres has other rows, or changed meanwhile; nothing was published."""


def write_parquet(as_of: date, database_url: str, archive: Location, location: Location) -> Outcome:
    """Write the snapshots of `as_of` as a build of Parquet files, and publish it in place of the one before.

    UNCHANGED if it was written from the same drop by the same code, and its files are there.

    Args:
        location: SNAPSHOTS_URL.

    Raises:
        SnapshotMissing: there is no snapshot of `as_of` in Postgres.
        SnapshotDiffers: other rows than there, or they changed meanwhile.
        ArchiveError: a file of the drop is missing from the archive, or damaged.
        SparkMissing: pyspark, Java, or Hadoop's jars for `location` are not installed.
    """
    storage = storage_at(location)
    with writing_personal_data(database_url), connect(database_url, autocommit=True) as connection:
        lock_session(connection, PARQUET_LOCK, as_of.isoformat())
        build = execute(connection, "snapshots/current_build", {"as_of": as_of}).fetchone()
        if build is None:
            raise SnapshotMissing(f"there is no snapshot of {as_of}: run the task snapshot of churn_snapshot first")
        digest, _, rows = build
        identity, held = (digest, step_digest(__package__)), read_manifest(storage, as_of)
        # Also where nothing is written: a killed run left its build.
        delete_other_builds(storage, as_of, held.build if held else None)
        if held and (held.drop_digest, held.code_digest) == identity and is_whole(storage, held):
            return Outcome(UNCHANGED, f"the Parquet snapshot of {as_of} is of this drop and this code", held.rows)
        drop = _drop_of(connection, as_of, digest)
        written = _write(drop, archive, storage, location)
        _publish(connection, storage, written, rows)
    return Outcome(DONE, f"{written.rows[FEATURE_TABLES[0]]} customers at {as_of}", written.rows)


def _drop_of(connection: Connection, as_of: date, digest: str) -> AcceptedDrop:
    validated_at, files, rules = one(connection, "parquet/drop", {"as_of": as_of, "digest": digest})
    return AcceptedDrop(
        as_of, validated_at, digest, {name: AcceptedFile(**file) for name, file in files.items()}, rules
    )


def _write(drop: AcceptedDrop, archive: Location, storage: Storage, location: Location) -> Manifest:
    """Write the files of a build that nobody reads yet."""
    spark, build = session_for(location), secrets.token_hex(8)
    for file in FILES:
        _raw(spark, drop, file, archive).createOrReplaceTempView(f"raw_{file.table}")
    instant = {"event_timestamp": instant_of(drop.as_of)}

    def write(table: str) -> Table:
        folder = f"{folder_of(drop.as_of, build)}/{table}"
        rows = spark.sql(statement(f"spark/{table}"), args=instant if table in FEATURE_TABLES else None)
        rows.write.mode("overwrite").parquet(url_of(location, folder), compression="zstd")
        parts = parts_in(storage, folder)
        count = read_parts(spark, location, table, parts).count()
        log.info("%s of %s: %d rows in %d files", table, drop.as_of, count, len(parts))
        return Table(count, parts)

    # Together, because a file of the drop is read by one core.
    with ThreadPoolExecutor(len(TABLES)) as pool:
        tables = dict(zip(TABLES, pool.map(write, TABLES), strict=True))
    files = {name: file.sha256 for name, file in drop.files.items()}
    return Manifest(drop.as_of, build, drop.digest, step_digest(__package__), files, tables)


def _raw(spark: "SparkSession", drop: AcceptedDrop, file: File, archive: Location) -> "DataFrame":
    """Return the rows of a file of the drop as they are in raw.*; none if the drop lacks the file."""
    if file.name not in drop.files:
        return spark.createDataFrame([], raw_schema(file))

    name = file.name
    # One task reads the file, which is compressed as a whole.
    return spark.range(1, numPartitions=1).mapInArrow(
        lambda begin: read_file(begin, drop, name, archive), raw_schema(file)
    )


def read_file(
    begin: Iterator[pa.RecordBatch], drop: AcceptedDrop, name: str, archive: Location
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a file of the drop as they are in raw.*. Runs on an executor, which finds the file by its name:
    a column that was sent is no longer ROW_DATE itself.

    Args:
        begin: what starts the task; its rows say nothing.
    """
    # Spark ends a worker that leaves its input unread, and the next task imports everything again.
    deque(begin, maxlen=0)
    file = next(each for each in FILES if each.name == name)
    for rows in raw_rows(drop, file, archive):
        yield from rows.combine_chunks().to_batches()


def _publish(connection: Connection, storage: Storage, written: Manifest, rows: Mapping[str, int]) -> None:
    """Put the manifest into place, if the build has the rows of Postgres and these are still of this drop."""
    as_of = written.as_of
    try:
        if written.rows != rows:
            raise SnapshotDiffers(
                f"the drop of {as_of} in the archive gives {written.rows} rows as Parquet, and Postgres has {rows}: "
                "clear the task snapshot, and then this one"
            )
        with connection.transaction():
            # A withdrawal, or the next revision of the drop, waits until the manifest is there, or came before.
            lock(connection, "as_of", as_of.isoformat())
            build = execute(connection, "snapshots/current_build", {"as_of": as_of}).fetchone()
            if build is None or build[0] != written.drop_digest:
                raise SnapshotDiffers(f"the snapshot of {as_of} changed while it was written as Parquet: run it again")
            publish(storage, written)
    except SnapshotDiffers:
        storage.delete_folder(folder_of(as_of, written.build))
        raise
