"""Erasure from the Parquet snapshots: a build with rows of the customers is written again without them.

The manifest then names the drop's files that the archive has since, so the snapshot still counts as that of its drop.
"""

import secrets
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from churn.drops.archive import newest_content
from churn.drops.landing import digest_of
from churn.drops.storage import Location, Storage, storage_at
from churn.erasure.alone import alone
from churn.erasure.request import record_place
from churn.erasure.tables import copy_without, of_users
from churn.outcome import DONE, UNCHANGED, Outcome
from churn.postgres.database import connect, execute, lock_session
from churn.spark.manifests import (
    BUILD,
    SCORED,
    Manifest,
    Table,
    as_ofs,
    delete_other_builds,
    publish,
    read_manifest,
    remove,
)
from churn.spark.parquet_snapshots import PARQUET_LOCK

PLACE = "Parquet snapshots"


def erase_parquet(request: str, users: frozenset[str], database_url: str, location: Location | None) -> Outcome:
    """Write every Parquet snapshot with rows of `users` again without them, after erase_archive(), and delete the files
    that killed runs left.

    Args:
        location: SNAPSHOTS_URL; None: there are none.
    """
    if location is None:
        return Outcome(UNCHANGED, "SNAPSHOTS_URL is not set: there are no Parquet snapshots")
    storage = storage_at(location)
    looked_at = rows = rewritten = 0
    with alone(database_url), storage.incoming() as directory:
        with connect(database_url) as connection:
            newest = newest_content(connection)
        storage.delete_folder(SCORED)
        for as_of in as_ofs(storage):
            with connect(database_url, autocommit=True) as connection:
                # A withdrawal deletes the files of a date meanwhile, or has done so.
                lock_session(connection, PARQUET_LOCK, as_of.isoformat())
                manifest = read_manifest(storage, as_of)
                if manifest is None or execute(connection, "snapshots/current_build", {"as_of": as_of}).rowcount == 0:
                    remove(storage, as_of)
                    continue
                delete_other_builds(storage, as_of, manifest.build)
                looked_at += 1
                renewed = {name: newest(sha256) for name, sha256 in manifest.drop_files.items()}
                found = _rewrite(storage, manifest, renewed, users, directory)
                rows += found or 0
                rewritten += found is not None
        with connect(database_url) as connection:
            record_place(connection, request, PLACE, looked_at=looked_at, rewritten=rewritten, rows=rows)
    figures = {"looked_at": looked_at, "rewritten": rewritten, "rows": rows}
    if not rewritten:
        return Outcome(UNCHANGED, f"none of {looked_at} Parquet snapshots has rows of them", figures)
    return Outcome(DONE, f"{rewritten} of {looked_at} Parquet snapshots are written again, {rows} rows fewer", figures)


def _rewrite(
    storage: Storage, manifest: Manifest, drop_files: Mapping[str, str], users: frozenset[str], directory: Path
) -> int | None:
    """Publish a build without the rows of `users`; return their number, None if there is nothing to change."""
    removed = {
        name: found
        for table in manifest.tables.values()
        for name in table.parts
        if (found := _rows_of(storage, name, users, directory / "part"))
    }
    if not removed and drop_files == manifest.drop_files:
        return None
    build = secrets.token_hex(8)
    tables = {}
    for name, table in manifest.tables.items():
        parts = {}
        for part in table.parts:
            target = part.replace(f"/{BUILD}{manifest.build}/", f"/{BUILD}{build}/")
            parts[target] = _copy(storage, part, target, users, directory / "part")
        tables[name] = Table(table.rows - sum(removed.get(part, 0) for part in table.parts), parts)
    publish(
        storage,
        replace(manifest, build=build, drop_digest=digest_of(drop_files), drop_files=drop_files, tables=tables),
    )
    return sum(removed.values())


def _rows_of(storage: Storage, name: str, users: frozenset[str], scratch: Path) -> int:
    with storage.fetched(name) as path:
        return copy_without(path, scratch, of_users(users))


def _copy(storage: Storage, name: str, target: str, users: frozenset[str], file: Path) -> int:
    """Publish a part, without the rows of `users`, under another name; return its bytes."""
    with storage.fetched(name) as path:
        if not copy_without(path, file, of_users(users)):
            shutil.copyfile(path, file)
    size = file.stat().st_size
    storage.put({target: file})
    return size
