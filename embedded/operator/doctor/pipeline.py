"""Checks of the pipeline: freshness of each step, held drops, erasures, Production, model registry, serving, the list
and the verdict on Production."""

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from churn.drops.holds.record import Hold, find_holds, what_to_do
from churn.features.redis.server import OnlineStoreAway
from churn.operations.deadline import GRACE, REPLACE, find_missing
from churn.operations.late import Late, find_late, in_words
from churn.operations.unended import END, Unended, find_unended, unended_in_words
from churn.registry.erased import erased_in_words
from churn.registry.model_version import ModelVersion
from churn.registry.state import Oddity
from embedded.environment import environment
from embedded.operator.as_of_state import AsOfState, as_of_states, served_as_of
from embedded.operator.doctor.airflow import given
from embedded.operator.doctor.finding import Finding, bad, ok, warn
from embedded.operator.doctor.outcomes import check_outcomes
from embedded.operator.doctor.scores import check_list
from embedded.operator.model_registry import production_among, registered_versions, registry_oddities
from embedded.operator.status import ready
from embedded.settings import Settings
from embedded.stack.process_manager import Process


def check_pipeline(settings: Settings, processes: Mapping[str, Process]) -> Iterator[Finding]:
    """Check the drops, snapshots, online features, decisions and erasures, then MLflow, serving, the list and its
    verdict."""
    url = environment(settings)["CHURN_DATABASE_URL"]
    now = datetime.now(UTC)
    missing = find_missing(settings.landing, url, _drop_every_days(processes), now)
    late = find_late(settings.landing, url, datetime.min.replace(tzinfo=UTC), now)
    yield judge_freshness(as_of_states(settings), _served(settings), missing, late, now)
    yield judge_held(list(find_holds(url).values()), settings.landing)
    yield judge_erasures(find_unended(url, now))
    versions = registered_versions(settings)
    production = production_among(versions)
    yield judge_production(production)
    yield judge_registry(registry_oddities(settings, versions))
    yield judge_serving(*ready(settings), production)
    yield check_list(settings, versions)
    yield from check_outcomes(settings, versions)


def _drop_every_days(processes: Mapping[str, Process]) -> int | None:
    """Return the CHURN_DROP_EVERY_DAYS of churn_deadline. The check of the DAGs reports an invalid one."""
    days = given(processes["airflow-dag-processor"], "CHURN_DROP_EVERY_DAYS")
    return int(days) if days and days.isdecimal() else None


def _served(settings: Settings) -> str:
    try:
        return str(served_as_of(settings) or "-")
    except OnlineStoreAway:
        return "unknown"  # the check of the online store shows why


def judge_freshness(
    states: list[AsOfState], served: str, missing: str | None, late: list[Late], now: datetime
) -> Finding:
    """Judge how far the chain is behind the drops. A step that is late for longer than GRACE needs a person.

    Args:
        served: the AS_OF that is served online, in words.
        missing: the drop that is overdue, in words.
    """
    drop = max((each.as_of for each in states if each.revision), default=None)
    newest = {
        "drop": drop,
        "snapshot": max((each.as_of for each in states if each.has_snapshot), default=None),
        "served": served,
        # Decisions remain after a withdrawal; those without a drop do not count.
        "decided on": max((each.as_of for each in states if each.decision and each.revision), default=None),
    }
    found = ", ".join(f"{what} {as_of or '-'}" for what, as_of in newest.items()) + _ago(drop, now)
    overdue = [each for each in late if each.since < now - GRACE]
    if missing or overdue:
        return bad("freshness", found, "; ".join(each for each in (missing, in_words(overdue)) if each))
    if late:
        return warn("freshness", f"{found}; {len(late)} drops are under way", "Airflow shows their runs")
    return ok("freshness", found)


def judge_held(holds: list[Hold], landing: Path) -> Finding:
    """Judge the held drops, which wait for a person."""
    if not holds:
        return ok("held drops", "none")
    return bad("held drops", "; ".join(map(str, holds)), what_to_do(landing))


def judge_erasures(unended: list[Unended]) -> Finding:
    """Judge the requests to erase customers that should have ended."""
    if not unended:
        return ok("erasures", "no request is overdue")
    return warn("erasures", unended_in_words(unended), END)


def _ago(as_of: date | None, now: datetime) -> str:
    return f" (the newest drop is {(now.date() - as_of).days} days old)" if as_of else ": no drop is loaded yet"


def judge_production(production: ModelVersion | None) -> Finding:
    if production is None:
        advice = "the gate promotes the first version that passes its checks; the gate board shows which check failed"
        return warn("Production", "no version is in stage Production", advice)
    found = f"version {production.version}, trained as of {production.tags.get('as_of') or 'an unknown date'}"
    erased = erased_in_words(production.tags)
    if why := production.tags.get("superseded"):
        return warn("Production", "; ".join(filter(None, (f"{found}, is superseded", erased))), why)
    if erased:
        return warn("Production", f"{found}, {erased}", REPLACE)
    return ok("Production", found)


def judge_registry(odd: list[Oddity]) -> Finding:
    """Judge manual changes in MLflow: bad if serving cannot load the version in Production."""
    if not odd:
        return ok("model registry", "stage Production, alias champion and tags agree")
    found, advice = "; ".join(dict.fromkeys(each.found for each in odd)), "; ".join(each.advice for each in odd)
    judge = bad if any(each.is_refused for each in odd) else warn
    return judge("model registry", found, advice)


def judge_serving(status: int | None, answer: dict[str, Any], production: ModelVersion | None) -> Finding:
    """Check that serving is ready and answers with the version in Production."""
    if status != 200:
        detail = answer.get("detail", answer)
        if status == 503 and production is None:
            return warn("serving", f"not ready: {detail}", "it becomes ready when a version is in Production")
        return bad("serving", f"not ready: {detail}", "see its log and make status")
    served = answer["model"]["version"]
    found = f"ready, with version {served}"
    if production and production.version != served:
        trouble = answer.get("trouble") or "it loads the version within SERVING_POLL_SECONDS; look again in a minute"
        return warn("serving", f"{found}, not {production.version}", trouble)
    if trouble := answer.get("trouble"):
        return warn("serving", f"{found}, but cannot load a newer one", trouble)
    return ok("serving", found)
