"""score: write the list of an AS_OF, as a partition of scores.customers and as files.

The rows, the row of scores.runs and the sha256 of the file appear in one transaction, which attaches a table that was
filled before. Then the files are published. A run that was killed before that publishes them when it is run again.
"""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
from feast import FeatureService, FeatureStore
from mlflow import MlflowClient
from psycopg import sql

from churn.as_of import event_timestamp
from churn.code import step_digest
from churn.drops.storage import Location, Storage, storage_at
from churn.features.store import open_store, stream_features
from churn.outcome import DONE, UNCHANGED, Outcome
from churn.postgres.database import Connection, connect, execute, lock, lock_session, statement
from churn.registry import client as registry
from churn.registry.model_version import ModelVersion
from churn.registry.version_scorer import load_scorer
from churn.scores.files import folder_of, publish, why_unpublished, write_files
from churn.scores.registered import choose_registered
from churn.scores.run import Run, current_run, partition_of, record_run
from churn.scores.staging import stage_scores

log = logging.getLogger(__name__)


class NothingToScore(RuntimeError):
    """There is no list of the AS_OF to write, and the message says why."""


class SnapshotChanged(RuntimeError):
    """The snapshot was rebuilt, withdrawn or deleted while it was scored; nothing was written. Run the task again."""


def score_customers(as_of: date, database_url: str, location: Location, control_share: float) -> Outcome:
    """Score every customer of the snapshot of `as_of`, and write the next revision of its list.

    UNCHANGED if the newest revision is of the same snapshot, version, code and settings.

    Args:
        location: where the files go (SCORES_URL).
        control_share: share of the customers in the control arm, 0 to 1.

    Raises:
        NothingToScore: there is no snapshot, or no version may score it.
        SnapshotChanged: the snapshot changed meanwhile.
        VersionRefused, ModelNotLoadable: the version cannot be loaded.
    """
    client, store, storage = MlflowClient(), open_store(database_url), storage_at(location)
    # Opened also where nothing is written: it removes what a killed run left behind.
    with storage.incoming() as directory, connect(database_url, autocommit=True) as connection:
        lock_session(connection, "scores", as_of.isoformat())
        snapshot = _snapshot_of(connection, as_of)
        if snapshot is None:
            raise NothingToScore(f"there is no snapshot of {as_of}: run churn_snapshot for it first")
        choice = choose_registered(connection, registry.find_versions(client, {}), as_of)
        if choice.version is None:
            raise NothingToScore(choice.reason)
        identity = _identity(choice.version, snapshot, control_share)
        last = current_run(connection, as_of)
        if last and last.is_of(identity):
            _publish_missing(connection, storage, last, directory, database_url)
            return _outcome(UNCHANGED, f"{as_of} was scored by this version, from this snapshot", last, storage)
        service = store.get_feature_service(choice.version.feature_service)
        model = load_scorer(choice.version, service, database_url)
        stage_scores(connection, _features_of(connection, store, service, as_of), model, control_share)
        run = _write(connection, as_of, identity, directory, database_url)
        publish(storage, run, directory)
    return _outcome(DONE, f"{as_of} is scored: {choice.reason}", run, storage)


def _snapshot_of(connection: Connection, as_of: date) -> tuple[str, int] | None:
    """Return the digest of the snapshot and its number of customers, None if there is none."""
    return execute(connection, "scores/snapshot", {"as_of": as_of}).fetchone()


def _identity(version: ModelVersion, snapshot: tuple[str, int], control_share: float) -> dict[str, Any]:
    return {
        "model_version": version.version,
        "model_run_id": version.run_id,
        "model_as_of": version.as_of,
        "feature_service": version.feature_service,
        "threshold": version.threshold,
        "control_share": control_share,
        "snapshot_digest": snapshot[0],
        "code_digest": step_digest(__package__),
        "rows": snapshot[1],
    }


def _features_of(
    connection: Connection, store: FeatureStore, service: FeatureService, as_of: date
) -> Iterator[pa.RecordBatch]:
    query = sql.SQL(statement("scores/entities")).format(event_timestamp=sql.Literal(event_timestamp(as_of)))
    return stream_features(store, service, query.as_string(connection))


def _write(connection: Connection, as_of: date, identity: Mapping[str, Any], directory: Path, database_url: str) -> Run:
    """Make the staged rows the next revision, and write its files into `directory`."""
    values = {**identity, "as_of": as_of, "revision": _next_revision(connection, as_of)}
    partition = partition_of(as_of, values["revision"])
    totals = _fill(connection, partition, values)
    sha256 = write_files(database_url, partition, directory)
    try:
        with connection.transaction():
            lock(connection, "as_of", as_of.isoformat())
            if (_snapshot_of(connection, as_of) or (None,))[0] != identity["snapshot_digest"]:
                raise SnapshotChanged(f"the snapshot of {as_of} changed while it was scored: run the task again")
            _attach(connection, partition, values)
            return record_run(connection, {**values, **totals, "sha256": sha256})
    except SnapshotChanged:
        execute(connection, "scores/drop_partition", partition=partition)
        raise


def _fill(connection: Connection, partition: sql.Identifier, values: Mapping[str, Any]) -> dict[str, float]:
    """Make a table of the staged rows, which nobody reads until it is attached; return its totals."""
    with connection.transaction():
        # A killed run may have left it.
        execute(connection, "scores/drop_partition", partition=partition)
        execute(connection, "scores/create_partition", partition=partition)
        execute(connection, "scores/fill_partition", values, partition=partition)
        execute(connection, "scores/index_partition", partition=partition)
        found = execute(connection, "scores/totals", partition=partition).fetchone()
        assert found is not None
        if found[0] != values["rows"]:
            raise SnapshotChanged(
                f"{found[0]} customers were scored, and the snapshot of {values['as_of']} has {values['rows']}: run "
                "the task again"
            )
    return {"expected_churners": found[1], "revenue_at_risk": found[2]}


def _attach(connection: Connection, partition: sql.Identifier, values: Mapping[str, Any]) -> None:
    execute(
        connection,
        "scores/attach",
        partition=partition,
        as_of=sql.Literal(values["as_of"]),
        revision=sql.Literal(values["revision"]),
        next=sql.Literal(values["revision"] + 1),
    )
    execute(connection, "partitions/analyze", table=partition)


def _next_revision(connection: Connection, as_of: date) -> int:
    found = execute(connection, "scores/newest_revision", {"as_of": as_of}).fetchone()
    assert found is not None
    return int(found[0]) + 1


def _publish_missing(connection: Connection, storage: Storage, run: Run, directory: Path, database_url: str) -> None:
    """Publish the files of a run again if they are missing: it was killed before, or the files were lost.

    In a restored stack they may also be of a later moment than its row: replaced, or marked as withdrawn.
    """
    why = why_unpublished(storage, run)
    if why is None:
        return
    sha256 = write_files(database_url, run.partition, directory)
    if sha256 != run.sha256:
        log.warning("the file of %s revision %d has other bytes now: another pyarrow", run.as_of, run.revision)
        execute(connection, "scores/record_file", {"as_of": run.as_of, "revision": run.revision, "sha256": sha256})
    publish(storage, replace(run, sha256=sha256), directory)
    log.warning("the files of %s revision %d are published again: %s", run.as_of, run.revision, why)


def _outcome(outcome: str, reason: str, run: Run, storage: Storage) -> Outcome:
    figures = {
        "revision": run.revision,
        "model_version": run.model_version,
        "rows": run.rows,
        "expected_churners": round(run.expected_churners, 1),
        "revenue_at_risk": round(run.revenue_at_risk, 2),
        "files": storage.where(folder_of(run)),
    }
    return Outcome(outcome, reason, figures)
