"""Backs up the running stack: the three databases, MLflow's artifacts, the archive, the list's files, and the secrets.

Each database is dumped at one instant, and each part after the parts that refer to it: Airflow, then `churn`, then
MLflow, then the files, which are only added. So every reference can be resolved. Anything extra looks like the
remains of a killed run, which the next run completes. Retention of artifacts and lists waits for the backup.

Files of the list are copied after the dump of `churn`, so every row of scores.runs finds its files, unless its run was
publishing or the files were replaced or marked as withdrawn since. Then churn_score of the AS_OF, UNCHANGED, publishes
them from the rows. Files of a later revision have no row; the next revision, which gets that number, replaces them.

Logs, metrics, incomplete drops and loaded drops (which are in the archive) are not backed up.
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
"""The databases in dump order: each before those that it refers to."""

PACKAGES = ("apache-airflow", "mlflow", "feast")
"""The packages that own tables. An older version cannot read the tables of a newer one."""


class BackupError(RuntimeError):
    """The backup cannot be written or read; the message says why."""


@dataclass(frozen=True)
class Manifest:
    """The description of a backup, kept in it.

    Attributes:
        format: version of the backup's layout.
        postgres: major version of the server.
        packages: {name: version} of PACKAGES.
        migrations: {name: sha256} of the migrations applied to `churn`.
        files: {path in the backup: sha256}.
    """

    format: int
    made_at: str
    postgres: int
    packages: Mapping[str, str]
    migrations: Mapping[str, str]
    files: Mapping[str, str]


def backup(settings: Settings, to: Path, say: Say) -> None:
    """Back up the stack into the directory `to`, which appears when the backup is complete.

    Only its owner can read it, since it contains the key to the passwords of Airflow's connections.

    Raises:
        BackupError: `to` exists, the stack is down, or the disk is full.
        PostgresError: a database cannot be dumped.
    """
    to = Path(os.path.abspath(to.expanduser()))
    if to.exists():
        raise BackupError(f"{to} exists: name a new directory")
    if not postgres.answers(settings):
        raise BackupError(f"Postgres does not answer: make up starts the stack (state in {settings.home})")
    with _draft(to) as draft:
        manifest = _fill(settings, draft, say)
        (draft / MANIFEST).write_text(json.dumps(asdict(manifest), indent=1), encoding="utf-8")
        os.sync()  # before the rename makes it a backup
        draft.rename(to)
    size = sum(path.stat().st_size for path in plain_files(to))
    say(f"{to}: {len(manifest.files)} files, {size / 2**20:.0f} MB; make restore FROM={to} with an empty CHURN_HOME")


@contextmanager
def _draft(to: Path) -> Iterator[Path]:
    """Yield the directory to fill, and remove it if the block fails."""
    draft = to.with_name(f"{to.name}.unfinished")
    try:
        draft.mkdir(mode=0o700)
    except FileExistsError:
        raise BackupError(f"{draft} exists: remove it, unless another backup is running") from None
    except OSError as error:
        raise BackupError(f"the backup cannot be written: {error}") from error
    try:
        yield draft
    except OSError as error:
        raise BackupError(f"the backup failed and was removed: {error}") from error
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
                # `loaded` was read before the dump: a drop loaded meanwhile can be an unfinished run in it.
                waiting = [str(drop.as_of) for drop in find_not_among(loaded, settings.landing)]
                _copy_drops(settings.landing, waiting, draft / "landing")
        for name, source in files_of(settings).items():
            if not source.exists():  # no list was ever written
                continue
            # Skips files that are still being added.
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
        say("waiting for churn_retention or another backup to finish")
        lock_session(connection, RETENTION_LOCK)


def _copy_drops(landing: Path, names: list[str], to: Path) -> None:
    """Copy the drops whose runs the dump of Airflow can contain: churn_landing does not start those runs again.

    Symlinks are copied as symlinks, which validate rejects. Anything else than a file is skipped. Files keep their
    modification times: that of _ACCEPT is part of a run's id.
    """
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
                    status = os.fstat(source.fileno())
                os.utime(copy, ns=(status.st_atime_ns, status.st_mtime_ns))


def files_of(settings: Settings) -> dict[str, Path]:
    """Return the copied directories by their name in a backup."""
    return {
        "artifacts": settings.home / "mlflow" / "artifacts",
        "archive": settings.archive,
        "scores": settings.scores,
    }


def plain_files(directory: Path) -> list[Path]:
    """Return the files below a directory, without symlinks."""
    return [path for path in sorted(directory.rglob("*")) if path.is_file() and not path.is_symlink()]


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_manifest(source: Path) -> Manifest:
    """Return the manifest of the backup in `source`.

    Raises:
        BackupError: there is none, or it has another format.
    """
    try:
        found = json.loads((source / MANIFEST).read_text(encoding="utf-8"))
        if found["format"] != FORMAT:
            raise BackupError(f"{source} has the backup format {found['format']}; this code reads format {FORMAT}")
        return Manifest(**found)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise BackupError(f"{source} is not a backup: {error}") from error
