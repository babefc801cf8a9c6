"""The files of a revision, under SCORES_URL: as_of=YYYY-MM-DD/revision=N/{scores.parquet, top.csv, manifest.json}.

They are published with the manifest last: a reader who waits for it reads whole files. Writing them again, from the
rows in the table and by the same libraries, gives the same bytes.
"""

import json
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from dataclasses import replace
from hashlib import file_digest
from hashlib import sha256 as sha256_of
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet
from adbc_driver_postgresql import dbapi
from psycopg import sql

from churn.drops.storage import Storage
from churn.postgres.database import Connection, compose, execute
from churn.scores import contact_list
from churn.scores.arms import TREAT
from churn.scores.run import Run

SCORES, TOP, MANIFEST = "scores.parquet", "top.csv", "manifest.json"

ROWS_AT_ONCE = 65_536
"""Rows of a row group of scores.parquet. Another number changes the bytes of files that are written again."""

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


def write_and_pass_on(rows: Iterable[pa.Table], directory: Path) -> Generator[pa.Table, None, None]:
    """Write scores.parquet and top.csv into `directory`, and yield the rows; the files are complete after the last one.

    Args:
        rows: the rows of a revision by rank, in tables of ROWS_AT_ONCE rows.
    """
    with (
        pyarrow.parquet.ParquetWriter(directory / SCORES, SCHEMA, compression="zstd") as parquet,
        (directory / TOP).open("wb") as top,
    ):
        top.write(contact_list.header())
        for table in rows:
            parquet.write_table(table.combine_chunks())
            top.write(contact_list.lines(_top(table)))
            yield table


def read_rows(database_url: str, run: Run) -> Iterator[pa.Table]:
    """Yield the rows of a revision by rank, in tables of ROWS_AT_ONCE rows, fewer where customers were erased."""
    with dbapi.connect(database_url) as connection, connection.cursor() as cursor:
        cursor.execute(compose("scores/last_rank", partition=run.partition).as_string(None))
        found = cursor.fetchone()
        for begin in range(1, (found[0] if found else 0) + 1, ROWS_AT_ONCE):
            first, last = sql.Literal(begin), sql.Literal(begin + ROWS_AT_ONCE - 1)
            cursor.execute(compose("scores/export", table=run.partition, first=first, last=last).as_string(None))
            table = cursor.fetch_arrow_table()
            texts = [text and _as_written(text) for text in table["reasons"].to_pylist()]
            place = table.column_names.index("reasons")
            yield table.set_column(place, "reasons", pa.array(texts, pa.string())).cast(SCHEMA)


def publish_again(connection: Connection, storage: Storage, run: Run, directory: Path, database_url: str) -> bool:
    """Write the files of a run again from its rows, record their sha256 if it is another one, and publish them; return
    whether it is."""
    deque(write_and_pass_on(read_rows(database_url, run), directory), maxlen=0)
    sha256 = hash_of(directory)
    is_other = sha256 != run.sha256
    if is_other:
        execute(connection, "scores/record_file", {"as_of": run.as_of, "revision": run.revision, "sha256": sha256})
    publish(storage, replace(run, sha256=sha256), directory)
    return is_other


def hash_of(directory: Path) -> str:
    """Return the sha256 of scores.parquet in `directory`."""
    with (directory / SCORES).open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def publish(storage: Storage, run: Run, directory: Path) -> None:
    """Put the files of write_and_pass_on() and their manifest into place, the manifest last."""
    manifest = directory / MANIFEST
    manifest.write_text(json.dumps(_manifest(run, directory), indent=2) + "\n", encoding="utf-8")
    where = folder_of(run)
    storage.put({f"{where}/{name}": directory / name for name in (SCORES, TOP, MANIFEST)})


def why_unpublished(storage: Storage, run: Run) -> str | None:
    """Return what is wrong with the files of a run that was not withdrawn, None if they are published.

    Contents are not read: sizes are compared with the manifest, and its sha256 with that of the run.
    """
    try:
        found = read_manifest(storage, run)
        if found is None:
            return f"{MANIFEST} is missing"
        if found["files"][SCORES]["sha256"] != run.sha256:
            return f"{MANIFEST} describes other files"
        if found["withdrawn"]:
            return f"{MANIFEST} says that it was withdrawn"
        wanted = {name: found["files"][name]["bytes"] for name in (SCORES, TOP)}
    except (ValueError, KeyError, TypeError):
        return f"{MANIFEST} is damaged"
    sizes, where = storage.sizes(folder_of(run)), folder_of(run)
    lost = [name for name, size in wanted.items() if sizes.get(f"{where}/{name}") != size]
    return f"{' and '.join(lost)}: missing or truncated" if lost else None


def mark_withdrawn(storage: Storage, run: Run) -> bool:
    """Rewrite the manifest of a run to say that it was withdrawn; return False if it says so, or is not there."""
    try:
        found = read_manifest(storage, run)
    except ValueError:
        # Damaged: what is left to say is that the list was withdrawn.
        found = {}
    if found is None or found.get("withdrawn"):
        return False
    with storage.incoming() as directory:
        manifest = directory / MANIFEST
        manifest.write_text(json.dumps({**found, "withdrawn": True}, indent=2) + "\n", encoding="utf-8")
        storage.put({f"{folder_of(run)}/{MANIFEST}": manifest})
    return True


def read_manifest(storage: Storage, run: Run) -> dict[str, Any] | None:
    """Return the manifest of a run, None where it is not published.

    Raises:
        ValueError: it is not a JSON object.
    """
    try:
        with storage.fetched(f"{folder_of(run)}/{MANIFEST}") as file:
            found = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    if not isinstance(found, dict):
        raise ValueError(f"{MANIFEST} is not a JSON object")
    return found


def folder_of(run: Run) -> str:
    """Return the folder of the run's files, below SCORES_URL."""
    return f"as_of={run.as_of}/revision={run.revision}"


def _manifest(run: Run, directory: Path) -> dict[str, Any]:
    top = (directory / TOP).read_bytes()
    return {
        "as_of": run.as_of.isoformat(),
        "revision": run.revision,
        "model_version": run.model_version,
        "model_as_of": run.model_as_of.isoformat(),
        "rows": run.rows,
        "scored_at": run.scored_at.isoformat(),
        "withdrawn": False,
        "files": {
            SCORES: {"sha256": run.sha256, "bytes": (directory / SCORES).stat().st_size},
            TOP: {"sha256": sha256_of(top).hexdigest(), "bytes": len(top)},
        },
    }


def _as_written(reasons: str) -> str:
    """Return the JSON as ranked_rows() writes it: jsonb has its own order of keys, and its own form of numbers."""
    return json.dumps([{name: each[name] for name in ("feature", "value", "effect")} for each in json.loads(reasons)])


def _top(batch: pa.Table) -> Iterator[dict[str, Any]]:
    chosen = batch.filter(pc.and_(pc.equal(batch["decile"], 1), pc.equal(batch["arm"], TREAT)))
    for row in chosen.to_pylist():
        yield row | {"reasons": json.loads(row["reasons"] or "[]")}
