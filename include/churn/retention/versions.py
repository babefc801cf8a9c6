"""Retention of model versions: their entry in the registry and the large files behind it.

What tells of a version stays: the decisions on it with their reports, its run with parameters, metrics and lineage, and
its number in the history of Production. A number is never given twice.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from mlflow import MlflowClient
from mlflow.entities import FileInfo
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode
from mlflow.store.artifact.artifact_repo import ArtifactRepository
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from churn.gate import moves
from churn.gate.identity import Held
from churn.outcome import DONE, UNCHANGED, Outcome
from churn.postgres.database import Connection, connect, execute, lock_session, try_lock_session
from churn.registry.evidence import EVIDENCE
from churn.registry.versions import MODEL_NAME, PAGE, PRODUCTION, STAGING
from churn.retention import RETENTION_LOCK
from churn.training.lineage import TRAINING_SET
from churn.training.train import USED_AT, lock_of, used_at

T = TypeVar("T")

BEFORE = 3
"""How many of the versions that Production held before are kept, for a rollback."""

GRACE = timedelta(days=2)
"""How long a version stays after a training returned it as UNCHANGED: the time that retention of drops gives a chain,
and twice that of an approval. The gate, which reads its files, runs after the training, and may wait in a pool."""

OF_A_RUN = (TRAINING_SET, EVIDENCE)
"""What is removed of a run: what a version was made of, and what the gate needs to compare it."""


@dataclass(frozen=True)
class _Files:
    """Files below one place, and what removes them."""

    repository: ArtifactRepository
    found: tuple[FileInfo, ...]

    @property
    def bytes(self) -> int:
        return sum(size for file in self.found for size in _sizes(self.repository, file))

    def remove(self) -> None:
        for file in self.found:
            self.repository.delete_artifacts(file.path)


def expire_versions(days: int | None, database_url: str, dry_run: bool = False) -> Outcome:
    """Remove the model versions that were registered more than `days` ago, but for those that may still be asked for:
    in Production or Staging, pinned, named by an alias, the gate's anchor, of the newest AS_OF, among the last three
    that Production held before, or in use: a training of its AS_OF runs, or returned it within GRACE.

    Args:
        days: 1 or more; None keeps everything.
        dry_run: only say what would go.

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
        # No backup between its databases and its files, nobody about to move Production to what goes.
        lock_session(connection, RETENTION_LOCK)
        lock_session(connection, moves.PROMOTE_LOCK)
        versions = _versions(client)
        limit = datetime.now(UTC) - timedelta(days=days)
        old = [each for each in versions if datetime.fromtimestamp(each.creation_timestamp / 1000, UTC) < limit]
        why = _why_kept(connection, client, versions)
        why |= _in_use(connection, client, [each for each in old if int(each.version) not in why])
        gone = [each for each in old if int(each.version) not in why]
        rest = [each for each in versions if each not in gone]
        # What two of them share goes with the last.
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


def _versions(client: MlflowClient) -> list[ModelVersion]:
    """Return every version, the oldest first."""
    found, token = [], None
    while True:
        page = client.search_model_versions(f"name = '{MODEL_NAME}'", PAGE, ["version_number ASC"], token)
        found += [*page]
        token = page.token
        if not token:
            return found


def _why_kept(connection: Connection, client: MlflowClient, versions: list[ModelVersion]) -> dict[int, str]:
    if not versions:
        return {}
    newest = execute(connection, "gate/newest_drop").fetchone()
    as_of = str(newest[0]) if newest else None
    pinned, anchor = moves.pin(client), moves.anchor(connection)
    aliases = client.get_registered_model(MODEL_NAME).aliases
    kept = {int(each.version): f"of {as_of}, the newest AS_OF" for each in versions if each.tags.get("as_of") == as_of}
    runs = {int(each.version): each.run_id or "" for each in versions}

    def there(earlier: Held) -> bool:
        # The number may be another run's by now.
        return earlier.version in runs and earlier.same(Held(earlier.version, runs[earlier.version]))

    before = [each for each in moves.before(connection) if there(each)]
    kept |= {each.version: "in Production before" for each in before[:BEFORE]}
    kept |= {anchor.version: "the anchor of the gate"} if anchor and there(anchor) else {}
    kept |= {int(version): f"alias {alias}" for alias, version in aliases.items()}
    kept |= {pinned.version: "pinned"} if pinned else {}
    stages = (PRODUCTION, STAGING)
    return kept | {int(each.version): each.current_stage for each in versions if each.current_stage in stages}


def _in_use(connection: Connection, client: MlflowClient, versions: list[ModelVersion]) -> dict[int, str]:
    """Return the versions that a run may be about to grade. The locks are held until the connection closes: a training
    that begins meanwhile waits, and finds that the version is gone."""
    since, kept = used_at(datetime.now(UTC) - GRACE), {}
    for each in versions:
        if not try_lock_session(connection, *lock_of(each.tags.get("as_of", ""))):
            kept[int(each.version)] = "its AS_OF is being trained"
        # Read again: a training may have returned it since the versions were listed.
        elif client.get_model_version(MODEL_NAME, each.version).tags.get(USED_AT, "") > since:
            kept[int(each.version)] = f"returned by a training in the last {GRACE.days} days"
    return kept


def _remove(client: MlflowClient, version: ModelVersion, rest: list[ModelVersion], dry_run: bool) -> int:
    """Remove a version and what no version of `rest` needs; return the bytes. The entry goes last: killed before, the
    next run finds it and goes on."""
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
    """Return the id of the logged model that the version is, None where it was registered from something else."""
    found = re.fullmatch(r"models:/(m-\w+)", version.source or "")
    return found[1] if found else None


def _there(ask: Callable[[str], T], name: str) -> T | None:
    """Return what is asked for by that name, None where it is not there any more."""
    try:
        return ask(name)
    except MlflowException as error:
        if error.error_code == ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
            return None
        raise


def _below(repository: ArtifactRepository, names: tuple[str, ...] | None) -> _Files:
    """Return what lies at the top of the repository: all, or what has one of the names."""
    found = repository.list_artifacts()
    return _Files(repository, tuple(each for each in found if names is None or each.path in names))


def _sizes(repository: ArtifactRepository, file: FileInfo) -> Iterator[int]:
    if not file.is_dir:
        yield file.file_size or 0
        return
    for each in repository.list_artifacts(file.path):
        yield from _sizes(repository, each)
