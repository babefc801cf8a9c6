"""The routes of the board. Each requires a signed-in user, and is a plain `def` so that FastAPI runs it in a thread."""

import os
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from fastapi import APIRouter, HTTPException, Query, Response

from churn.board import history as board
from churn.board import production as board_registry
from churn.gate.decision_files import source_of
from churn.registry.erased import erased_in_words
from gate_board import sources
from gate_board.answers import AUTHENTICATED, as_json, fields
from gate_board.pages import TYPES

# Sandboxes a report: it runs no script, loads nothing and cannot use Airflow's session.
REPORT_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; font-src data:; sandbox"

router = APIRouter(prefix="/api", dependencies=AUTHENTICATED)


@router.get("/mark")
def mark() -> Response:
    """A small hash of the board's state, which pages poll for changes."""
    return as_json({"mark": _mark(board.read_mark(sources.database_url()), sources.registry(), sources.serving())})


@router.get("/board")
def everything(limit: int = Query(board.DECISIONS, ge=1, le=10_000)) -> Response:
    url = sources.database_url()
    # Board and mark come from the same read, so that the page does not miss a change between two reads.
    shown, registry, serving = board.read_board(url, limit), sources.registry(), sources.serving()
    production = registry.production if isinstance(registry, board_registry.Registry) else None
    today = datetime.now(UTC).date()
    return as_json({
        **fields(shown),
        "mark": _mark(shown.mark, registry, serving),
        "today": today,
        "production": production and {
            "version": production.version,
            "run_id": production.run_id,
            "as_of": (as_of := production.known_as_of),
            "tags": production.tags,
            "erased": erased_in_words(production.tags),
            "age_days": (today - as_of).days if as_of else None,
            "grades": board.read_grades(url, production.version, production.run_id),
        },
        "pin": registry.pin if isinstance(registry, board_registry.Registry) else None,
        "registry_problem": registry if isinstance(registry, str) else None,
        "serving": serving,
        "mlflow_url": os.environ.get("MLFLOW_URL"),
    })  # fmt: skip


@router.get("/decisions/{decision}")
def decision(decision: int) -> Response:
    return as_json(_decision(decision))


@router.get("/decisions/{decision}/files")
def files(decision: int) -> Response:
    """The pictures and the report of the decision, or why they cannot be listed."""
    run_id, made = _artifacts(decision)
    try:
        return as_json({"files": board_registry.report_files(run_id, made), "problem": None})
    except Exception as error:  # the page shows the checks even if MLflow fails
        return as_json({"files": [], "problem": f"MLflow cannot list the pictures of run {run_id}: {error}"})


@router.get("/decisions/{decision}/files/{name:path}")
def file(decision: int, name: str) -> Response:
    """One of these files. Runs without a decision are not accessible."""
    run_id, made = _artifacts(decision)
    try:
        content = board_registry.read_report_file(run_id, made, name)
    except board_registry.NotShown as error:
        raise HTTPException(404, str(error)) from error
    except Exception as error:
        raise sources.Unavailable(f"MLflow cannot give {name}: {error}") from error
    headers = {"Content-Security-Policy": REPORT_POLICY, "Cache-Control": "private, max-age=60"}
    return Response(content, media_type=TYPES[Path(name).suffix], headers=headers)


def _artifacts(decision: int) -> tuple[str, int]:
    """Return the run of the decision, and the decision whose folder in that run holds the files."""
    found = _decision(decision)
    return found.run_id, source_of(decision, found.report)


def _decision(number: int) -> board.FullDecision:
    # The range of a bigint, beyond which the query would fail.
    found = board.read_decision(sources.database_url(), number) if 0 < number < 2**63 else None
    if found is None:
        raise HTTPException(404, f"there is no decision {number}")
    return found


def _mark(*shown: Any) -> str:
    return sha256(repr((*shown, datetime.now(UTC).date())).encode()).hexdigest()[:16]
