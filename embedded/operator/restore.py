"""Restoring a backup into an empty stack: checked first, made under another name, and there when it is whole."""

import os
import shutil
from contextlib import nullcontext
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from packaging.version import Version

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
    """Make the stack of the backup in `source`, which stays down.

    The state is made beside CHURN_HOME and moved there at the end: an interrupted restore leaves nothing that would be
    taken for a stack. Only on a server of one's own the databases that it had made stay.

    Raises:
        BackupError: `source` is no whole backup, is of newer versions than this checkout, or CHURN_HOME, the server or
            the Redis of CHURN_REDIS_URL holds state.
        OnlineStoreAway: that Redis cannot be asked.
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
        # Of a restore that was killed.
        stack.clean(draft, say)
    try:
        _fill(draft, source, manifest, say)
        (settings.home / stack.LOCK).unlink(missing_ok=True)
        draft.home.rename(settings.home)
    except OSError as error:
        raise BackupError(f"not restored: {error}; the next restore removes {draft.home}") from error
    say(f"restored the backup of {manifest.made_at} into {settings.home}; make up starts it")


def _fill(draft: Settings, source: Path, manifest: Manifest, say: Say) -> None:
    draft.home.mkdir(parents=True)
    # First: by this file the rest is known for the state of a stack, which may be cleared away.
    with open(os.open(draft.home / SECRETS, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write((source / SECRETS).read_bytes())
    with nullcontext() if draft.server else stack.only(draft, [POSTGRES], say):
        _check_server(draft, manifest)
        for database in ORDER:
            postgres_tools.restore(draft.postgres_server, database, source / f"{database}.dump")
            say(f"restored the database {database}")
        # What serving's role may do: roles are of a server, not of a database.
        grant(environment(draft)["CHURN_DATABASE_URL"])
    shutil.rmtree(draft.runtime, ignore_errors=True)
    for name, target in {**files_of(draft), "landing": draft.landing}.items():
        # A drop with a link in it is still rejected for that.
        shutil.copytree(source / name, target, symlinks=True, dirs_exist_ok=True)
        say(f"copied {name}")


def _check_versions(manifest: Manifest) -> None:
    problems = [
        f"{name} {made_by} wrote it, and {version(name)} is installed"
        for name, made_by in manifest.packages.items()
        if Version(version(name)) < Version(made_by)
    ]
    known = known_migrations()
    problems += [
        f"the database churn has the migration {name}, which this checkout does not have, or not with that content"
        for name, sha256 in manifest.migrations.items()
        if known.get(name) != sha256
    ]
    if problems:
        raise BackupError("; ".join([*problems, "check out the version that made the backup, or a newer one"]))


def _check_home(home: Path) -> None:
    if os.path.ismount(home):
        raise BackupError(
            f"CHURN_HOME {home} is a mount point, and what is restored is made beside it and moved there as a whole: "
            f"name a directory in it, like {home / 'churn'}"
        )
    if home.exists() and {path.name for path in home.iterdir()} - {stack.LOCK}:
        raise BackupError(
            f"CHURN_HOME {home} is not empty, and a backup is restored into an empty one only: name another, or move "
            "it away (make clean removes it)"
        )


def _check_redis() -> None:
    """It would go on serving what it serves, as newer than what the restored stack has; and where it is the store of a
    running stack, the restored one would write into it."""
    if not (url := redis_url()):
        return
    # Only who has a Redis needs them.
    from churn.features.redis.builds import client_of  # noqa: PLC0415
    from churn.features.redis.server import POINTER, failing_as_the_store  # noqa: PLC0415

    with failing_as_the_store():
        served = client_of(url).execute_command("HGET", POINTER, "as_of")
    if served is not None:
        raise BackupError(
            f"the Redis of CHURN_REDIS_URL serves {served.decode()} already: name another database number of it (…/1); "
            f"or, where no stack uses that one any more, redis-cli -n <its number> DEL {POINTER}"
        )


def _check_files(source: Path, manifest: Manifest) -> None:
    for name, sha256 in manifest.files.items():
        path = source / name
        if not path.is_file():
            raise BackupError(f"the backup is not whole: {path} is missing")
        if sha256_of(path) != sha256:
            raise BackupError(f"the backup is damaged: {path} has another sha256 than its manifest says")


def _check_server(settings: Settings, manifest: Manifest) -> None:
    if (there := postgres_tools.server_version(settings.postgres_server)) < manifest.postgres:
        raise BackupError(f"the backup is of Postgres {manifest.postgres}, and the server is {there}")
    if taken := postgres.existing_databases(settings):
        raise BackupError(f"the server has the databases {', '.join(taken)} already: drop them, or name another server")
