"""promote: carry out a decision PROMOTE. Production is moved only if it is still the version that was graded.

Stage Production first, then alias champion, then the tags: killed between any two, the next run finishes what is
missing and changes nothing else.
"""

import logging

from mlflow import MlflowClient

from churn import gate, registry
from churn.database import Connection, connect, execute, lock_session
from churn.grading import append_decision, grade, tag_decision, was_promoted
from churn.outcome import DONE, UNCHANGED, Outcome
from churn.registry import CHAMPION, MODEL_NAME, PRODUCTION

log = logging.getLogger(__name__)

KEPT = "KEPT"
"""Production was moved by somebody else while the candidate was graded; it stays where they put it."""


def promote(version: int, graded_against: int | None, reason: str, database_url: str) -> Outcome:
    """Move Production to `version` if it is still `graded_against` (None: still empty).

    Where the gate itself has moved Production on since, the version is graded again, against what is there now; where
    a person has, Production stays. A version in Production already only gets the alias and the tags that are missing.
    """
    client = MlflowClient()
    with connect(database_url, autocommit=True) as connection:
        # One promotion at a time; free again when this process ends.
        lock_session(connection, "promote")
        current = registry.production(client)
        moved = current is None or current.version != version
        if moved and was_promoted(registry.get_version(client, version)):
            return Outcome(
                KEPT,
                f"version {version} was in Production and was taken out of it: a person may bring it back",
                {"version": version},
            )
        found = current.version if current else None
        if moved and found != graded_against:
            if not _gate_moved(connection, graded_against, found):
                return _keep(version, graded_against, current, database_url)
            # Another candidate that was graded meanwhile came first: this one is compared with it, as in order.
            decided = grade(version, database_url)
            if decided.figures["decision"] != gate.PROMOTE:
                return Outcome(KEPT, decided.reason, {"version": version})
            graded_against, reason = found, decided.reason
        if moved:
            # With two versions in Production MLflow serves the higher number: the previous one must leave.
            client.transition_model_version_stage(MODEL_NAME, str(version), PRODUCTION, archive_existing_versions=True)
        _finish(client, version, reason)
    figures = {"version": version, "previous_version": graded_against}
    if moved:
        return Outcome(DONE, f"version {version} is in Production", figures)
    return Outcome(UNCHANGED, f"version {version} was in Production already", figures)


def _gate_moved(connection: Connection, since: int | None, current: int | None) -> bool:
    """Tell whether the gate's own promotions led from version `since` to `current`, no person's move among them."""
    seen = set()
    while current != since:
        if current is None or current in seen:
            return False
        seen.add(current)
        decision = execute(connection, "gate/latest_decision", {"version": current}).fetchone()
        if decision is None or decision[0] != gate.PROMOTE:
            return False
        current = decision[2]
    return True


def _finish(client: MlflowClient, version: int, reason: str) -> None:
    aliases = client.get_registered_model(MODEL_NAME).aliases
    if aliases.get(CHAMPION) != str(version):
        client.set_registered_model_alias(MODEL_NAME, CHAMPION, str(version))
    if registry.get_version(client, version).tags.get("gate.decision") != gate.PROMOTE:
        tag_decision(client, version, gate.PROMOTE, reason)


def _keep(
    version: int, graded_against: int | None, current: registry.ModelVersion | None, database_url: str
) -> Outcome:
    client = MlflowClient()
    candidate = registry.get_version(client, version)
    expected = f"version {graded_against}" if graded_against else "nothing"
    found = f"version {current.version}" if current else "nothing"
    reason = (
        f"version {version} was graded against {expected} in Production, which holds {found} by now: it was moved "
        "meanwhile; run this AS_OF again to compare with it"
    )
    log.warning(reason)
    tag_decision(client, version, gate.KEEP, reason)
    with connect(database_url) as connection:
        against = {"version": version, "production_version": graded_against}
        earlier = execute(connection, "gate/decision_against", against).fetchone()
        if earlier and earlier[0] == gate.KEEP:
            return Outcome(KEPT, reason, {"version": version})
        append_decision(connection, {
            "as_of": candidate.as_of,
            "candidate_version": version,
            "run_id": candidate.run_id,
            # Against the version that was graded: against the one there now, nothing is decided yet.
            "production_version": graded_against,
            "graded_on": candidate.tags["graded_on"],
            "outcome": gate.KEEP,
            "reason": reason,
            "candidate_auc": None,
            "production_auc": None,
            "report": "{}",
        })  # fmt: skip
    return Outcome(KEPT, reason, {"version": version})
