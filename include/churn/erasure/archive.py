"""Erasure from the archive: files with rows of the customers are written again under the hash of what is left.

The records of the drops follow in one transaction: the revisions in raw.revisions, and what names their digests. So the
rewritten drops count as loaded, and a rerun of their AS_OFs is UNCHANGED. Lineage keeps the old hash;
erasure.rewrites leads from it to the new one.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from churn.drops.archive import archived_in, decompress, name_of, rewrite, sha256_of
from churn.drops.landing import digest_of
from churn.drops.storage import Location, Storage, storage_at
from churn.drops.tombstones import are_among, find_lines
from churn.erasure.alone import alone
from churn.erasure.request import record_place
from churn.outcome import DONE, UNCHANGED, Outcome
from churn.postgres.database import Connection, connect, execute

PLACE = "archive"


def erase_archive(request: str, users: frozenset[str], database_url: str, archive: Location) -> Outcome:
    """Write every archived file that has rows of `users` again without them, and delete it.

    Files of drops that were validated and not loaded yet are among them; such a drop must be validated again.
    """
    storage = storage_at(archive)
    files = archived_in(storage)
    with alone(database_url), storage.incoming() as directory:
        with connect(database_url) as connection:
            # A call that was killed before it deleted them.
            left = {name_of(old) for old, *_ in execute(connection, "erasure/rewrites")}.intersection(files)
        storage.delete(left)
        found = [each for name in files if name not in left and (each := _rewrite(storage, name, users, directory))]
        with connect(database_url) as connection:
            for old, new, rows, size in found:
                execute(
                    connection,
                    "erasure/record_rewrite",
                    {"old": old, "new": new, "rows": rows, "bytes": size, "request": request},
                )
            revisions = _renew_revisions(connection)
            rows = sum(each[2] for each in found)
            record_place(connection, request, PLACE, looked_at=len(files), rewritten=len(found), rows=rows)
        storage.delete(name_of(old) for old, *_ in found)
    figures = {"looked_at": len(files), "rewritten": len(found), "rows": rows, "revisions": revisions}
    if not found and not revisions:
        return Outcome(UNCHANGED, f"none of {len(files)} archived files has rows of them", figures)
    return Outcome(DONE, f"{len(found)} of {len(files)} archived files are written again, {rows} rows fewer", figures)


def _rewrite(storage: Storage, name: str, users: frozenset[str], directory: Path) -> tuple[str, str, int, int] | None:
    """Publish what is left of a file; return the old and the new sha256, the removed rows and the new size. None if
    the file has no row of `users`, or is no table (an archived _ACCEPT)."""
    with storage.fetched(name) as path:
        lines = find_lines(lambda: decompress(path), are_among(users)).lines
        if not lines:
            return None
        shorter = directory / "shorter"
        reader = rewrite(path, shorter, lines)
    storage.put({name_of(reader.sha256): shorter})
    return sha256_of(name), reader.sha256, len(lines), reader.bytes


def _renew_revisions(connection: Connection) -> int:
    """Name the new files in every revision that has an old one, and pass the new digests on; return their number."""
    renewed = list(_renewed(connection))
    for values in renewed:
        execute(connection, "erasure/renew_revision", values)
        # In this order: the digest of a list is over that of its snapshot.
        for statement in ("renew_lists", "renew_snapshot", "renew_builds", "renew_judgements", "renew_holds"):
            execute(connection, f"erasure/{statement}", values)
    return len(renewed)


def _renewed(connection: Connection) -> Iterator[Mapping[str, Any]]:
    rewrites = {old: (new, rows, size) for old, new, rows, size in execute(connection, "erasure/rewrites")}
    for as_of, revision, digest, files in execute(connection, "erasure/revisions").fetchall():
        renewed, removed = {}, 0
        for name, file in files.items():
            renewed[name] = dict(file)
            # A file may have been written again by several requests.
            while renewed[name]["sha256"] in rewrites:
                new, rows, size = rewrites[renewed[name]["sha256"]]
                renewed[name] |= {"sha256": new, "rows": renewed[name]["rows"] - rows, "bytes": size}
                removed += rows
        if removed:
            yield {
                "as_of": as_of,
                "revision": revision,
                "old": digest,
                "new": digest_of({name: file["sha256"] for name, file in renewed.items()}),
                "files": json.dumps(renewed),
                "rows": removed,
            }
