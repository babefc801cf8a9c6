"""gate: gather the evidence on a candidate, decide, and record the decision."""

import json
import logging
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from mlflow import MlflowClient

from churn.drops.withdrawal import is_withdrawn
from churn.gate import moves, rule
from churn.gate.decision_files import CANDIDATE_AS_SHIPPED, REPORT, SCORES, folder_of
from churn.gate.gathering import Gathered, Rivals, StaleCandidate, gather, was_promoted
from churn.gate.identity import Held, bound
from churn.gate.thresholds import ThresholdError, Thresholds
from churn.outcome import DONE, UNCHANGED, Outcome
from churn.postgres.database import Connection, connect, execute, lock_session, one
from churn.postgres.personal_data import writing_personal_data
from churn.registry import client as registry
from churn.registry.model_version import MODEL_NAME, STAGING, ModelVersion
from churn.statistics import Estimate
from churn.training.training_set import LABEL

__all__ = [
    "GateInvalid",
    "StaleCandidate",
    "ThresholdError",
    "grade",
    "tag_decision",
]

log = logging.getLogger(__name__)


class GateInvalid(RuntimeError):
    """The comparison cannot be trusted; the decision INVALID is recorded."""


def grade(
    version: int,
    database_url: str,
    overrides: Mapping[str, Any] | None = None,
    overridden_by: str | None = None,
    run_id: str | None = None,
) -> Outcome:
    """Decide on a candidate and record the decision in gate.decisions, the version's tags and artifacts of its run.

    An earlier decision on the same candidate, Production, pin and thresholds still holds and is returned as UNCHANGED,
    unless it failed on a temporary condition such as a slow machine.

    Args:
        overrides: thresholds of this run that replace the defaults, by name.
        overridden_by: the user who set them.
        run_id: the expected run of the version; None: any.

    Returns:
        The decision; `decision_id` is its row in gate.decisions.

    Raises:
        GateInvalid: the decision is INVALID. It is recorded first.
        StaleCandidate: labels or features of the graded rows changed since the training, or the version is of another
            run.
        ThresholdError: an override is invalid.
    """
    asked = _Asked(Thresholds().override(overrides or {}), dict(overrides or {}), overridden_by)
    with connect(database_url, autocommit=True) as connection:
        # A separate connection: it holds PROMOTE_LOCK until it is closed.
        moves.notice(connection, MlflowClient())
    with writing_personal_data(database_url), connect(database_url, autocommit=True) as connection:
        # A concurrent run on the same candidate waits, then finds this decision. A session lock, because the server may
        # end a transaction that idles while models score.
        lock_session(connection, "grade", str(version))
        return _grade(version, run_id, asked, connection, database_url)


@dataclass(frozen=True)
class _Asked:
    """The thresholds of this run, the overridden ones among them, and the user who set those."""

    thresholds: Thresholds
    overridden: Mapping[str, Any]
    by: str | None


def _grade(version: int, run_id: str | None, asked: _Asked, connection: Connection, database_url: str) -> Outcome:
    client = MlflowClient()
    candidate = registry.get_version(client, version)
    if run_id not in (None, candidate.run_id):
        raise StaleCandidate(
            f"version {version} is of run {candidate.run_id or 'none'}, and {run_id} was trained: the model was "
            "deleted and made again; run this AS_OF again"
        )
    production = registry.production(client)
    rivals = _rivals(connection, client, production)
    earlier = _earlier_decision(connection, candidate, rivals, asked)
    if earlier:
        outcome, reason, graded_against, superior, number = earlier
        figures: dict[str, Any] = {
            "decision": outcome,
            "decision_id": number,
            "version": version,
            "production_version": graded_against,
            "superior": superior,
        }
        result = Outcome(UNCHANGED, reason, figures)
    else:
        gathered = gather(candidate, rivals, database_url)
        decision = rule.decide(gathered.evidence, asked.thresholds)
        if decision.outcome == rule.PROMOTE:
            decision = rule.with_audit(decision, gathered.open_audit())
        report = {**decision.to_json(), "overridden": asked.overridden, "overridden_by": asked.by}
        number = _record(candidate, gathered, decision, report, connection)
        outcome, reason = decision.outcome, decision.reason
        figures = {
            "decision": outcome,
            "decision_id": number,
            "version": version,
            "production_version": production.version if production else None,
            "superior": decision.superior,
            "basis": report["basis"],
            "candidate_auc": _value(decision.candidate_auc),
            "production_auc": _value(decision.production_auc),
        }
        result = Outcome(DONE, reason, figures)
    log.info("%s version %d: %s", outcome, version, reason)
    if outcome == rule.INVALID:
        raise GateInvalid(f"version {version}: {reason}")
    return result


def _rivals(connection: Connection, client: MlflowClient, production: ModelVersion | None) -> Rivals:
    anchor = moves.anchor(connection)
    pin = moves.pin(client)
    # Without a known AS_OF it cannot be compared, which the checks report.
    as_of = production.known_as_of if production else None
    return Rivals(
        production,
        _find(client, anchor) if production and anchor else None,
        str(pin) if pin else None,
        as_of is not None and is_withdrawn(connection, as_of),
    )


def _find(client: MlflowClient, anchor: Held) -> ModelVersion:
    """Return the anchor; without tags if it was deleted, or if another run has its number now."""
    found = registry.find_version(client, anchor.version)
    return found if anchor.same(found) else ModelVersion(anchor.version, anchor.run_id or "", "None", {})


def _earlier_decision(
    connection: Connection, candidate: ModelVersion, rivals: Rivals, asked: _Asked
) -> tuple[str, str, int | None, bool, int | None] | None:
    """Return outcome, reason, graded Production, superior and id of the decision that still holds."""
    production, anchor = rivals.production, rivals.anchor or rivals.production
    if production and production.version == candidate.version:
        found = execute(connection, "gate/latest_decision", bound(candidate)).fetchone()
        return found or (rule.PROMOTE, f"version {candidate.version} is in Production", candidate.version, False, None)
    against = {
        **bound(candidate),
        "production_version": production.version if production else None,
        "production_run_id": production.run_id if production else None,
        "production_withdrawn": rivals.production_withdrawn,
        "anchor": anchor.version if anchor else None,
        "anchor_run_id": anchor.run_id if anchor else None,
        "pinned": rivals.pinned,
        "overridden": json.dumps(asked.overridden),
        "thresholds": json.dumps(asdict(asked.thresholds)),
    }
    found = execute(connection, "gate/decision_against", against).fetchone()
    if found and found[0] == rule.PROMOTE and was_promoted(candidate):
        # It was in Production and a person rolled it back: decide again.
        return None
    return found


def _record(
    candidate: ModelVersion,
    gathered: Gathered,
    decision: rule.Decision,
    report: Mapping[str, Any],
    connection: Connection,
) -> int:
    """Record the decision and return its id. The tags of a PROMOTE are set by the promotion."""
    client = MlflowClient()
    production = decision.evidence.production
    difference = decision.against_production.auc if decision.against_production else None
    number: int = one(connection, "gate/next_decision")[0]
    row = {
        "id": number,
        "as_of": candidate.as_of,
        "candidate_version": candidate.version,
        "run_id": candidate.run_id,
        "production_version": production.version if production else None,
        "production_run_id": production.run_id if production else None,
        "graded_on": decision.evidence.graded_on,
        "outcome": decision.outcome,
        "reason": decision.reason,
        "superior": decision.superior,
        "overridden": json.dumps(report["overridden"]),
        "report": json.dumps(report),
        **_columns("candidate_auc", decision.candidate_auc),
        **_columns("production_auc", decision.production_auc),
        **_columns("auc_difference", difference),
    }
    # The row comes last, so that the artifacts exist when others read it.
    client.log_dict(candidate.run_id, dict(report), f"{folder_of(number)}/{REPORT}")
    _log_scores(client, candidate.run_id, gathered, folder_of(number))
    if decision.outcome != rule.PROMOTE and not decision.evidence.was_promoted:
        tag_decision(client, candidate.version, decision.outcome, decision.reason)
    if decision.needs_person:
        client.transition_model_version_stage(MODEL_NAME, str(candidate.version), STAGING)
    execute(connection, "gate/append_decision", row)
    return number


def _log_scores(client: MlflowClient, run_id: str, gathered: Gathered, folder: str) -> None:
    """Log the scores of every model on the graded rows, for the pictures."""
    evidence = gathered.evidence
    columns: dict[str, Any] = {"user_id": gathered.users, LABEL: evidence.labels}
    for name, scores in {
        "candidate": evidence.candidate.scores,
        CANDIDATE_AS_SHIPPED: evidence.candidate.shipped,
        "production": evidence.production and evidence.production.scores,
        "anchor": evidence.anchor and evidence.anchor.scores,
    }.items():
        given = np.full(len(evidence.labels), np.nan) if scores is None else scores
        columns[name] = pa.array(given, pa.float64(), from_pandas=True)
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / SCORES
        pyarrow.parquet.write_table(pa.table(columns), file, compression="zstd")
        client.log_artifact(run_id, str(file), folder)


def _columns(name: str, estimate: Estimate | None) -> dict[str, float | None]:
    return {name: _value(estimate), f"{name}_error": estimate.error if estimate else None}


def _value(estimate: Estimate | None) -> float | None:
    return estimate.value if estimate else None


def tag_decision(client: MlflowClient, version: int, outcome: str, reason: str) -> None:
    """Tag a version with the decision on it."""
    client.set_model_version_tag(MODEL_NAME, str(version), "gate.reason", reason)
    client.set_model_version_tag(MODEL_NAME, str(version), "gate.decision", outcome)
