"""promote: carry out a decision PROMOTE, if Production has not moved since, is not pinned, and approval was not denied.

The order is: tag gate.promoting, stage Production, alias champion, tags of the decision, row in gate.moves. After a
kill between two steps, the next run completes the rest.
"""

import logging
from collections.abc import Mapping
from typing import Any

from mlflow import MlflowClient

from churn.gate import moves, rule
from churn.gate.approval import APPROVAL, Approval, from_tags, to_tag
from churn.gate.gathering import was_promoted
from churn.gate.grading import grade, tag_decision
from churn.gate.identity import Held, bound, held
from churn.outcome import DONE, UNCHANGED, Outcome
from churn.postgres.database import Connection, connect, execute, lock_session
from churn.registry import client as registry
from churn.registry.model_version import CHAMPION, MODEL_NAME, PRODUCTION, STAGING, ModelVersion
from churn.training.superseded import withdrawn_drops

log = logging.getLogger(__name__)

ARCHIVED = "Archived"
KEPT = "KEPT"
"""Production does not move: it is pinned, was moved meanwhile, or approval was denied."""


def promote(
    version: int,
    graded_against: int | None,
    reason: str,
    database_url: str,
    *,
    superior: bool = False,
    approval: Approval | None = None,
    decision_id: int | None = None,
) -> Outcome:
    """Move Production to `version` if it is still `graded_against` (None: still empty) and not pinned.

    If the gate has moved Production since, the version is graded again against the new Production. If a person has
    moved it, or has approved the old figures, Production does not move. A version that is in Production already only
    gets missing aliases, tags and records.

    Args:
        superior: the version was shown to be better than Production, or is the first.
        approval: the answer to the request for approval, None without a request.
        decision_id: the decision in gate.decisions; None: the last one on the version.
    """
    client = MlflowClient()
    with connect(database_url, autocommit=True) as connection:
        # One promotion or rollback at a time.
        lock_session(connection, moves.PROMOTE_LOCK)
        current, candidate = registry.production(client), registry.get_version(client, version)
        found = current.version if current else None
        against = {**bound(candidate), "production_version": graded_against, "decision": decision_id}
        run_id, graded = _graded(connection, against)
        if current and found == version and run_id == candidate.run_id:
            return _finish(client, connection, current, reason)
        moves.settle(connection, client, current)
        if refused := _refused(client, connection, candidate, against, approval=approval, run_id=run_id):
            return refused
        now = held(current.version, current.run_id) if current else None
        moved = (now is not None) if graded is None else not graded.same(now)
        if moved:
            if approval or not moves.led_by_gate(connection, graded, now):
                return _keep(client, connection, candidate, against, _moved_meanwhile(graded_against, found))
            # Another candidate was promoted meanwhile: compare with it.
            decided = _grade_again(connection, candidate, decision_id, database_url)
            if decided.figures["decision"] != rule.PROMOTE:
                return _kept(version, decided.reason, graded_again=True)
            reason, superior = decided.reason, bool(decided.figures.get("superior"))
        if approval:
            client.set_model_version_tag(MODEL_NAME, str(version), APPROVAL, to_tag(approval))
            reason = approval.consent(reason)
        client.set_model_version_tag(MODEL_NAME, str(version), moves.PROMOTING, str(found))
        # Archive the previous version: of two in Production, MLflow returns the higher number.
        client.transition_model_version_stage(MODEL_NAME, str(version), PRODUCTION, archive_existing_versions=True)
        _label(client, version, reason)
        who = approval.who if approval else None
        moves.append(connection, moves.PROMOTION, candidate, who or moves.GATE, reason, superior=superior)
    figures = {"version": version, "previous_version": found, "graded_again": moved}
    return Outcome(DONE, f"version {version} is in Production", figures)


def _refused(
    client: MlflowClient,
    connection: Connection,
    candidate: ModelVersion,
    against: Mapping[str, Any],
    *,
    approval: Approval | None,
    run_id: str,
) -> Outcome | None:
    """Return the outcome if the decision is about another run's version, approval was denied, or the gate must not move
    Production; None if it may."""
    if run_id != candidate.run_id:
        return _kept(candidate.version, _made_again(candidate, run_id))
    if approval and not approval.approved:
        return _keep(client, connection, candidate, against, approval.refusal)
    why = _why_not(client, connection, candidate)
    return _kept(candidate.version, why) if why else None


def _graded(connection: Connection, against: Mapping[str, Any]) -> tuple[str, Held | None]:
    """Return the run of the decision, and the Production that it was graded against. Without a recorded decision, only
    the version numbers are known."""
    row = execute(connection, "gate/graded_against", against).fetchone()
    run_id, production_run_id = row or (against["run_id"], None)
    return run_id, held(against["production_version"], production_run_id)


def _made_again(candidate: ModelVersion, run_id: str) -> str:
    return (
        f"the decision is about version {candidate.version} of run {run_id}, and {MODEL_NAME} holds another version of "
        f"that number, of run {candidate.run_id or 'none'}: the model was deleted and made again, or MLflow was "
        "restored; run this AS_OF again"
    )


def _grade_again(
    connection: Connection, candidate: ModelVersion, decision_id: int | None, database_url: str
) -> Outcome:
    """Decide again with the thresholds of that decision."""
    found = execute(connection, "gate/latest_report", {**bound(candidate), "decision": decision_id}).fetchone()
    report = found[2] if found else {}
    return grade(candidate.version, database_url, report.get("overridden"), report.get("overridden_by"))


def _finish(client: MlflowClient, connection: Connection, current: ModelVersion, reason: str) -> Outcome:
    """Complete a killed promotion of the version in Production."""
    decision = execute(connection, "gate/latest_decision", bound(current)).fetchone()
    if decision and decision[0] == rule.PROMOTE:
        reason = decision[1]
    approved = from_tags(current.tags)
    _label(client, current.version, approved.consent(reason) if approved else reason)
    moves.settle(connection, client, current)
    return Outcome(UNCHANGED, f"version {current.version} was in Production already", {"version": current.version})


def _label(client: MlflowClient, version: int, reason: str) -> None:
    move_champion(client, version)
    if registry.get_version(client, version).tags.get("gate.decision") != rule.PROMOTE:
        tag_decision(client, version, rule.PROMOTE, reason)


def move_champion(client: MlflowClient, version: int) -> None:
    """Point alias champion at `version`."""
    if client.get_registered_model(MODEL_NAME).aliases.get(CHAMPION) != str(version):
        client.set_registered_model_alias(MODEL_NAME, CHAMPION, str(version))


def _why_not(client: MlflowClient, connection: Connection, candidate: ModelVersion) -> str | None:
    """Return why the gate must not move this version to Production, None if it may."""
    recorded = execute(connection, "gate/was_promoted", bound(candidate)).fetchone()
    if was_promoted(candidate) or recorded:
        return (
            f"version {candidate.version} was in Production and was taken out of it: a person may bring it back "
            f"(make rollback VERSION={candidate.version})"
        )
    if withdrawn := withdrawn_drops(connection, candidate):
        return (
            f"version {candidate.version} was trained with the drop of {', '.join(map(str, withdrawn))}, which was "
            "withdrawn: run the newest AS_OF that is left again"
        )
    pinned = moves.pin(client)
    return f"version {candidate.version} would be promoted, but {pinned}, then run its AS_OF again" if pinned else None


def _moved_meanwhile(graded_against: int | None, found: int | None) -> str:
    expected, holds = (f"version {version}" if version else "nothing" for version in (graded_against, found))
    return (
        f"it was graded against {expected} in Production, which now holds {holds}: it was moved "
        "meanwhile; run this AS_OF again to compare with it"
    )


def _keep(
    client: MlflowClient, connection: Connection, candidate: ModelVersion, decided: Mapping[str, Any], why: str
) -> Outcome:
    """Set the decision PROMOTE aside: update tags and stage, and record KEEP against the Production of that decision,
    not against the present one."""
    reason = f"version {candidate.version}: {why}"
    log.warning(reason)
    tag_decision(client, candidate.version, rule.KEEP, reason)
    if candidate.stage == STAGING:
        client.transition_model_version_stage(MODEL_NAME, str(candidate.version), ARCHIVED)
    execute(connection, "gate/append_keep", {**decided, "reason": reason})
    return _kept(candidate.version, reason)


def _kept(version: int, reason: str, *, graded_again: bool = False) -> Outcome:
    return Outcome(KEPT, reason, {"version": version, "graded_again": graded_again})
