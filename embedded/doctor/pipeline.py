"""What the pipeline holds: how fresh each step is, what is in Production, and what serving answers with."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from churn.drops.holds.record import Hold, find_holds, what_to_do
from churn.features.redis.server import OnlineStoreAway
from churn.operations.deadline import GRACE, Late, find_late, find_missing, in_words
from churn.registry.model_version import ModelVersion
from churn.registry.state import Oddity, in_production
from embedded.doctor.airflow import given
from embedded.doctor.finding import Finding, bad, ok, warn
from embedded.environment import environment
from embedded.process_manager import Process
from embedded.settings import Settings
from embedded.status import (
    AsOfState,
    Superseded,
    as_of_states,
    ready,
    registered_versions,
    registry_oddities,
    served_as_of,
    superseded_versions,
)


@dataclass(frozen=True)
class Version:
    """A version in stage Production, and the AS_OF that it was trained at; None where its tag does not say."""

    version: int
    as_of: str | None


def check_pipeline(settings: Settings, processes: Mapping[str, Process]) -> Iterator[Finding]:
    """Compare drops, snapshots, online features and decisions; then MLflow and serving."""
    url = environment(settings)["CHURN_DATABASE_URL"]
    now = datetime.now(UTC)
    missing = find_missing(settings.landing, url, _drop_every_days(processes), now)
    late = find_late(settings.landing, url, datetime.min.replace(tzinfo=UTC), now)
    yield judge_freshness(as_of_states(settings), _served(settings), missing, late, now)
    yield judge_held(list(find_holds(url).values()), settings.landing)
    versions = registered_versions(settings)
    production = _production(versions)
    yield judge_production(production, superseded_versions(settings))
    yield judge_registry(registry_oddities(settings, versions))
    yield judge_serving(*ready(settings), production)


def _drop_every_days(processes: Mapping[str, Process]) -> int | None:
    """What churn_deadline goes by; what is no number, the check of the DAGs tells."""
    days = given(processes["airflow-dag-processor"], "CHURN_DROP_EVERY_DAYS")
    return int(days) if days and days.isdecimal() else None


def _served(settings: Settings) -> str:
    try:
        return str(served_as_of(settings) or "-")
    except OnlineStoreAway:
        return "unknown"  # its own check says why


def judge_freshness(
    states: list[AsOfState], served: str, missing: str | None, late: list[Late], now: datetime
) -> Finding:
    """Judge how far the chain is behind the drops: what is late for longer than GRACE will not come by itself.

    Args:
        served: the AS_OF that is served online, in words.
        missing: which drop was promised and did not come, in words.
    """
    drop = max((each.as_of for each in states if each.revision), default=None)
    newest = {
        "drop": drop,
        "snapshot": max((each.as_of for each in states if each.has_snapshot), default=None),
        "served": served,
        # A decision about a drop that was withdrawn stays.
        "decided on": max((each.as_of for each in states if each.decision and each.revision), default=None),
    }
    found = ", ".join(f"{what} {as_of or '-'}" for what, as_of in newest.items()) + _ago(drop, now)
    overdue = [each for each in late if each.since < now - GRACE]
    if missing or overdue:
        return bad("freshness", found, "; ".join(each for each in (missing, in_words(overdue)) if each))
    if late:
        return warn(
            "freshness", f"{found}; {len(late)} drops are under way", "make status, or Airflow, shows their runs"
        )
    return ok("freshness", found)


def judge_held(holds: list[Hold], landing: Path) -> Finding:
    """Judge the drops that wait for a person: nothing else goes on with them."""
    if not holds:
        return ok("held drops", "none")
    return bad("held drops", "; ".join(map(str, holds)), what_to_do(landing))


def _ago(as_of: date | None, now: datetime) -> str:
    return f" (the newest drop is {(now.date() - as_of).days} days old)" if as_of else ": no drop is loaded yet"


def _production(versions: list[ModelVersion]) -> Version | None:
    found = in_production(versions)
    return Version(found[-1].version, found[-1].tags.get("as_of")) if found else None


def judge_production(production: Version | None, superseded: list[Superseded]) -> Finding:
    if production is None:
        advice = "the gate promotes the first version that passes its checks; the gate board says what held it back"
        return warn("Production", "no version is in stage Production", advice)
    found = f"version {production.version}, trained as of {production.as_of or 'an unknown date'}"
    why = next((each.why for each in superseded if each.version == production.version), None)
    return warn("Production", f"{found}, is superseded", why) if why else ok("Production", found)


def judge_registry(odd: list[Oddity]) -> Finding:
    """Judge what people set in MLflow by hand: bad where serving cannot load what is in Production."""
    if not odd:
        return ok("model registry", "stage Production, alias champion and tags agree")
    found, advice = "; ".join(dict.fromkeys(each.found for each in odd)), "; ".join(each.advice for each in odd)
    judge = bad if any(each.is_refused for each in odd) else warn
    return judge("model registry", found, advice)


def judge_serving(status: int | None, answer: dict[str, Any], production: Version | None) -> Finding:
    """Judge whether serving can answer, and whether it does with the version in Production."""
    if status != 200:
        detail = answer.get("detail", answer)
        if status == 503 and production is None:
            return warn("serving", f"not ready: {detail}", "it is when a version is in Production")
        return bad("serving", f"not ready: {detail}", "its log, and make status, say more")
    served = answer["model"]["version"]
    found = f"ready, with version {served}"
    if production and production.version != served:
        trouble = answer.get("trouble") or "it follows within SERVING_POLL_SECONDS; look again in a minute"
        return warn("serving", f"{found}, not {production.version}", trouble)
    if trouble := answer.get("trouble"):
        return warn("serving", f"{found}, which it can no longer follow", trouble)
    return ok("serving", found)
