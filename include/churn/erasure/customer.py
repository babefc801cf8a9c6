"""The right of access: everything that is held of one customer, by place.

`python -m churn.erasure.customer <id.txt` prints it on a stack without `make customer`, as in containers. The id is
read from standard input, because arguments are in the list of processes.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from psycopg import sql

from churn.drops.archive import archived_in, decompress, sha256_of
from churn.drops.landing import list_drops, open_plain
from churn.drops.storage import Location, storage_at
from churn.drops.tombstones import KEY, are_among, find_lines, hash_of, read_key
from churn.erasure.ids import ids_in
from churn.erasure.models import held_in_models
from churn.erasure.rows import user_tables
from churn.postgres.database import Connection, compose, connect, execute
from churn.postgres.database_url import ask_for_url
from churn.settings import erasure_directory, read_settings, redis_url


def held(user: str, database_url: str, landing: Path, archive: Location) -> dict[str, Any]:
    """Return what the system holds of a customer, as JSON: rows of each table, lines of drops and of archived files,
    the online features, the model versions that learned from or were judged on them, and their erasure.

    The files of the lists have the rows of scores.customers, and are not repeated.
    """
    with connect(database_url) as connection:
        found = {
            "user_id": user,
            "erased": _erased(connection, user),
            "database": _in_tables(connection, user),
            "archive": _in_archive(connection, user, archive),
        }
    return found | {
        "landing directory": _in_landing(user, landing),
        **({"Redis": _in_redis(user)} if redis_url() else {}),
        "models": held_in_models(user),
    }


def as_json(found: Mapping[str, Any]) -> str:
    """Return what is held of a customer as indented JSON."""
    return json.dumps(found, indent=2, ensure_ascii=False, default=str)


def _erased(connection: Connection, user: str) -> Mapping[str, Any] | None:
    """Return when and why the customer was erased, None if they were not."""
    if not execute(connection, "erasure/any_tombstone").fetchone():
        return None
    if (key := read_key(erasure_directory())) is None:
        return {"unknown": f"the file {KEY} is not in CHURN_ERASURE_DIR"}
    row = execute(connection, "erasure/tombstone", {"hash": hash_of(user, key)}).fetchone()
    if row is None:
        return None
    return {"asked_at": row[0].isoformat(), "ended_at": row[1] and row[1].isoformat(), "why": row[2]}


def _in_tables(connection: Connection, user: str) -> dict[str, list[Any]]:
    found = {}
    for schema, table in user_tables(connection):
        # Not execute(), which would log the id.
        query = compose("erasure/rows_of", table=sql.Identifier(schema, table))
        if rows := [row for (row,) in connection.execute(query, {"user": user})]:
            found[f"{schema}.{table}"] = rows
    return found


def _in_archive(connection: Connection, user: str, archive: Location) -> list[dict[str, Any]]:
    found, storage = [], storage_at(archive)
    of_drops = execute(connection, "erasure/revisions").fetchall()
    for name in archived_in(storage):
        sha256 = sha256_of(name)
        with storage.fetched(name) as path:
            lines = find_lines(partial(decompress, path), are_among(frozenset({user}))).lines
            if lines:
                with decompress(path) as stream:
                    text = _texts(stream.read(), lines)
                drops = [
                    f"{as_of} revision {revision}, {file}"
                    for as_of, revision, _, files in of_drops
                    for file, about in files.items()
                    if about["sha256"] == sha256
                ]
                found.append({"file": name, "drops": drops, **text})
    return found


def _in_landing(user: str, landing: Path) -> list[dict[str, Any]]:
    found = []
    for drop in list_drops(landing):
        for path in drop.files():
            lines = find_lines(partial(open_plain, path), are_among(frozenset({user}))).lines
            if lines:
                found.append({"file": f"{drop.as_of}/{path.name}", **_texts(path.read_bytes(), lines)})
    return found


def _texts(content: bytes, lines: Sequence[int]) -> dict[str, Any]:
    """Return the header and these lines of a CSV file."""
    texts = content.decode("utf-8-sig", "replace").split("\n")
    return {"header": texts[0].rstrip("\r"), "lines": [texts[number - 1].rstrip("\r") for number in lines]}


def _in_redis(user: str) -> dict[str, Any]:
    from churn.features.redis.builds import held_in_redis  # noqa: PLC0415 — needs the library redis

    return held_in_redis(str(redis_url()), user)


def main() -> None:
    url, settings = ask_for_url("python -m churn.erasure.customer", __doc__), read_settings()
    users = [each for line in ids_in(sys.stdin.buffer.read()) if (each := line.rstrip("\r"))]
    if len(users) != 1:
        sys.exit("give one user_id, on standard input")
    sys.stdout.write(f"{as_json(held(users[0], url, settings.landing, settings.archive))}\n")


if __name__ == "__main__":
    main()
