"""Provenance: the sha256 of every trusted model file, in the append-only table registry.trusted_files.

A file is read only if the hash of its local copy is recorded there.
"""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from churn.postgres.database import Connection, connect, execute
from churn.registry.model_version import ModelNotLoadable

FILES = MODEL, DESCRIPTION = "model.skops", "MLmodel"
UPGRADE = "upgrade"
"""`who` of versions that are older than the table."""


class NotTrusted(ModelNotLoadable):
    """A version with a file whose sha256 is not recorded: the pipeline did not train it, or the file changed since."""


def hashes_in(directory: Path) -> dict[str, str]:
    """Return the sha256 of a model's two files in `directory`, by name."""
    return {name: _sha256(directory / name) for name in FILES}


def append(
    connection: Connection, hashes: Mapping[str, str], run_id: str, *, who: str, why: str, version: int | None = None
) -> None:
    """Record the hashes of a model's files, in the caller's transaction."""
    for file, sha256 in hashes.items():
        of = {"file": file, "sha256": sha256, "run_id": run_id, "version": version, "who": who, "why": why}
        execute(connection, "provenance/append", of)


def first_unrecorded(hashes: Mapping[str, str], database_url: str) -> str | None:
    """Return the first file whose hash is not recorded, None if all are recorded."""
    with connect(database_url) as connection:
        for file, sha256 in hashes.items():
            row = execute(connection, "provenance/recorded", {"file": file, "sha256": sha256}).fetchone()
            if row is None or not row[0]:
                return file
    return None


def require_recorded(version: int, directory: Path, database_url: str) -> None:
    """Check that the hashes of the version's files in `directory` are recorded.

    Raises:
        NotTrusted: a hash is not recorded.
    """
    hashes = hashes_in(directory)
    if file := first_unrecorded(hashes, database_url):
        raise NotTrusted(
            f"its {file} has the sha256 {hashes[file][:12]}…, which is not recorded: training did not write this "
            f"file. If you know who made it: make trust VERSION={version} WHY='…'"
        )


def waits_for_upgrade(database_url: str) -> bool:
    """Tell whether churn.registry.trust must still record versions from before the upgrade."""
    with connect(database_url) as connection:
        return upgraded_at(connection) is not None


def upgraded_at(connection: Connection) -> datetime | None:
    """Return when this database was upgraded to record hashes, None if no older version is left to record."""
    row = execute(connection, "provenance/upgraded_at", {"upgrade": UPGRADE}).fetchone()
    return row[0] if row else None


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
