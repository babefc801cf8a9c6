"""What the gate needs to know of a candidate, of Production and of the anchor: read from MLflow and from Postgres."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from typing import Any

import mlflow
import numpy as np
import pyarrow as pa
from feast import FeatureService, FeatureStore
from feast.errors import FeatureServiceNotFoundException
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode
from threadpoolctl import threadpool_limits

from churn import registry
from churn.as_of import event_timestamp
from churn.cohort import in_cohort
from churn.compiled.scorer import NotCompilable, compile_pipeline
from churn.database import Connection, connect, execute
from churn.features import feature_types, open_store, read_online
from churn.gate.evidence import Audit, Evidence, Graded, Loading
from churn.online_builds import builds_of
from churn.registry import ModelVersion
from churn.run_evidence import keeps_evidence, read_evidence, read_trained_on
from churn.scorer import PipelineScorer, Scorer, score_rows
from churn.signature import columns_of, signature_of
from churn.statistics import Estimate
from churn.training_set import LABEL, TrainingSet, join_features

TIMED_ROWS = 10

ASKED_AT_ONCE = 100_000
"""Customers that the database is asked about at once: a statement names each, and reads the whole date."""


class StaleCandidate(RuntimeError):
    """A candidate that was graded on data that have changed since."""


@dataclass(frozen=True)
class Rivals:
    """What the candidate is compared with, and whether Production may be moved."""

    production: ModelVersion | None
    anchor: ModelVersion | None
    pinned: str | None


@dataclass(frozen=True)
class Gathered:
    """The evidence, and what belongs to it: the customers of its rows, and what opens the audit cohort, which is for a
    promotion alone."""

    evidence: Evidence
    users: pa.ChunkedArray
    open_audit: Callable[[], Audit]


def gather(candidate: ModelVersion, rivals: Rivals, database_url: str) -> Gathered:
    """Gather the evidence on a candidate.

    Raises:
        StaleCandidate: labels or features of the graded rows changed since the candidate was trained.
    """
    store = open_store(database_url)
    service = store.get_feature_service(candidate.feature_service)
    graded_on = date.fromisoformat(candidate.tags["graded_on"])
    versions = {each.version: each for each in (candidate, rivals.production, rivals.anchor) if each}
    with connect(database_url) as connection, _counting(versions) as counted:
        rows = _Rows(candidate.as_of, graded_on, store, connection)
        of_service = rows.of(service)
        if of_service.cohort_digest(graded_on) != candidate.tags["graded_digest"]:
            raise StaleCandidate(
                f"the gate cohort's rows on {graded_on} changed since version {candidate.version} was trained: clear "
                "the task train"
            )
        grades, audit = (read_evidence(candidate.run_id, of, [LABEL, "score"]) for of in ("grades", "audit"))
        figures = _figures(candidate.run_id)
        users = of_service.users(of_service.cohort)
        production, score_audit = _grade(rivals.production, rows)
        same = rivals.anchor and rivals.production and rivals.anchor.version == rivals.production.version
        anchor, _ = (None, None) if same else _grade(rivals.anchor, rows)
        # All of it, before the candidate's answers are timed.
        trained_on_cohort = {version: count.result() for version, count in counted.items()}
        loading, signature = _try_out(candidate, read_evidence(candidate.run_id, "golden"), service)
        evidence = Evidence(
            candidate=Graded(
                candidate.version,
                candidate.as_of,
                grades["score"].to_numpy(),
                trained_on_cohort=trained_on_cohort[candidate.version],
                cohort_salt=candidate.tags.get("cohort_salt"),
                **_of_run(figures),
            ),
            production=_with(production, trained_on_cohort),
            anchor=_with(anchor, trained_on_cohort),
            signature=signature,
            service_signature=columns_of(signature_of(feature_types(service))),
            graded_on=graded_on,
            out_of_time=candidate.tags["graded_out_of_time"] == "True",
            labels=grades[LABEL].to_numpy(),
            train_rows=int(figures.data.metrics["train_rows"]),
            train_churned=int(figures.data.metrics["train_churned"]),
            slices=_slices(connection, graded_on, users),
            loading=loading,
            online_problem=_online_problem(connection, store, service),
            pinned=rivals.pinned,
            was_promoted=was_promoted(candidate),
        )

    def open_audit() -> Audit:
        by_production = score_audit() if score_audit else None
        return Audit(audit[LABEL].to_numpy(), audit["score"].to_numpy(), by_production)

    return Gathered(evidence, users, open_audit)


def was_promoted(version: ModelVersion) -> bool:
    """Tell whether the version was in Production; the tag is the last step of a promotion."""
    return version.tags.get("gate.decision") == "PROMOTE"


class _Rows:
    """The rows of both cohorts on the grading date, labelled as the candidate knows them, by feature service."""

    def __init__(self, as_of: date, graded_on: date, store: FeatureStore, connection: Connection):
        self.as_of, self.graded_on, self.store, self.connection = as_of, graded_on, store, connection
        self._held: dict[str, TrainingSet] = {}

    def of(self, service: FeatureService) -> TrainingSet:
        if service.name not in self._held:
            table = join_features(
                self.connection, self.store, service, self.graded_on, self.as_of, cohorts_only=True
            )  # fmt: skip
            self._held[service.name] = TrainingSet(self.as_of, service, table)
        return self._held[service.name]


ScoresAudit = Callable[[], np.ndarray]


def _grade(version: ModelVersion | None, rows: _Rows) -> tuple[Graded | None, ScoresAudit | None]:
    """Score the rows by a version, with the features of its own feature service; return it, and what scores the audit
    cohort by it.

    A version that cannot be graded is a finding for a person; a server that is away is for a retry.
    """
    if version is None:
        return None, None
    try:
        as_of = version.as_of
    except (registry.ModelNotLoadable, ValueError) as error:
        return Graded(version.version, date.min, problem=str(error)), None
    graded = Graded(version.version, as_of, cohort_salt=version.tags.get("cohort_salt"))
    try:
        own = rows.of(rows.store.get_feature_service(version.feature_service))
        pipeline = registry.load_pipeline(version.version)
        scores, audit = score_rows(pipeline, own, own.cohort), partial(score_rows, pipeline, own, own.audit)
    except (registry.ModelNotLoadable, FeatureServiceNotFoundException, ValueError) as error:
        return replace(graded, problem=f"{type(error).__name__}: {error}"), None
    try:
        figures = _of_run(_figures(version.run_id))
    except MlflowException as error:
        if error.error_code != ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
            raise
        return replace(graded, scores=scores), audit
    return replace(graded, scores=scores, **figures), audit


@contextmanager
def _counting(versions: Mapping[int, ModelVersion]) -> Iterator[dict[int, Future[int | None]]]:
    """Count for each version how many customers of the gate cohort it was given, beside what the database joins."""
    beside = ThreadPoolExecutor(1)
    try:
        yield {version: beside.submit(_cohort_trained_on, each) for version, each in versions.items()}
    finally:
        beside.shutdown(cancel_futures=True)


def _with(graded: Graded | None, trained_on_cohort: Mapping[int, int | None]) -> Graded | None:
    return graded and replace(graded, trained_on_cohort=trained_on_cohort[graded.version])


def _figures(run_id: str) -> mlflow.entities.Run:
    return MlflowClient().get_run(run_id)


def _of_run(run: mlflow.entities.Run) -> dict[str, Any]:
    metrics = run.data.metrics
    known = {"out_of_fold_auc", "out_of_fold_auc_error"} <= metrics.keys()
    out_of_fold = Estimate(metrics["out_of_fold_auc"], metrics["out_of_fold_auc_error"]) if known else None
    return {"recipe": run.data.params.get("recipe", ""), "out_of_fold_auc": out_of_fold}


def _cohort_trained_on(version: ModelVersion) -> int | None:
    """Return how many customers of the gate cohort the version was given, None where nobody knows: it was registered by
    hand, or trained by older code."""
    return int(in_cohort(read_trained_on(version.run_id)).sum()) if keeps_evidence(version.run_id) else None


def _slices(connection: Connection, graded_on: date, users: pa.ChunkedArray) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(len(users), dtype=bool))
    for begin in range(0, len(users), ASKED_AT_ONCE):
        block = users[begin : begin + ASKED_AT_ONCE].to_pylist()
        asked = {"event_timestamp": event_timestamp(graded_on), "users": block}
        for name, places in execute(connection, "gate/slices", asked):
            found[name][begin:][places] = True
    return dict(sorted(found.items()))


def _try_out(
    candidate: ModelVersion, golden: pa.Table, service: FeatureService
) -> tuple[Loading, list[tuple[str, str]]]:
    """Load the candidate as serving does, and let it answer for its golden rows, all at once and one by one; return how
    it did, and its signature."""
    try:
        pipeline, signature = registry.load_model(candidate.version)
    except registry.ModelNotLoadable as error:
        return Loading(problem=str(error)), []
    columns = columns_of(signature)
    scorer: Scorer = PipelineScorer(pipeline, service)
    with suppress(NotCompilable):
        scorer = compile_pipeline(pipeline, service)
    rows = golden.select(list(feature_types(service))).to_pylist()
    try:
        # Threads that wait for each other would be timed, not the model.
        with threadpool_limits(1):
            found = scorer.probabilities(rows)
            milliseconds = [_time(scorer, row) for row in rows[:TIMED_ROWS]]
    except (ValueError, KeyError) as error:
        return Loading(problem=f"it cannot score its golden rows: {error}"), columns
    return Loading(None, float(np.abs(found - golden["score"].to_numpy()).max()), min(milliseconds)), columns


def _time(scorer: Scorer, row: dict[str, Any]) -> float:
    started = time.perf_counter()
    scorer.probabilities([row])
    return (time.perf_counter() - started) * 1000


def _online_problem(connection: Connection, store: FeatureStore, service: FeatureService) -> str | None:
    """Return why a customer who is served cannot be scored by the candidate's features, None if they can."""
    served = builds_of(connection).served()
    if served is None:
        return "nothing is served: run churn_materialize"
    as_of = served.as_of
    asked = {"event_timestamp": event_timestamp(as_of)}
    users = [user for (user,) in execute(connection, "gate/some_customers", asked)]
    missing = {name for found in read_online(store, service, users) for name in found.missing} if users else set()
    # Left to the garbage collector, its pool of connections may be ended by a thread of its own, and say an error.
    asyncio.run(store.close())
    return f"AS_OF {as_of} is served without {', '.join(sorted(missing))}: run churn_materialize" if missing else None
