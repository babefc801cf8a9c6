"""Erasure from the landing directory: the files of drops, and their manifests, without the rows of the customers.

All files of a drop change together: the new ones are written into a directory in it, which is renamed when they are
complete. A call that was interrupted after that is finished by the next one.
"""

import json
import logging
import shutil
from pathlib import Path

from churn.drops.landing import MANIFEST, Drop, ManifestError, list_drops, open_plain, read_manifest, sha256_of
from churn.drops.tombstones import AreErased, copy_without, lines_of
from churn.erasure.archive import are_among
from churn.erasure.request import ErasureRefused, record_place
from churn.outcome import DONE, UNCHANGED, Outcome
from churn.postgres.database import connect
from churn.postgres.personal_data import erasing_personal_data

log = logging.getLogger(__name__)

PLACE = "landing directory"
BEGUN, COMPLETE = ".erasing", ".erased"


def erase_landing(request: str, users: frozenset[str], database_url: str, landing: Path) -> Outcome:
    """Remove the rows of `users` from every drop in the landing directory, loaded or not.

    A drop that cannot be written is left, and the others are done.

    Raises:
        ErasureRefused: drops with rows of them cannot be written; the message names them.
    """
    looked_at = rewritten = rows = 0
    left: list[str] = []
    with erasing_personal_data(database_url), connect(database_url, autocommit=True) as connection:
        for drop in list_drops(landing):
            looked_at += len(drop.files())
            try:
                files, lines = _rewrite(drop, are_among(users))
            except OSError as error:
                log.warning("%s: %s", drop.path, error)
                left.append(drop.as_of.isoformat())
                continue
            rewritten, rows = rewritten + files, rows + lines
        record_place(connection, request, PLACE, looked_at=looked_at, rewritten=rewritten, rows=rows)
    if left:
        raise ErasureRefused(
            f"the drops of {', '.join(left)} in {landing} cannot be read or written here: remove them, or have the "
            "sender write them without these customers (the archive has what was loaded); then clear the task"
        )
    figures = {"looked_at": looked_at, "rewritten": rewritten, "rows": rows}
    if not rewritten:
        return Outcome(UNCHANGED, f"none of {looked_at} files in the landing directory has rows of them", figures)
    return Outcome(DONE, f"{rewritten} of {looked_at} files are written again, {rows} rows fewer", figures)


def _rewrite(drop: Drop, are_erased: AreErased) -> tuple[int, int]:
    """Return the files that were written again, and the rows that were removed."""
    begun, complete = drop.path / BEGUN, drop.path / COMPLETE
    shutil.rmtree(begun, ignore_errors=True)
    if complete.is_dir():
        return _put_into_place(complete, drop.path), 0
    found = {}
    for path in drop.files():
        with open_plain(path) as stream:
            if lines := lines_of(stream, are_erased):
                found[path.name] = lines
    if not found:
        return 0, 0
    begun.mkdir()
    for name, lines in found.items():
        with open_plain(drop.path / name) as source, (begun / name).open("xb") as target:
            copy_without(source, target, lines)
        shutil.copymode(drop.path / name, begun / name)
    _write_manifest(drop, begun, {name: len(lines) for name, lines in found.items()})
    begun.rename(complete)
    return _put_into_place(complete, drop.path), sum(map(len, found.values()))


def _write_manifest(drop: Drop, begun: Path, removed: dict[str, int]) -> None:
    """Write the drop's manifest for the new files, if it has one."""
    try:
        manifest = read_manifest(drop)
    except ManifestError:
        # validate rejects the drop, with the reason.
        return
    if manifest is None:
        return
    files = {name: dict(entry) for name, entry in manifest.files.items()}
    for name, rows in removed.items():
        if name in files:
            files[name]["sha256"] = sha256_of(begun / name)
            if "rows" in files[name]:
                files[name]["rows"] -= rows
    (begun / MANIFEST).write_text(json.dumps(files, indent=2) + "\n", encoding="utf-8")


def _put_into_place(complete: Path, drop: Path) -> int:
    """Move the files into the drop and remove their directory; return their number."""
    moved = 0
    for path in sorted(complete.iterdir()):
        path.replace(drop / path.name)
        moved += path.name != MANIFEST
    complete.rmdir()
    return moved
