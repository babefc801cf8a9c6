"""gate: gather the evidence on a candidate, decide, and put the decision on record."""

import json
import logging
from collections.abc import Mapping
from datetime import date
from typing import Any

import mlflow
from feast import FeatureService, FeatureStore
from feast.errors import FeatureServiceNotFoundException
from mlflow import MlflowClient

from churn import gate, recipe, registry
from churn.cohort import SALT
from churn.database import Connection, connect, execute, lock
from churn.features import feature_types, open_store
from churn.outcome import DONE, UNCHANGED, Outcome
from churn.registration import Evidence, signature_of
from churn.registry import MODEL_NAME, STAGING, ModelVersion
from churn.training_set import LABEL, TrainingSet, digest_of, join_features

log = logging.getLogger(__name__)

REPORT = "gate/report.json"


class StaleCandidate(RuntimeError):
    """A candidate that was graded on data that have changed since."""


class GateInvalid(RuntimeError):
    """The comparison cannot be trusted; the decision INVALID is on record."""


def grade(version: int, database_url: str) -> Outcome:
    """Decide on a candidate, record the decision (gate.decisions, the version's tags, an artifact of its run), and
    return it.

    The same candidate was decided on against the same Production before: that decision holds, nothing is added.

    Raises:
        GateInvalid: the decision is INVALID. It is recorded first.
        StaleCandidate: labels or features of the graded rows changed since the candidate was trained.
    """
    with connect(database_url) as connection:
        # Of two that decide on the same candidate at once, the second finds the decision of the first.
        lock(connection, "grade", str(version))
        return _grade(version, connection, database_url)


def _grade(version: int, connection: Connection, database_url: str) -> Outcome:
    client = MlflowClient()
    candidate = registry.get_version(client, version)
    production = registry.production(client)
    earlier = _earlier_decision(connection, candidate, production)
    if earlier:
        outcome, reason, graded_against = earlier
        figures = {"decision": outcome, "version": version, "production_version": graded_against}
        result = Outcome(UNCHANGED, reason, figures)
    else:
        evidence = _gather(candidate, production, database_url)
        decision = gate.decide(evidence)
        outcome, reason = decision.outcome, decision.reason
        _record(candidate, production, evidence, decision, database_url)
        figures = {
            "decision": outcome,
            "version": version,
            "production_version": production.version if production else None,
            "candidate_auc": decision.candidate_auc,
            "production_auc": decision.production_auc,
        }
        result = Outcome(DONE, reason, figures)
    log.info("%s version %d: %s", outcome, version, reason)
    if outcome == gate.INVALID:
        raise GateInvalid(f"version {version}: {reason}")
    return result


def _earlier_decision(
    connection: Connection, candidate: ModelVersion, production: ModelVersion | None
) -> tuple[str, str, int | None] | None:
    """Return outcome, reason and graded Production of the decision that still holds."""
    if production and production.version == candidate.version:
        found = execute(connection, "gate/latest_decision", {"version": candidate.version}).fetchone()
        return found or (gate.PROMOTE, f"version {candidate.version} is in Production", candidate.version)
    against = {"version": candidate.version, "production_version": production.version if production else None}
    found = execute(connection, "gate/decision_against", against).fetchone()
    if found and found[0] == gate.PROMOTE and was_promoted(candidate):
        # It was in Production, and a person put back what it had replaced: that is news.
        return None
    return found


def was_promoted(version: ModelVersion) -> bool:
    """Tell whether the version was in Production; the tag is the last step of a promotion."""
    return version.tags.get("gate.decision") == gate.PROMOTE


def _gather(candidate: ModelVersion, production: ModelVersion | None, database_url: str) -> gate.Evidence:
    store = open_store(database_url)
    service = store.get_feature_service(candidate.feature_service)
    rows = _graded_rows(candidate, service, store, database_url)
    if digest_of(rows.cohort_rows(_graded_on(candidate))) != candidate.tags["graded_digest"]:
        raise StaleCandidate(
            f"the gate cohort's rows on {_graded_on(candidate)} changed since version {candidate.version} "
            "was trained: clear the task train"
        )
    grades = Evidence.read(candidate.run_id).grades
    return gate.Evidence(
        candidate=candidate.version,
        as_of=candidate.as_of,
        signature=_signature(mlflow.models.get_model_info(f"models:/{MODEL_NAME}/{candidate.version}").signature),
        service_signature=_signature(signature_of(feature_types(service))),
        graded_on=_graded_on(candidate),
        out_of_time=candidate.tags["graded_out_of_time"] == "True",
        labels=grades[LABEL].to_numpy(),
        scores=grades["score"].to_numpy(),
        production=_grade_production(production, candidate, rows, store, database_url) if production else None,
        was_promoted=was_promoted(candidate),
        load_problem=_load_problem(candidate.version),
    )


def _graded_on(candidate: ModelVersion) -> date:
    return date.fromisoformat(candidate.tags["graded_on"])


def _signature(signature: Any) -> list[tuple[str, str]]:
    return [(column.name, column.type.name) for column in signature.inputs] if signature else []


def _load_problem(version: int) -> str | None:
    try:
        registry.load_pipeline(version)
    except registry.ModelNotLoadable as error:
        return str(error)
    return None


def _graded_rows(
    candidate: ModelVersion, service: FeatureService, store: FeatureStore, database_url: str
) -> TrainingSet:
    """Return the rows of the date that the candidate was graded on, with the features of `service`."""
    with connect(database_url) as connection:
        table = join_features(connection, store, service, _graded_on(candidate), candidate.as_of)
    return TrainingSet(candidate.as_of, service, table)


def _grade_production(
    production: ModelVersion, candidate: ModelVersion, rows: TrainingSet, store: FeatureStore, database_url: str
) -> gate.Production:
    """Score the customers of `rows`, the candidate's, by Production, with the features of its own feature service."""
    try:
        as_of = production.as_of
    except (registry.ModelNotLoadable, ValueError) as error:
        return gate.Production(production.version, date.min, problem=str(error))
    if production.tags.get("cohort_salt") != SALT:
        problem = f"its cohort salt is {production.tags.get('cohort_salt')!r}: it may have trained on the gate cohort"
        return gate.Production(production.version, as_of, problem=problem)
    try:
        if production.feature_service != rows.service.name:
            service = store.get_feature_service(production.feature_service)
            rows = _graded_rows(candidate, service, store, database_url)
        scores = recipe.score(registry.load_pipeline(production.version), rows.features(rows.cohort))
    except (registry.ModelNotLoadable, FeatureServiceNotFoundException, ValueError) as error:
        # A Production that cannot be graded is a finding for a person; a server that is away is for a retry.
        return gate.Production(production.version, as_of, problem=f"{type(error).__name__}: {error}")
    return gate.Production(production.version, as_of, scores)


def _record(
    candidate: ModelVersion,
    production: ModelVersion | None,
    evidence: gate.Evidence,
    decision: gate.Decision,
    database_url: str,
) -> None:
    """Write the decision down. A PROMOTE gets its tags by the promotion, which they are the last step of."""
    client = MlflowClient()
    report = decision.to_json()
    client.log_dict(candidate.run_id, report, REPORT)
    if decision.outcome != gate.PROMOTE and not evidence.was_promoted:
        tag_decision(client, candidate.version, decision.outcome, decision.reason)
    if decision.needs_person:
        client.transition_model_version_stage(MODEL_NAME, str(candidate.version), STAGING)
    with connect(database_url) as connection:
        append_decision(
            connection,
            {
                "as_of": candidate.as_of,
                "candidate_version": candidate.version,
                "run_id": candidate.run_id,
                "production_version": production.version if production else None,
                "graded_on": evidence.graded_on,
                "outcome": decision.outcome,
                "reason": decision.reason,
                "candidate_auc": decision.candidate_auc,
                "production_auc": decision.production_auc,
                "report": json.dumps(report),
            },
        )


def tag_decision(client: MlflowClient, version: int, outcome: str, reason: str) -> None:
    """Tag a version with the decision on it."""
    client.set_model_version_tag(MODEL_NAME, str(version), "gate.reason", reason)
    client.set_model_version_tag(MODEL_NAME, str(version), "gate.decision", outcome)


def append_decision(connection: Connection, row: Mapping[str, Any]) -> None:
    """Append a row to gate.decisions."""
    execute(connection, "gate/append_decision", row)
