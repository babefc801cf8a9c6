"""report: the pictures of a decision and its model card, logged to the candidate's run.

The card follows Mitchell et al., "Model Cards for Model Reporting" (FAT* 2019). Its data come from gate.decisions, the
run and the registry. It does not change the decision.
"""

import hashlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from mlflow import MlflowClient

from churn import statistics
from churn.code import step_digest
from churn.features.store import open_offline_store
from churn.gate.basis import AS_SHIPPED
from churn.gate.decision_files import CANDIDATE_AS_SHIPPED, SCORES, folder_of
from churn.gate.identity import bound
from churn.outcome import DONE, UNCHANGED, Outcome
from churn.postgres.database import connect, execute
from churn.registry import client as registry
from churn.registry.evidence import EVIDENCE
from churn.registry.loading import load_pipeline
from churn.registry.model_version import ModelNotLoadable, ModelVersion
from churn.report.artifacts import Artifacts
from churn.report.importance import Importance, importance_of
from churn.report.page import render
from churn.report.pictures import Graded, draw_scores
from churn.report.pictures_of_checks import draw_differences, draw_importance, draw_slices
from churn.report.plotting import Picture
from churn.training.sample import cohorts_of
from churn.training.training_set import LABEL, TrainingSet, join_features

PAGE = "report.html"
IMPORTANCE = "importance.json"
"""Kept, because it cannot be computed any more once the graded rows change."""
SEAL = "seal.txt"
"""Digest of the report's inputs. It is written last, so a report without it is incomplete."""


class NotDecided(RuntimeError):
    """The gate has not decided on the version, or an earlier gate did, which kept too little."""


@dataclass(frozen=True)
class Record:
    """A candidate and the decision on it.

    Attributes:
        decision: the id in gate.decisions.
        report: the report in gate.decisions.
        trained_customers: number of customers in its training data, None if the run does not record it.
        contenders: name, params and metrics of each compared recipe, best first.
        lineage: lineage.json, empty if the run has none.
    """

    version: int
    run_id: str
    tags: Mapping[str, str]
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    decision: int
    report: Mapping[str, Any]
    features: Mapping[str, str]
    trained_customers: int | None
    contenders: Sequence[Mapping[str, Any]]
    lineage: Mapping[str, Any]

    @property
    def where(self) -> str:
        """The graded rows, in words."""
        report = self.report
        return f"The gate cohort on {report['graded_on']}: {report['rows']:,} rows, {report['churned']:,} left"

    @property
    def folder(self) -> str:
        """The report's folder among the run's artifacts."""
        return folder_of(self.decision)

    @property
    def seal(self) -> str:
        """The sha256 of all inputs of the report."""
        made_of = json.dumps([asdict(self), step_digest(__package__)], sort_keys=True)
        return hashlib.sha256(made_of.encode()).hexdigest()


def write_report(version: int, database_url: str) -> Outcome:
    """Draw each decision of the gate on a version, and log pictures and card to its run, beside that decision.

    UNCHANGED if every decision has a report of the same record by the same code.

    Raises:
        NotDecided: the gate has not decided on the version.
    """
    client = MlflowClient()
    model = registry.get_version(client, version)
    with connect(database_url) as connection:
        decided = execute(connection, "gate/reports", bound(model)).fetchall()
    if not decided:
        raise NotDecided(f"nothing in gate.decisions is about version {version}: run the gate on it first")
    drawn = [
        _write(client, model, decision, report, database_url, is_last=decision == decided[-1][0])
        for decision, report in decided
    ]
    figures = {"version": version, "run_id": model.run_id, "report": f"{folder_of(decided[-1][0])}/{PAGE}"}
    if not any(drawn):
        return Outcome(UNCHANGED, f"the report on version {version} was made of the same", figures)
    return Outcome(DONE, f"{sum(drawn)} pictures and the model card of version {version}", figures)


def _write(
    client: MlflowClient,
    model: ModelVersion,
    decision: int,
    report: Mapping[str, Any],
    database_url: str,
    *,
    is_last: bool,
) -> int:
    """Draw one decision and return the number of pictures, 0 if it was drawn before. Only the last decision is redrawn
    when the record changes."""
    folder = folder_of(decision)
    with tempfile.TemporaryDirectory() as directory:
        logged = Artifacts(model.run_id, Path(directory), (EVIDENCE, folder))
        if not logged.has(f"{folder}/{SCORES}"):
            if is_last:
                raise NotDecided(f"decision {decision}, on version {model.version}, is of a gate that kept less")
            return 0
        record = _read(client, model, logged, decision, report)
        seal = logged.text(f"{folder}/{SEAL}")
        if seal and (not is_last or seal == record.seal):
            return 0
        scores = logged.table(f"{folder}/{SCORES}")
        importance = _importance(model, record, logged, database_url)
    pictures = _draw(model, record, scores, importance)
    _log(client, record, pictures, importance)
    return len(pictures)


def _read(
    client: MlflowClient, model: ModelVersion, logged: Artifacts, decision: int, report: Mapping[str, Any]
) -> Record:
    run = client.get_run(model.run_id)
    nested = client.search_runs([run.info.experiment_id], f"tags.`mlflow.parentRunId` = '{model.run_id}'")
    contenders = [
        {"name": each.info.run_name, "params": dict(each.data.params), "metrics": dict(each.data.metrics)}
        for each in nested
    ]
    trained_on = logged.table(f"{EVIDENCE}/trained_on.parquet")
    return Record(
        version=model.version,
        run_id=model.run_id,
        tags=dict(model.tags),
        params=dict(run.data.params),
        metrics=dict(run.data.metrics),
        decision=decision,
        report=report,
        features=logged.json("feature_schema.json"),
        trained_customers=None if trained_on is None else len(trained_on),
        contenders=sorted(contenders, key=lambda each: (-each["metrics"].get("out_of_fold_auc", 0.0), each["name"])),
        lineage=logged.json("lineage.json"),
    )


def _importance(model: ModelVersion, record: Record, logged: Artifacts, database_url: str) -> Importance | None:
    """Return the feature importance of the registered model on the graded rows, None if the rows have changed or the
    model does not load."""
    kept = f"{record.folder}/{IMPORTANCE}"
    if logged.has(kept):
        return Importance.from_json(logged.json(kept))
    graded_on = date.fromisoformat(record.report["graded_on"])
    store = open_offline_store(database_url)
    service = store.get_feature_service(model.feature_service)
    with connect(database_url) as connection:
        table = join_features(
            connection, store, service, graded_on, model.as_of, sample=cohorts_of(connection, graded_on)
        )
    rows = TrainingSet(model.as_of, service, table)
    if rows.cohort_digest(graded_on) != model.tags.get("graded_digest"):
        return None
    try:
        pipeline = load_pipeline(model.version, database_url)
    except ModelNotLoadable:
        return None
    return importance_of(pipeline, rows.features(rows.cohort), rows.labels(rows.cohort))


def _draw(model: ModelVersion, record: Record, scores: pa.Table | None, importance: Importance | None) -> list[Picture]:
    report, limits = record.report, record.report["thresholds"]
    pictures: list[Picture | None] = []
    if scores is not None:
        graded = _graded(model, report, scores, record.where)
        pictures += draw_scores(graded)
        bases = {who: (report.get(who.lower()) or {}).get("basis") for who in graded.scores}
        against = {
            f"{graded.names[who]}{_comma(bases[who])}": difference
            for who, theirs in graded.scores.items()
            if who != "candidate" and (ours := _candidate(scores, bases[who])) is not None
            if (difference := statistics.auc_difference(graded.labels, ours, theirs))
        }
        if against:
            pictures.append(draw_differences(against, limits["max_auc_loss"], limits["confidence"], record.where))
    pictures.append(draw_slices(report["slices"], limits["max_slice_auc_loss"], record.where))
    if importance:
        pictures.append(draw_importance(importance, f"the gate cohort on {report['graded_on']}"))
    return [each for each in pictures if each]


def _graded(model: ModelVersion, report: Mapping[str, Any], scores: pa.Table, where: str) -> Graded:
    """Return the scores for the curves, with the candidate on the basis of its comparison with Production."""
    basis = report.get("basis")
    given = {
        "candidate": _candidate(scores, basis),
        "Production": _all(scores["production"]),
        "anchor": _all(scores["anchor"]),
    }
    known = {who: each for who, each in given.items() if each is not None and report.get(who.lower())}
    names = {who: f"{who} (version {report[who.lower()]['version']})" for who in known}
    if "candidate" in names:
        names["candidate"] += _comma(basis)
    return Graded(
        where=where,
        labels=scores[LABEL].to_numpy(),
        scores=known,
        names=names,
        threshold=model.threshold,
    )


def _candidate(scores: pa.Table, basis: str | None) -> np.ndarray | None:
    """Return the candidate's scores on the basis of a comparison. Without a twin, both bases have the same scores."""
    shipped = CANDIDATE_AS_SHIPPED
    if basis == AS_SHIPPED and shipped in scores.column_names and (found := _all(scores[shipped])) is not None:
        return found
    return _all(scores["candidate"])


def _all(scores: pa.ChunkedArray) -> np.ndarray | None:
    return None if scores.null_count else scores.to_numpy()


def _comma(basis: str | None) -> str:
    return f", {basis}" if basis else ""


def _log(client: MlflowClient, record: Record, pictures: Sequence[Picture], importance: Importance | None) -> None:
    with tempfile.TemporaryDirectory() as directory:
        files = {f"pictures/{each.name}.svg": each.svg for each in pictures}
        files[PAGE] = render(record, pictures)
        if importance:
            files[IMPORTANCE] = json.dumps(importance.to_json(), indent=1)
        for name, text in files.items():
            file = Path(directory) / name
            file.parent.mkdir(exist_ok=True)
            file.write_text(text, encoding="utf-8")
        client.log_artifacts(record.run_id, directory, record.folder)
    client.log_text(record.run_id, record.seal, f"{record.folder}/{SEAL}")
