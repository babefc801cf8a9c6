"""score: write the list of an AS_OF, as a partition of scores.customers and as files.

The rows, the row of scores.runs and the sha256 of the file appear in one transaction. Then the files are published. If
a run was killed in between, the next one publishes them.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from datetime import date
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
from feast import FeatureService, FeatureStore
from mlflow import MlflowClient
from psycopg import sql

from churn.as_of import event_timestamp
from churn.code import step_digest
from churn.drops.storage import Location, Storage, storage_at
from churn.features.store import joins_by_spark, of_spark, open_offline_store, stream_features
from churn.outcome import DONE, UNCHANGED, Outcome
from churn.postgres.copy import copy_rows
from churn.postgres.database import Connection, connect, execute, lock, lock_session, statement
from churn.postgres.personal_data import writing_personal_data
from churn.registry import client as registry
from churn.registry.model_version import ModelVersion
from churn.registry.version_scorer import load_scorer
from churn.scores.files import folder_of, hash_of, publish, publish_again, why_unpublished, write_and_pass_on
from churn.scores.ranking import ranked_rows, score_batches, write_scored
from churn.scores.registered import choose_registered
from churn.scores.run import Run, current_run, partition_of, record_run
from churn.scoring.scorer import Scorer

log = logging.getLogger(__name__)

CHANGED = "the snapshot of {as_of} changed while it was scored: run the task again"


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
        NotProbabilities: a score is NaN or outside 0 to 1.
        VersionRefused, ModelNotLoadable: the version cannot be loaded.
    """
    client, store, storage = MlflowClient(), open_offline_store(database_url), storage_at(location)
    # Opened also where nothing is written: it removes what a killed run left behind.
    with (
        writing_personal_data(database_url),
        storage.incoming() as directory,
        connect(database_url, autocommit=True) as connection,
    ):
        lock_session(connection, "scores", as_of.isoformat())
        last = current_run(connection, as_of)
        if last:
            # Before the next revision, or its files would be lost for ever.
            _publish_missing(connection, storage, last, directory, database_url)
        snapshot = _snapshot_of(connection, as_of)
        if snapshot is None:
            raise NothingToScore(f"there is no snapshot of {as_of}: run churn_snapshot for it first")
        choice = choose_registered(connection, registry.find_versions(client, {}), as_of)
        if choice.version is None:
            raise NothingToScore(choice.reason)
        identity = _identity(choice.version, snapshot, control_share)
        if last and last.is_of(identity):
            return _outcome(UNCHANGED, f"{as_of} was scored by this version, from this snapshot", last, storage)
        service = store.get_feature_service(choice.version.feature_service)
        model = load_scorer(choice.version, service, database_url)
        features = directory / "features.arrow"
        scored = _score(connection, store, service, as_of, scorer=model.scorer, file=features)
        if scored != identity["rows"]:
            raise SnapshotChanged(f"{CHANGED.format(as_of=as_of)} ({scored} customers, and {identity['rows']} before)")
        values = {**identity, "as_of": as_of, "revision": _next_revision(connection, as_of)}
        run = write_revision(connection, values, ranked_rows(features, model, values), directory)
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


def _score(
    connection: Connection, store: FeatureStore, service: FeatureService, as_of: date, *, scorer: Scorer, file: Path
) -> int:
    """Write every customer and their churn_probability into an Arrow file; return the number of customers."""
    if joins_by_spark(store):
        scored = of_spark("scoring").scored_batches
        with closing(scored(connection, store, service, as_of, probabilities_of=scorer.probabilities_of)) as batches:
            return write_scored(batches, file)
    return score_batches(_features_of(connection, store, service, as_of), scorer, file)


def _features_of(
    connection: Connection, store: FeatureStore, service: FeatureService, as_of: date
) -> Iterator[pa.RecordBatch]:
    query = sql.SQL(statement("scores/entities")).format(event_timestamp=sql.Literal(event_timestamp(as_of)))
    return stream_features(store, service, query.as_string(connection))


def write_revision(connection: Connection, values: Mapping[str, Any], rows: Iterable[pa.Table], directory: Path) -> Run:
    """Add a revision to scores.customers and scores.runs in one transaction, and write its files into `directory`.

    Args:
        values: the columns of scores.runs that identify it.
        rows: see ranked_rows().

    Raises:
        SnapshotChanged: the snapshot is no longer the one of `values`.
    """
    as_of, partition = values["as_of"], partition_of(values["as_of"], values["revision"])
    ready = write_and_pass_on(rows, directory)
    # Before the transaction, which would idle while models explain the first rows.
    first = next(ready)
    with closing(ready), connection.transaction():
        execute(connection, "scores/create_partition", partition=partition)
        copy_rows(connection, partition, chain([first], ready))
        execute(connection, "scores/index_partition", partition=partition)
        lock(connection, "as_of", as_of.isoformat())
        snapshot = _snapshot_of(connection, as_of)
        if snapshot != (values["snapshot_digest"], values["rows"]):
            raise SnapshotChanged(CHANGED.format(as_of=as_of))
        return attach(connection, {**values, "sha256": hash_of(directory)})


def attach(connection: Connection, values: Mapping[str, Any]) -> Run:
    """Attach the filled and indexed table of a revision, and record the run."""
    partition = partition_of(values["as_of"], values["revision"])
    execute(
        connection,
        "scores/attach",
        partition=partition,
        as_of=sql.Literal(values["as_of"]),
        revision=sql.Literal(values["revision"]),
        next=sql.Literal(values["revision"] + 1),
    )
    execute(connection, "partitions/analyze", table=partition)
    found = execute(connection, "scores/totals", partition=partition).fetchone()
    assert found is not None
    return record_run(connection, {**values, "expected_churners": found[0], "revenue_at_risk": found[1]})


def _next_revision(connection: Connection, as_of: date) -> int:
    found = execute(connection, "scores/newest_revision", {"as_of": as_of}).fetchone()
    assert found is not None
    return int(found[0]) + 1


def _publish_missing(connection: Connection, storage: Storage, run: Run, directory: Path, database_url: str) -> None:
    """Publish the files of a run again if they are missing: it was killed before, or the files were lost.

    In a restored stack the files may also be newer than its row: replaced, or marked as withdrawn.
    """
    why = why_unpublished(storage, run)
    if why is None:
        return
    if publish_again(connection, storage, run, directory, database_url):
        log.warning(
            "the file of %s revision %d has other bytes now: another version of pyarrow, or somebody changed its rows",
            run.as_of,
            run.revision,
        )
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
