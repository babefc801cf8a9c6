"""Restores a backup into an empty stack: checks it, restores beside CHURN_HOME, then renames."""

import os
import shutil
from contextlib import nullcontext
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from packaging.version import Version

from churn.erasure.ledger import has_ledger
from churn.postgres.migrate import grant, known_migrations
from churn.settings import redis_url
from embedded.commands.chain import Say
from embedded.environment import environment
from embedded.operator.backup import ORDER, SECRETS, BackupError, Manifest, files_of, read_manifest, sha256_of
from embedded.settings import Settings
from embedded.stack import lifecycle as stack
from embedded.stack import postgres, postgres_tools
from embedded.stack.services import POSTGRES


def restore(settings: Settings, source: Path, say: Say) -> None:
    """Restore the backup in `source`; the stack stays down.

    The state is built beside CHURN_HOME and renamed at the end, so an interrupted restore leaves no half stack. On the
    server of CHURN_POSTGRES, an interrupted restore leaves the databases it created.

    Raises:
        BackupError: `source` is incomplete or of newer versions than this checkout, or CHURN_HOME, the server or the
            Redis of CHURN_REDIS_URL holds state.
        OnlineStoreAway: that Redis does not answer.
        PostgresError: a database cannot be restored.
    """
    source = Path(os.path.abspath(source.expanduser()))
    manifest = read_manifest(source)
    _check_versions(manifest)
    _check_home(settings.home)
    _check_redis()
    if settings.server:
        _check_server(settings, manifest)
    say(f"checking the {len(manifest.files)} files of the backup")
    _check_files(source, manifest)
    draft = replace(settings, home=settings.home.with_name(f"{settings.home.name}.restoring"))
    if draft.home.exists():
        stack.clean(draft, say)  # left by a killed restore
    try:
        _fill(draft, source, manifest, say)
        (settings.home / stack.LOCK).unlink(missing_ok=True)
        draft.home.rename(settings.home)
    except OSError as error:
        raise BackupError(f"not restored: {error}; the next restore removes {draft.home}") from error
    again = ", and first erases again whom it brought back" if has_ledger(settings.erasure) else ""
    say(f"restored the backup of {manifest.made_at} into {settings.home}; make up starts it{again}")


def _fill(draft: Settings, source: Path, manifest: Manifest, say: Say) -> None:
    draft.home.mkdir(parents=True)
    # First, since clean() removes only a directory that has this file.
    with open(os.open(draft.home / SECRETS, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write((source / SECRETS).read_bytes())
    with nullcontext() if draft.server else stack.only(draft, [POSTGRES], say):
        _check_server(draft, manifest)
        for database in ORDER:
            postgres_tools.restore(draft.postgres_server, database, source / f"{database}.dump")
            say(f"restored the database {database}")
        # Grants to serving's role are not in the dump: roles belong to the server.
        grant(environment(draft)["CHURN_DATABASE_URL"])
    shutil.rmtree(draft.runtime, ignore_errors=True)
    for name, target in {**files_of(draft), "landing": draft.landing}.items():
        if not (source / name).exists():  # no list was written, or an older version made the backup
            continue
        # Symlinks are kept, so that validate still rejects the drop.
        shutil.copytree(source / name, target, symlinks=True, dirs_exist_ok=True)
        say(f"copied {name}")


def _check_versions(manifest: Manifest) -> None:
    problems = [
        f"it was written by {name} {made_by}, and {version(name)} is installed"
        for name, made_by in manifest.packages.items()
        if Version(version(name)) < Version(made_by)
    ]
    known = known_migrations()
    problems += [
        f"the database churn has the migration {name}, which this checkout lacks or has with other content"
        for name, sha256 in manifest.migrations.items()
        if known.get(name) != sha256
    ]
    if problems:
        raise BackupError("; ".join([*problems, "check out the version that made the backup, or a newer one"]))


def _check_home(home: Path) -> None:
    if os.path.ismount(home):
        raise BackupError(
            f"CHURN_HOME {home} is a mount point, which the restored state cannot be renamed to: "
            f"name a directory in it, like {home / 'churn'}"
        )
    if home.exists() and {path.name for path in home.iterdir()} - {stack.LOCK}:
        raise BackupError(
            f"CHURN_HOME {home} is not empty: name another directory, or move this one away (make clean removes it)"
        )


def _check_redis() -> None:
    """Check that the Redis serves nothing: it may hold newer features than the backup or belong to a running stack."""
    if not (url := redis_url()):
        return
    from churn.features.redis.builds import client_of  # noqa: PLC0415 — needed only with a Redis
    from churn.features.redis.server import POINTER, failing_as_the_store  # noqa: PLC0415

    with failing_as_the_store():
        served = client_of(url).execute_command("HGET", POINTER, "as_of")
    if served is not None:
        raise BackupError(
            f"the Redis of CHURN_REDIS_URL serves {served.decode()} already: name another database number (…/1), "
            f"or, if no stack uses this one any more, redis-cli -n <its number> DEL {POINTER}"
        )


def _check_files(source: Path, manifest: Manifest) -> None:
    for name, sha256 in manifest.files.items():
        path = source / name
        if not path.is_file():
            raise BackupError(f"the backup is incomplete: {path} is missing")
        if sha256_of(path) != sha256:
            raise BackupError(f"the backup is damaged: the sha256 of {path} differs from the manifest")


def _check_server(settings: Settings, manifest: Manifest) -> None:
    if (there := postgres_tools.server_version(settings.postgres_server)) < manifest.postgres:
        raise BackupError(f"the backup is of Postgres {manifest.postgres}, and the server runs {there}")
    if taken := postgres.existing_databases(settings):
        raise BackupError(f"the server has the databases {', '.join(taken)} already: drop them, or name another server")
