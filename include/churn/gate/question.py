"""The request to approve a decision PROMOTE.

Approval is requested only for the newest loaded drop, so a backfill requests none. While the request is open, the
candidate is in stage Staging.
"""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlflow import MlflowClient

from churn.gate import moves
from churn.gate.approval import WAIT
from churn.gate.identity import bound
from churn.postgres.database import connect, execute, one
from churn.registry import client as registry
from churn.registry.model_version import MODEL_NAME, PRODUCTION, STAGING, ModelVersion
from churn.training.uses import used_by

log = logging.getLogger(__name__)

AUC = "AUC on the gate cohort (95 %)"


@dataclass(frozen=True)
class Question:
    """The text of the request; the body is Markdown."""

    subject: str
    body: str


def ask(version: int, database_url: str, decision_id: int | None = None) -> Question | None:
    """Move a candidate to stage Staging and return the request for approval.

    Args:
        decision_id: the decision in gate.decisions; None: the last one on the version.

    Returns:
        None if no approval is needed: the newest loaded drop does not use the candidate, the candidate is in
        Production, or Production is pinned.
    """
    client = MlflowClient()
    candidate = registry.get_version(client, version)
    with connect(database_url) as connection:
        newest = one(connection, "gate/newest_drop")[0]
        decided = execute(connection, "gate/latest_report", {**bound(candidate), "decision": decision_id}).fetchone()
    if newest not in used_by(candidate.tags):
        log.info("no approval for AS_OF %s: the newest drop is %s", candidate.as_of, newest)
        return None
    if decided is None or candidate.stage == PRODUCTION or moves.pin(client):
        log.info("no approval for version %d: no decision, in Production already, or Production is pinned", version)
        return None
    if candidate.stage != STAGING:
        client.transition_model_version_stage(MODEL_NAME, str(version), STAGING)
    _, reason, report = decided
    subject = f"Promote version {version} of {MODEL_NAME}, AS_OF {candidate.as_of}, to Production?"
    return Question(subject, _body(client, candidate, reason, report))


def _body(client: MlflowClient, candidate: ModelVersion, reason: str, report: Mapping[str, Any]) -> str:
    checks = [
        (check["name"], check.get("outcome"), check.get("figure"), check.get("threshold"), check["sentence"])
        for check in report.get("checks", ())
    ]
    models = [
        (name, model.get("version"), model.get("as_of"), _interval(model.get("auc")), model.get("basis"),
         _interval(model.get("candidate_auc")))
        for name in ("candidate", "production", "anchor")
        if isinstance(model := report.get(name), Mapping)
    ]  # fmt: skip
    parts = [
        f"The gate's decision is PROMOTE: {reason}",
        _table(("", "version", "AS_OF", AUC, "compared", "candidate's AUC, so compared"), models) if models else "",
        f"AUC difference, candidate less Production: {_interval(report.get('difference'))}",
        _table(("check", "outcome", "figure", "threshold", "what it says"), checks),
        f"Thresholds that this run was given: {report['overridden']}" if report.get("overridden") else "",
        _link(client, candidate),
        f"Without an answer within {WAIT.total_seconds() / 3600:.0f} hours Production stays as it is.",
    ]
    return "\n\n".join(part for part in parts if part)


def _link(client: MlflowClient, candidate: ModelVersion) -> str:
    mlflow_url = os.environ.get("MLFLOW_URL")
    if not mlflow_url:
        return f"Its run in MLflow: {candidate.run_id}"
    experiment = client.get_run(candidate.run_id).info.experiment_id
    return f"[Its run in MLflow]({mlflow_url}/#/experiments/{experiment}/runs/{candidate.run_id})"


def _interval(interval: Any) -> str:
    if not isinstance(interval, Mapping):
        return "none"
    return f"{interval['value']:.3f} ({interval['low']:.3f} to {interval['high']:.3f})"


def _table(header: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    lines = [header, tuple("---" for _ in header), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        # The columns of a signature are too long for the table.
        return f"{len(value)} names"
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text.replace("|", "\\|").replace("\n", " ")
