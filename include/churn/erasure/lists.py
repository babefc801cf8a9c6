"""Erasure from the files of the lists: scores.parquet, top.csv and manifest.json of each revision are written again,
from the rows that are left in the table."""

import pyarrow.parquet

from churn.drops.storage import Location, Storage, storage_at
from churn.drops.tombstones import are_among
from churn.erasure.alone import alone
from churn.erasure.request import record_place
from churn.outcome import DONE, UNCHANGED, Outcome
from churn.postgres.database import connect
from churn.scores.files import SCORES, folder_of, mark_withdrawn, publish_again, read_manifest
from churn.scores.run import Run, all_runs

PLACE = "files of the lists"


def erase_lists(request: str, users: frozenset[str], database_url: str, location: Location) -> Outcome:
    """Write the files of every revision whose scores.parquet has rows of `users` again, after erase_rows().

    Args:
        location: where the files are (SCORES_URL).
    """
    storage = storage_at(location)
    looked_at = rows = 0
    rewritten = []
    with (
        alone(database_url),
        storage.incoming() as directory,
        connect(database_url, autocommit=True) as connection,
    ):
        for run in all_runs(connection):
            if run.expired_at:
                continue
            looked_at += 1
            found = _rows_of(storage, run, users)
            if found or _was_interrupted(storage, run):
                publish_again(connection, storage, run, directory, database_url)
                if run.withdrawn_at:
                    mark_withdrawn(storage, run)
                rows += found
                rewritten.append(folder_of(run))
        record_place(connection, request, PLACE, looked_at=looked_at, rewritten=len(rewritten), rows=rows)
    figures = {"looked_at": looked_at, "rewritten": len(rewritten), "rows": rows}
    if not rewritten:
        return Outcome(UNCHANGED, f"the files of none of {looked_at} lists have rows of them", figures)
    return Outcome(DONE, f"the files of {len(rewritten)} of {looked_at} lists are written again", figures)


def _rows_of(storage: Storage, run: Run, users: frozenset[str]) -> int:
    """Return the rows of `users` in scores.parquet, 0 where it is not published."""
    is_erased = are_among(users)
    try:
        with (
            storage.fetched(f"{folder_of(run)}/{SCORES}") as path,
            pyarrow.parquet.ParquetFile(path, memory_map=False) as file,
        ):
            return sum(int(is_erased(each["user_id"]).sum()) for each in file.iter_batches(columns=["user_id"]))
    except FileNotFoundError:
        return 0


def _was_interrupted(storage: Storage, run: Run) -> bool:
    """Tell whether the manifest differs from the row of scores.runs, as after a kill between the files."""
    try:
        manifest = read_manifest(storage, run)
        if manifest is None:
            return False
        said = (manifest["files"][SCORES]["sha256"], manifest["withdrawn"])
        return said != (run.sha256, run.withdrawn_at is not None)
    except (ValueError, KeyError, TypeError):
        return True  # damaged
