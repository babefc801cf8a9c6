"""A backup of the stack: the three databases, MLflow's artifacts, the archive of drops, and what reads them.

It is taken while the stack runs. Each database is dumped as of one moment, and each part after the parts that refer to
it: Airflow, whose runs stand for drops and decisions; then `churn`, whose decisions name versions and whose revisions
name archived files; then MLflow, whose versions name artifacts; then the files, which are only ever added. What a part
refers to is therefore in the backup, and what is in it too much is what a run that was killed leaves: running it again
finishes it. Only retention removes artifacts; it waits until the backup is done.

Not in it: logs, metrics, drops that are not complete, and those that were loaded before, whose content the archive has.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from churn.drops.landing import open_plain
from churn.drops.watch import find_loaded, find_not_among
from churn.postgres.database import Connection, connect, lock_session, try_lock_session
from churn.postgres.migrate import applied_migrations
from churn.retention import RETENTION_LOCK
from embedded.commands.chain import Say
from embedded.environment import environment
from embedded.settings import Settings
from embedded.stack import postgres, postgres_tools

FORMAT = 1
MANIFEST = "manifest.json"
SECRETS = "secrets.json"
ORDER = ("airflow", "churn", "mlflow")
"""The databases, each before those that it refers to."""

PACKAGES = ("apache-airflow", "mlflow", "feast")
"""Whose tables the databases hold: an older version of them cannot read what a newer one wrote."""


class BackupError(RuntimeError):
    """A backup that cannot be made, or is none; the message says why."""


@dataclass(frozen=True)
class Manifest:
    """What a backup says of itself.

    Attributes:
        format: of the backup itself.
        postgres: major version of the server.
        packages: {name: version} of PACKAGES.
        migrations: {name: sha256} of those applied to `churn`.
        files: {path in the backup: sha256}.
    """

    format: int
    made_at: str
    postgres: int
    packages: Mapping[str, str]
    migrations: Mapping[str, str]
    files: Mapping[str, str]


def backup(settings: Settings, to: Path, say: Say) -> None:
    """Back up the stack into the directory `to`, which appears when everything is in it.

    It is for its owner's eyes alone: the secrets are in it, without which Airflow cannot read the passwords of its
    connections.

    Raises:
        BackupError: `to` is there already, the stack is down, or the disk is full.
        PostgresError: a database cannot be dumped.
    """
    to = Path(os.path.abspath(to.expanduser()))
    if to.exists():
        raise BackupError(f"{to} is there already: give the backup a directory of its own")
    if not postgres.answers(settings):
        raise BackupError(f"Postgres does not answer: make up starts the stack (state in {settings.home})")
    with _draft(to) as draft:
        manifest = _fill(settings, draft, say)
        (draft / MANIFEST).write_text(json.dumps(asdict(manifest), indent=1), encoding="utf-8")
        # All of it on the disk before it is called a backup.
        os.sync()
        draft.rename(to)
    size = sum(path.stat().st_size for path in plain_files(to))
    say(f"{to}: {len(manifest.files)} files, {size / 2**20:.0f} MB; make restore FROM={to} with an empty CHURN_HOME")


@contextmanager
def _draft(to: Path) -> Iterator[Path]:
    """Give the directory to fill; where the block fails, nothing is left of it."""
    draft = to.with_name(f"{to.name}.unfinished")
    try:
        draft.mkdir(mode=0o700)
    except FileExistsError:
        raise BackupError(f"{draft} is there: remove it, unless another backup writes it now") from None
    except OSError as error:
        raise BackupError(f"the backup cannot be written: {error}") from error
    try:
        yield draft
    except OSError as error:
        raise BackupError(f"the backup is not complete: {error}; nothing is left of it") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _fill(settings: Settings, draft: Path, say: Say) -> Manifest:
    made_at = datetime.now(UTC).isoformat(timespec="seconds")
    url, server = environment(settings)["CHURN_DATABASE_URL"], settings.postgres_server
    with connect(url, autocommit=True) as connection:
        _wait_for_retention(connection, say)
        loaded = find_loaded(url)
        for database in ORDER:
            postgres_tools.dump(server, database, draft / f"{database}.dump")
            say(f"dumped the database {database}")
            if database == "airflow":
                # Also what was loaded while it was dumped: it may say that this has only begun.
                waiting = [str(drop.as_of) for drop in find_not_among(loaded, settings.landing)]
                _copy_drops(settings.landing, waiting, draft / "landing")
        for name, source in files_of(settings).items():
            # Files on their way into the archive have no name there yet.
            shutil.copytree(source, draft / name, ignore=shutil.ignore_patterns(".incoming-*"))
            say(f"copied {name}")
        migrations = applied_migrations(connection)
    with open(os.open(draft / SECRETS, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write((settings.home / SECRETS).read_bytes())
    return Manifest(
        format=FORMAT,
        made_at=made_at,
        postgres=postgres_tools.server_version(server),
        packages={name: version(name) for name in PACKAGES},
        migrations=migrations,
        files={str(path.relative_to(draft)): sha256_of(path) for path in plain_files(draft)},
    )


def _wait_for_retention(connection: Connection, say: Say) -> None:
    if not try_lock_session(connection, RETENTION_LOCK):
        say("waiting for churn_retention, or another backup, to be done")
        lock_session(connection, RETENTION_LOCK)


def _copy_drops(landing: Path, names: list[str], to: Path) -> None:
    """Copy drops that Airflow, dumped before, may have begun with: it starts none of them a second time, and without
    them here they would be lost until a person noticed. A link stays one, for validate to reject it; what is neither
    file nor link is nothing that is read."""
    to.mkdir()
    for name in names:
        (to / name).mkdir()
        for path in (landing / name).iterdir():
            copy = to / name / path.name
            if path.is_symlink():
                copy.symlink_to(path.readlink())
            elif path.is_file():
                with open_plain(path) as source, copy.open("xb") as target:
                    shutil.copyfileobj(source, target)


def files_of(settings: Settings) -> dict[str, Path]:
    """Return the directories that are copied, by their name in a backup."""
    return {"artifacts": settings.home / "mlflow" / "artifacts", "archive": settings.archive}


def plain_files(directory: Path) -> list[Path]:
    """Return the files below a directory, without links, which only a drop may have."""
    return [path for path in sorted(directory.rglob("*")) if path.is_file() and not path.is_symlink()]


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_manifest(source: Path) -> Manifest:
    """Return the manifest of the backup in `source`.

    Raises:
        BackupError: there is none, or it is of another format.
    """
    try:
        found = json.loads((source / MANIFEST).read_text(encoding="utf-8"))
        if found["format"] != FORMAT:
            raise BackupError(f"{source} is a backup of format {found['format']}; this code reads format {FORMAT}")
        return Manifest(**found)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise BackupError(f"{source} is no backup: {error}") from error
