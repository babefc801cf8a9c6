"""Gathering of the gate's evidence on the candidate, Production and the anchor, from MLflow and Postgres."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
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

from churn.as_of import event_timestamp
from churn.features.builds import builds_of
from churn.features.materialization import is_of_other_code
from churn.features.store import feature_types, open_offline_store, read_online
from churn.gate.basis import (
    AS_SHIPPED,
    Basis,
    Origin,
    basis_against,
    difference_of_origin,
    drops_since,
    out_of_fold_origin,
)
from churn.gate.evidence import Audit, Evidence, Graded
from churn.gate.slices import slices_of
from churn.gate.trial import try_out
from churn.postgres.database import Connection, connect, execute
from churn.registry.client import is_missing
from churn.registry.evidence import keeps_evidence, read_evidence, read_trained_on
from churn.registry.loading import load_pipeline
from churn.registry.model_version import ModelNotLoadable, ModelVersion
from churn.registry.signature import columns_of, signature_of
from churn.settings import label_days
from churn.statistics import Estimate
from churn.training.cohort import in_cohort
from churn.training.learned_from import learned_of
from churn.training.regime import judged_of
from churn.training.sample import cohorts_of
from churn.training.training_set import LABEL, TrainingSet, join_features, score_rows


class StaleCandidate(RuntimeError):
    """The data that the candidate was graded on have changed since."""


@dataclass(frozen=True)
class Rivals:
    """Production and the anchor, the reason of a pin, and whether Production's AS_OF was withdrawn."""

    production: ModelVersion | None
    anchor: ModelVersion | None
    pinned: str | None
    production_withdrawn: bool = False


@dataclass(frozen=True)
class Gathered:
    """The evidence, the customers of its rows, and a function that scores the audit cohort, for promotions only."""

    evidence: Evidence
    users: pa.ChunkedArray
    open_audit: Callable[[], Audit]


def gather(candidate: ModelVersion, rivals: Rivals, database_url: str) -> Gathered:
    """Gather the evidence on a candidate.

    Raises:
        StaleCandidate: labels or features of the graded rows changed since the candidate was trained.
    """
    store = open_offline_store(database_url)
    service = store.get_feature_service(candidate.feature_service)
    graded_on = date.fromisoformat(candidate.tags["graded_on"])
    out_of_time = candidate.tags["graded_out_of_time"] == "True"
    versions = {
        role: version
        for role, version in (
            ("candidate", candidate), ("production", rivals.production), ("anchor", rivals.anchor)
        )
        if version
    }  # fmt: skip
    # Autocommit, so that no transaction idles while models score.
    with connect(database_url, autocommit=True) as connection, _counting(versions) as counted:
        rows = _Rows(candidate.as_of, graded_on, store, connection, database_url)
        of_service = rows.of(service)
        if of_service.cohort_digest(graded_on) != candidate.tags["graded_digest"]:
            raise StaleCandidate(
                f"the gate cohort's rows on {graded_on} changed since version {candidate.version} was trained: clear "
                "the task train"
            )
        grades, audit = (read_evidence(candidate.run_id, of, [LABEL, "score"]) for of in ("grades", "audit"))
        run = _run_of(candidate)
        assert run is not None, "its evidence was read from it"
        users = of_service.users(of_service.cohort)
        drops = drops_since(candidate.tags, graded_on)
        shipped = Origin(graded_on, out_of_time=False, drops=drops)
        production, score_audit = _grade(rivals.production, rows, shipped)
        same = _identity(rivals.anchor) == _identity(rivals.production)
        anchor, _ = (None, None) if same else _grade(rivals.anchor, rows, shipped)
        # Wait for the counts, so that they do not disturb the timing of the candidate.
        trained_on_cohort = {role: count.result() for role, count in counted.items()}
        golden = read_evidence(candidate.run_id, "golden")
        loading, signature, pipeline = try_out(candidate, golden, service, database_url)
        against_production, against_anchor = (_basis(each, graded_on, out_of_time) for each in (production, anchor))
        asked = out_of_time and AS_SHIPPED in {each.name for each in (against_production, against_anchor) if each}
        evidence = Evidence(
            candidate=Graded(
                candidate.version,
                candidate.as_of,
                grades["score"].to_numpy(),
                run_id=candidate.run_id,
                shipped=score_rows(pipeline, of_service, of_service.cohort) if asked and pipeline else None,
                trained_on_cohort=trained_on_cohort["candidate"],
                cohort_salt=candidate.tags.get("cohort_salt"),
                **_of_run(candidate, run, Origin(graded_on, out_of_time, drops)),
            ),
            production=_with(production, trained_on_cohort.get("production")),
            anchor=_with(anchor, trained_on_cohort.get("anchor")),
            signature=signature,
            service_signature=columns_of(signature_of(feature_types(service))),
            graded_on=graded_on,
            out_of_time=out_of_time,
            labels=grades[LABEL].to_numpy(),
            train_rows=int(run.data.metrics["train_rows"]),
            train_churned=int(run.data.metrics["train_churned"]),
            slices=slices_of(connection, graded_on, users),
            loading=loading,
            online_problem=_online_problem(connection, store, service),
            pinned=rivals.pinned,
            was_promoted=was_promoted(candidate),
            production_withdrawn=rivals.production_withdrawn,
            change=judged_of(candidate.tags),
        )

    def open_audit() -> Audit:
        by_candidate = audit["score"].to_numpy()
        if out_of_time and pipeline and against_production and against_production.name == AS_SHIPPED:
            by_candidate = score_rows(pipeline, of_service, of_service.audit)
        by_production = score_audit() if score_audit else None
        return Audit(audit[LABEL].to_numpy(), by_candidate, by_production)

    return Gathered(evidence, users, open_audit)


def was_promoted(version: ModelVersion) -> bool:
    """Tell whether the version was in Production; the tag is the last step of a promotion."""
    return version.tags.get("gate.decision") == "PROMOTE"


class _Rows:
    """The rows of both cohorts on the grading date by feature service, labelled as of the candidate's AS_OF."""

    def __init__(self, as_of: date, graded_on: date, store: FeatureStore, connection: Connection, database_url: str):
        self.as_of, self.graded_on, self.store = as_of, graded_on, store
        self.connection, self.database_url = connection, database_url
        self._held: dict[str, TrainingSet] = {}

    def of(self, service: FeatureService) -> TrainingSet:
        if service.name not in self._held:
            sample = cohorts_of(self.connection, self.graded_on)
            table = join_features(self.connection, self.store, service, self.graded_on, self.as_of, sample=sample)
            self._held[service.name] = TrainingSet(self.as_of, service, table)
        return self._held[service.name]


ScoresAudit = Callable[[], np.ndarray]


def _grade(version: ModelVersion | None, rows: _Rows, shipped: Origin) -> tuple[Graded | None, ScoresAudit | None]:
    """Score the rows with a version and its feature service; return it, and a function that scores the audit cohort.

    A version that cannot be graded has a `problem`, for a person; an unavailable server raises, for a retry.

    Args:
        shipped: origin of the AUC on these rows for a version that learned from their date.
    """
    if version is None:
        return None, None
    try:
        as_of = version.as_of
    except (ModelNotLoadable, ValueError) as error:
        return Graded(version.version, date.min, problem=str(error), run_id=version.run_id), None
    graded = Graded(version.version, as_of, run_id=version.run_id, cohort_salt=version.tags.get("cohort_salt"))
    try:
        own = rows.of(rows.store.get_feature_service(version.feature_service))
        pipeline = load_pipeline(version.version, rows.database_url)
        scores, audit = score_rows(pipeline, own, own.cohort), partial(score_rows, pipeline, own, own.audit)
    except (ModelNotLoadable, FeatureServiceNotFoundException, ValueError) as error:
        return replace(graded, problem=f"{type(error).__name__}: {error}"), None
    return replace(graded, scores=scores, **_of_run(version, _run_of(version), shipped)), audit


@contextmanager
def _counting(versions: Mapping[str, ModelVersion]) -> Iterator[dict[str, Future[int | None]]]:
    """Count, in a thread, the customers of the gate cohort that each version was trained on."""
    beside = ThreadPoolExecutor(1)
    try:
        yield {role: beside.submit(_cohort_trained_on, version) for role, version in versions.items()}
    finally:
        beside.shutdown(cancel_futures=True)


def _with(graded: Graded | None, trained_on_cohort: int | None) -> Graded | None:
    return graded and replace(graded, trained_on_cohort=trained_on_cohort)


def _identity(version: ModelVersion | None) -> tuple[int, str] | None:
    return (version.version, version.run_id) if version else None


def _basis(rival: Graded | None, graded_on: date, out_of_time: bool) -> Basis | None:
    graded = rival is not None and rival.scores is not None
    return basis_against(rival.learned, graded_on, out_of_time=out_of_time) if rival and graded else None


def _run_of(version: ModelVersion) -> mlflow.entities.Run | None:
    """Return the run of a version, None if it has none or the run was deleted."""
    if not version.run_id:
        return None
    try:
        return MlflowClient().get_run(version.run_id)
    except MlflowException as error:
        if is_missing(error):
            return None
        raise


def _of_run(version: ModelVersion, run: mlflow.entities.Run | None, cohort: Origin) -> dict[str, Any]:
    """Return the fields of Graded that come from run and tags; `cohort` is the origin of the AUC on the gate cohort."""
    params, metrics = (run.data.params, run.data.metrics) if run else ({}, {})
    dates = params.get("labelled_dates", "")
    learned = learned_of(version.tags, int(dates) if dates.isdecimal() else None, label_days())
    known = {"out_of_fold_auc", "out_of_fold_auc_error"} <= metrics.keys()
    return {
        "recipe": params.get("recipe", ""),
        "learned": learned,
        "out_of_fold_auc": Estimate(metrics["out_of_fold_auc"], metrics["out_of_fold_auc_error"]) if known else None,
        "out_of_fold_differs": difference_of_origin(out_of_fold_origin(version.tags, learned), cohort),
    }


def _cohort_trained_on(version: ModelVersion) -> int | None:
    """Return how many customers of the gate cohort the version was trained on, None if unknown, as for a version
    registered by hand or trained by older code."""
    return int(in_cohort(read_trained_on(version.run_id)).sum()) if keeps_evidence(version.run_id) else None


def _online_problem(connection: Connection, store: FeatureStore, service: FeatureService) -> str | None:
    """Return why the served customers lack features of the candidate, None if they do not."""
    served = builds_of(connection).served()
    if served is None:
        return "nothing is served: run churn_materialize"
    as_of = served.as_of
    if is_of_other_code(connection, served):
        return f"AS_OF {as_of} is served as other code wrote it, perhaps without a feature: run churn_materialize"
    asked = {"event_timestamp": event_timestamp(as_of)}
    users = [user for (user,) in execute(connection, "gate/some_customers", asked)]
    missing = {name for found in read_online(store, service, users) for name in found.missing} if users else set()
    # Garbage collection would close the connection pool in another thread and log an error.
    asyncio.run(store.close())
    return f"AS_OF {as_of} is served without {', '.join(sorted(missing))}: run churn_materialize" if missing else None
