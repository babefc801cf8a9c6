"""`python -m churn.erasure.again`: erases from a restored backup whom it brought back, before anything serves.

The ledger in CHURN_ERASURE_DIR has the requests that a restored database lacks. Their customers are found by comparing
every id with the tombstones.
"""

import logging
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pyarrow as pa
from psycopg import sql

from churn.drops.archive import archived_in, decompress
from churn.drops.landing import list_drops, open_plain
from churn.drops.storage import Location, storage_at
from churn.drops.tombstones import Tombstones, ids_of, read_tombstones
from churn.erasure.archive import erase_archive
from churn.erasure.landing import erase_landing
from churn.erasure.ledger import catch_up, forget_ids, keep_ids, missing_requests
from churn.erasure.lists import erase_lists
from churn.erasure.models import erase_models
from churn.erasure.request import ERASED, end
from churn.erasure.rows import erase_rows, user_tables
from churn.erasure.sweep import sweep
from churn.outcome import Outcome
from churn.postgres.database import Connection, compose, connect
from churn.postgres.database_url import ask_for_url
from churn.settings import erasure_directory, read_score_settings, read_settings
from churn.training.superseded import mark_superseded

IDS_AT_ONCE = 100_000


def erase_again(
    database_url: str, directory: Path, landing: Path, archive: Location, scores: Location
) -> list[Outcome]:
    """Erase the customers of the ledger from every place, as the DAG churn_erase does; return the outcome of each.

    The report of all of them is with the newest request. MLflow must be up.
    """
    requests = missing_requests(database_url, directory)
    if not requests:
        return []
    catch_up(database_url, directory)
    with connect(database_url) as connection:
        users = _find_users(connection, read_tombstones(connection), landing, archive)
    # Kept until the end: after a kill, places that come later hold customers whom the first ones do not hold any more.
    users |= keep_ids(users, directory)
    newest = requests[-1]
    done = [
        erase_models(newest, users, database_url),
        erase_landing(newest, users, database_url, landing),
        erase_archive(newest, users, database_url, archive),
        erase_rows(newest, users, database_url),
        erase_lists(newest, users, database_url, scores),
        sweep(newest, users, database_url),
        mark_superseded(database_url),
    ]
    done += [end(request, ERASED, database_url) for request in requests]
    forget_ids(directory)
    return done


def _find_users(connection: Connection, tombstones: Tombstones, landing: Path, archive: Location) -> frozenset[str]:
    """Return the erased customers whose ids are in the database, the archive or the landing directory. Lists and MLflow
    have no others: they are made of archived drops."""
    found: set[str] = set()
    for ids in chain(_ids_of_tables(connection), _ids_of_archive(archive), _ids_of_landing(landing)):
        found.update(ids.filter(pa.array(tombstones.are_erased(ids))).to_pylist())
    return frozenset(found)


def _ids_of_tables(connection: Connection) -> Iterator[pa.Array]:
    for schema, table in user_tables(connection):
        with connection.cursor() as cursor:
            cursor.execute(compose("erasure/users_of", table=sql.Identifier(schema, table)))
            while rows := cursor.fetchmany(IDS_AT_ONCE):
                yield pa.array([user for (user,) in rows], pa.string())


def _ids_of_archive(archive: Location) -> Iterator[pa.Array]:
    storage = storage_at(archive)
    for name in archived_in(storage):
        with storage.fetched(name) as path, decompress(path) as stream:
            yield from ids_of(stream)


def _ids_of_landing(landing: Path) -> Iterator[pa.Array]:
    for path in (path for drop in list_drops(landing) for path in drop.files()):
        with open_plain(path) as stream:
            yield from ids_of(stream)


def main() -> None:
    logging.basicConfig(level=logging.WARNING)
    url, settings = ask_for_url("python -m churn.erasure.again", __doc__), read_settings()
    directory = erasure_directory()
    if directory is None or not missing_requests(url, directory):
        return
    for outcome in erase_again(url, directory, settings.landing, settings.archive, read_score_settings().location):
        sys.stdout.write(f"{outcome.outcome}: {outcome.reason}\n")


if __name__ == "__main__":
    main()
