"""The routes of the page "Health". Each requires a signed-in user; no customer is named.

Each is a plain `def`, so that FastAPI runs it in a thread.
"""

from datetime import date
from typing import Any

from fastapi import APIRouter, HTTPException, Query, Response

from churn.board import health
from churn.board.production import Registry
from churn.outcomes.standing import Standing
from gate_board import sources
from gate_board.answers import AUTHENTICATED, as_json, fields

router = APIRouter(prefix="/api/health", dependencies=AUTHENTICATED)


@router.get("")
def everything(limit: int = Query(health.DATES, ge=1, le=1000)) -> Response:
    """The newest dates, newest first, and the verdict on the version in Production: null as long as it has none."""
    found, registry = health.read_health(sources.database_url(), limit), sources.registry()
    production = registry.production if isinstance(registry, Registry) else None
    of = (production.version, production.run_id) if production else None
    versions = [_with_advice(each, in_production=each.of == of) for each in found.verdicts]
    return as_json({
        "floor": found.floor,
        "production": production and {
            "version": production.version,
            "run_id": production.run_id,
            "as_of": production.known_as_of,
        },
        "registry_problem": registry if isinstance(registry, str) else None,
        "verdict": next((each for each in versions if each["in_production"]), None),
        "versions": versions,
        "drift": {"compared": found.compared, "findings": found.drifted},
        "dates": [
            {
                **fields(each),
                "expected": next((one for one in found.expected if one.as_of == each.as_of), None),
                "figures": [row for row in found.figures if row.as_of == each.as_of],
            }
            for each in found.dates
        ],
    })  # fmt: skip


@router.get("/{as_of}")
def parts(as_of: date) -> Response:
    """A date by arm and by slice, and its judgements, newest first."""
    found = health.read_parts(sources.database_url(), as_of)
    if found is None:
        raise HTTPException(404, f"{as_of} was never judged")
    return as_json(found)


def _with_advice(standing: Standing, *, in_production: bool) -> dict[str, Any]:
    return {
        **fields(standing),
        "is_alarm": standing.is_alarm,
        "advice": standing.advice,
        "in_production": in_production,
    }
