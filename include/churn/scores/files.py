"""The files of a revision, under SCORES_URL: as_of=YYYY-MM-DD/revision=N/{scores.parquet, top.csv, manifest.json}.

They are written from the revision's rows, and published with the manifest last: a reader who waits for it reads whole
files. Writing them again gives the same bytes.
"""

import json
from collections.abc import Iterator
from hashlib import file_digest
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet
from adbc_driver_postgresql import dbapi
from psycopg import sql

from churn.drops.storage import Storage
from churn.postgres.database import compose
from churn.scores import contact_list
from churn.scores.arms import TREAT
from churn.scores.run import Run

SCORES, TOP, MANIFEST = "scores.parquet", "top.csv", "manifest.json"

SCHEMA = pa.schema(
    [
        ("as_of", pa.date32()),
        ("revision", pa.int32()),
        ("user_id", pa.string()),
        ("churn_probability", pa.float64()),
        ("prediction", pa.int8()),
        ("rank", pa.int32()),
        ("decile", pa.int8()),
        ("monthly_fee", pa.float64()),
        ("revenue_at_risk", pa.float64()),
        ("arm", pa.string()),
        ("reasons", pa.string()),
        ("model_version", pa.int32()),
    ]
)
"""The columns of scores.parquet: those of scores.customers, `reasons` as JSON."""


def write_files(database_url: str, partition: sql.Identifier, directory: Path) -> str:
    """Write scores.parquet and top.csv of a revision into `directory`; return the sha256 of scores.parquet.

    Args:
        partition: the table of its rows, committed.
    """
    with (
        pyarrow.parquet.ParquetWriter(directory / SCORES, SCHEMA, compression="zstd") as parquet,
        (directory / TOP).open("wb") as top,
    ):
        top.write(contact_list.header())
        for batch in _read(database_url, partition):
            parquet.write_table(batch)
            top.write(contact_list.lines(_top(batch)))
    with (directory / SCORES).open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def publish(storage: Storage, run: Run, directory: Path) -> None:
    """Put the files of write_files() and their manifest into place, the manifest last."""
    manifest = directory / MANIFEST
    manifest.write_text(json.dumps(_manifest(run, directory), indent=2) + "\n", encoding="utf-8")
    where = folder_of(run)
    storage.put({f"{where}/{name}": directory / name for name in (SCORES, TOP, MANIFEST)})


def why_unpublished(storage: Storage, run: Run) -> str | None:
    """Return what is wrong with the files of a run that was not withdrawn, None if they are published.

    Contents are not read: sizes are compared with the manifest, and its sha256 with that of the run.
    """
    found = read_manifest(storage, run)
    if found is None:
        return f"{MANIFEST} is missing"
    if found["files"][SCORES]["sha256"] != run.sha256:
        return f"{MANIFEST} describes other files"
    if found["withdrawn"]:
        return f"{MANIFEST} says that it was withdrawn"
    sizes, where = storage.sizes(folder_of(run)), folder_of(run)
    lost = [name for name, said in found["files"].items() if sizes.get(f"{where}/{name}") != said["bytes"]]
    return f"{' and '.join(lost)}: missing or truncated" if lost else None


def mark_withdrawn(storage: Storage, run: Run) -> bool:
    """Rewrite the manifest of a run to say that it was withdrawn; return False if it says so, or is not there."""
    found = read_manifest(storage, run)
    if found is None or found["withdrawn"]:
        return False
    with storage.incoming() as directory:
        manifest = directory / MANIFEST
        manifest.write_text(json.dumps({**found, "withdrawn": True}, indent=2) + "\n", encoding="utf-8")
        storage.put({f"{folder_of(run)}/{MANIFEST}": manifest})
    return True


def read_manifest(storage: Storage, run: Run) -> dict[str, Any] | None:
    """Return the manifest of a run, None where it is not published."""
    try:
        with storage.fetched(f"{folder_of(run)}/{MANIFEST}") as file:
            found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
            return found
    except FileNotFoundError:
        return None


def folder_of(run: Run) -> str:
    """Return the folder of the run's files, below SCORES_URL."""
    return f"as_of={run.as_of}/revision={run.revision}"


def _manifest(run: Run, directory: Path) -> dict[str, Any]:
    return {
        "as_of": run.as_of.isoformat(),
        "revision": run.revision,
        "model_version": run.model_version,
        "model_as_of": run.model_as_of.isoformat(),
        "rows": run.rows,
        "scored_at": run.scored_at.isoformat(),
        "withdrawn": False,
        "files": {name: _described(directory / name) for name in (SCORES, TOP)},
    }


def _described(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {"sha256": file_digest(file, "sha256").hexdigest(), "bytes": path.stat().st_size}


def _read(database_url: str, partition: sql.Identifier) -> Iterator[pa.Table]:
    """Yield the rows by rank, in batches of some megabytes, without a Python object per value."""
    with dbapi.connect(database_url) as connection, connection.cursor() as cursor:
        cursor.execute(compose("scores/export", partition=partition).as_string(None))
        with cursor.fetch_record_batch() as reader:
            for batch in reader:
                yield pa.Table.from_batches([batch]).cast(SCHEMA)


def _top(batch: pa.Table) -> Iterator[dict[str, Any]]:
    chosen = batch.filter(pc.and_(pc.equal(batch["decile"], 1), pc.equal(batch["arm"], TREAT)))
    for row in chosen.to_pylist():
        yield row | {"reasons": json.loads(row["reasons"] or "[]")}
