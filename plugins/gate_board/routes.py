"""The routes of the board. Each requires a signed-in user, and is a plain `def` so that FastAPI runs it in a thread."""

import json
import os
from dataclasses import is_dataclass
from datetime import UTC, date, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from airflow.api_fastapi.core_api.security import requires_authenticated
from fastapi import APIRouter, Depends, HTTPException, Query, Response

from churn.board import history as board
from churn.board import production as board_registry
from churn.gate.decision_files import source_of
from gate_board import sources

STATIC = Path(__file__).parent / "static"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
}
FILES = {file.name: file for file in STATIC.iterdir() if file.suffix in TYPES}

# Sandboxes a report: it runs no script, loads nothing and cannot use Airflow's session.
REPORT_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; font-src data:; sandbox"

# Airflow mounts plugin applications without authentication: a router without this dependency is public.
AUTHENTICATED = [Depends(requires_authenticated())]
page = APIRouter(dependencies=AUTHENTICATED)
router = APIRouter(prefix="/api", dependencies=AUTHENTICATED)


@page.get("/")
def shell() -> Response:
    return static("board.html")


@page.get("/static/{name}")
def static(name: str) -> Response:
    file = FILES.get(name)
    if file is None:
        raise HTTPException(404, f"the board has no file {name}")
    return Response(file.read_bytes(), media_type=TYPES[file.suffix])


@router.get("/mark")
def mark() -> Response:
    """A small hash of the board's state, which pages poll for changes."""
    return _json({"mark": _mark(board.read_mark(sources.database_url()), sources.registry(), sources.serving())})


@router.get("/board")
def everything(limit: int = Query(board.DECISIONS, ge=1, le=10_000)) -> Response:
    url = sources.database_url()
    # Board and mark come from the same read, so that the page does not miss a change between two reads.
    shown, registry, serving = board.read_board(url, limit), sources.registry(), sources.serving()
    production = registry.production if isinstance(registry, board_registry.Registry) else None
    today = datetime.now(UTC).date()
    return _json({
        **_fields(shown),
        "mark": _mark(shown.mark, registry, serving),
        "today": today,
        "production": production and {
            **_fields(production),
            "age_days": (today - production.as_of).days if production.as_of else None,
            "grades": board.read_grades(url, production.version, production.run_id),
        },
        "pin": registry.pin if isinstance(registry, board_registry.Registry) else None,
        "registry_problem": registry if isinstance(registry, str) else None,
        "serving": serving,
        "mlflow_url": os.environ.get("MLFLOW_URL"),
    })  # fmt: skip


@router.get("/decisions/{decision}")
def decision(decision: int) -> Response:
    return _json(_decision(decision))


@router.get("/decisions/{decision}/files")
def files(decision: int) -> Response:
    """The pictures and the report of the decision, or why they cannot be listed."""
    run_id, made = _artifacts(decision)
    try:
        return _json({"files": board_registry.report_files(run_id, made), "problem": None})
    except Exception as error:  # the page shows the checks even if MLflow fails
        return _json({"files": [], "problem": f"MLflow cannot list the pictures of run {run_id}: {error}"})


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


def _json(content: Any) -> Response:
    # 10 times faster than FastAPI's encoder for a thousand decisions.
    return Response(json.dumps(content, default=_plain, allow_nan=False), media_type="application/json")


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return _fields(value)
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no place in an answer of the board")


def _fields(value: Any) -> dict[str, Any]:
    """Return the fields of a dataclass without the deep copy of asdict()."""
    return dict(vars(value))
