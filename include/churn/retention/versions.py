"""Retention of model versions: deletes registry entries and their large files.

The decisions with their reports, the run with parameters, metrics and lineage, and the moves of Production are kept.
Version numbers are not reused.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TypeVar

from mlflow import MlflowClient
from mlflow.entities import FileInfo
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repo import ArtifactRepository
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from churn.gate import moves
from churn.gate.identity import Held
from churn.outcome import DONE, UNCHANGED, Outcome
from churn.postgres.database import Connection, connect, lock_session, one, try_lock_session
from churn.registry.client import is_missing, list_versions
from churn.registry.evidence import EVIDENCE
from churn.registry.model_version import MODEL_NAME, PRODUCTION, STAGING
from churn.retention import RETENTION_LOCK
from churn.training.lineage import TRAINING_SET
from churn.training.train import USED_AT, lock_of, used_at
from churn.training.uses import used_by

T = TypeVar("T")

BEFORE = 3
"""Previous Production versions that are kept for a rollback."""

GRACE = timedelta(days=2)
"""Time that a version is kept after a training returned it as UNCHANGED: the gate reads its files later and may wait in
a pool. The same as for drops, and twice the timeout of an approval."""

OF_A_RUN = (TRAINING_SET, EVIDENCE)
"""The artifacts of a run that are deleted: the training set, and the tables that the gate compares."""


@dataclass(frozen=True)
class _Files:
    """Files of an artifact repository."""

    repository: ArtifactRepository
    found: tuple[FileInfo, ...]

    @property
    def bytes(self) -> int:
        return sum(size for file in self.found for size in _sizes(self.repository, file))

    def remove(self) -> None:
        for file in self.found:
            self.repository.delete_artifacts(file.path)


def expire_versions(days: int | None, database_url: str, dry_run: bool = False) -> Outcome:
    """Delete the model versions that were registered more than `days` ago and are not needed any more.

    Versions are kept if they are in Production or Staging, pinned, named by an alias, the gate's anchor, of the newest
    AS_OF, among the last three in Production before, or in use: a training of their AS_OF runs or returned them within
    GRACE.

    Args:
        days: 1 or more; None keeps everything.
        dry_run: delete nothing; report what would be deleted.

    Raises:
        ValueError: `days` is less than 1.
        PinUnreadable: the pin of Production cannot be read.
    """
    if days is None:
        return Outcome(UNCHANGED, "versions are kept for ever: no number of days is set")
    if days < 1:
        raise ValueError(f"versions can be kept for 1 day or more, not for {days}")
    client = MlflowClient()
    with connect(database_url, autocommit=True) as connection:
        # Not during a backup or a move of Production.
        lock_session(connection, RETENTION_LOCK)
        lock_session(connection, moves.PROMOTE_LOCK)
        versions = list_versions(client)
        limit = datetime.now(UTC) - timedelta(days=days)
        old = [each for each in versions if datetime.fromtimestamp(each.creation_timestamp / 1000, UTC) < limit]
        why = _why_kept(connection, client, versions)
        why |= _in_use(connection, client, [each for each in old if int(each.version) not in why])
        gone = [each for each in old if int(each.version) not in why]
        rest = [each for each in versions if each not in gone]
        # Shared files are deleted with the last version that uses them.
        size = sum(_remove(client, each, rest + gone[number:], dry_run) for number, each in enumerate(gone, 1))
    figures = {
        "before": limit.isoformat(timespec="seconds"),
        "versions": [int(each.version) for each in gone],
        "bytes": size,
        "kept": {int(each.version): why[int(each.version)] for each in old if each not in gone},
    }
    what = f"{len(gone)} versions from before {limit:%Y-%m-%d}, {size / 2**20:.1f} MB"
    if dry_run:
        return Outcome(UNCHANGED, f"would remove {what}", figures)
    return Outcome(DONE if gone else UNCHANGED, f"removed {what}", figures)


def _why_kept(connection: Connection, client: MlflowClient, versions: list[ModelVersion]) -> dict[int, str]:
    if not versions:
        return {}
    as_of = one(connection, "gate/newest_drop")[0]
    pinned, anchor = moves.pin(client), moves.anchor(connection)
    aliases = client.get_registered_model(MODEL_NAME).aliases
    kept = {int(each.version): f"of {as_of}, the newest AS_OF" for each in versions if _used_by(each, as_of)}
    runs = {int(each.version): each.run_id or "" for each in versions}

    def there(earlier: Held) -> bool:
        # Another run may have the number by now.
        return earlier.version in runs and earlier.same(Held(earlier.version, runs[earlier.version]))

    before = [each for each in moves.before(connection) if there(each)]
    kept |= {each.version: "in Production before" for each in before[:BEFORE]}
    kept |= {anchor.version: "the anchor of the gate"} if anchor and there(anchor) else {}
    kept |= {int(version): f"alias {alias}" for alias, version in aliases.items()}
    kept |= {pinned.version: "pinned"} if pinned else {}
    stages = (PRODUCTION, STAGING)
    return kept | {int(each.version): each.current_stage for each in versions if each.current_stage in stages}


def _used_by(version: ModelVersion, as_of: date) -> bool:
    try:
        return as_of in used_by(version.tags)
    except (TypeError, ValueError):
        # Edited by hand.
        return False


def _in_use(connection: Connection, client: MlflowClient, versions: list[ModelVersion]) -> dict[int, str]:
    """Return the versions that a run may be about to grade. The locks are held until the connection closes; a training
    that starts meanwhile waits and does not find the deleted version."""
    since, kept = used_at(datetime.now(UTC) - GRACE), {}
    for each in versions:
        if not try_lock_session(connection, *lock_of(each.tags.get("data_digest", ""))):
            kept[int(each.version)] = "it is being trained"
        # Read again, because a training may have returned it since the listing.
        elif client.get_model_version(MODEL_NAME, each.version).tags.get(USED_AT, "") > since:
            kept[int(each.version)] = f"returned by a training in the last {GRACE.days} days"
    return kept


def _remove(client: MlflowClient, version: ModelVersion, rest: list[ModelVersion], dry_run: bool) -> int:
    """Delete a version and the files that no version of `rest` shares; return the bytes. The registry entry is deleted
    last, so that the next run resumes after a kill."""
    places, model, run, model_id = [], None, None, _model_of(version)
    if model_id and model_id not in map(_model_of, rest):
        model = _there(client.get_logged_model, model_id)
    if version.run_id and version.run_id not in {each.run_id for each in rest}:
        run = _there(client.get_run, version.run_id)
    if model:
        places.append(_below(get_artifact_repository(model.artifact_location), None))
    if run:
        places.append(_below(get_artifact_repository(run.info.artifact_uri), OF_A_RUN))
    size = sum(each.bytes for each in places)
    if not dry_run:
        for each in places:
            each.remove()
        if model:
            client.delete_logged_model(model.model_id)
        client.delete_model_version(MODEL_NAME, version.version)
    return size


def _model_of(version: ModelVersion) -> str | None:
    """Return the id of the version's logged model, None if it was registered from another source."""
    found = re.fullmatch(r"models:/(m-\w+)", version.source or "")
    return found[1] if found else None


def _there(ask: Callable[[str], T], name: str) -> T | None:
    """Return the named object, None if it does not exist any more."""
    try:
        return ask(name)
    except MlflowException as error:
        if is_missing(error):
            return None
        raise


def _below(repository: ArtifactRepository, names: tuple[str, ...] | None) -> _Files:
    """Return the top-level files of the repository: all, or those with the given names."""
    found = repository.list_artifacts()
    return _Files(repository, tuple(each for each in found if names is None or each.path in names))


def _sizes(repository: ArtifactRepository, file: FileInfo) -> Iterator[int]:
    if not file.is_dir:
        yield file.file_size or 0
        return
    for each in repository.list_artifacts(file.path):
        yield from _sizes(repository, each)
