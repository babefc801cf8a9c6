"""The pages and their files: HTML, styles and scripts, which hold no data."""

from pathlib import Path

from fastapi import APIRouter, HTTPException, Response

from gate_board.answers import AUTHENTICATED

STATIC = Path(__file__).parent / "static"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
}
FILES = {file.name: file for file in STATIC.iterdir() if file.suffix in TYPES}

router = APIRouter(dependencies=AUTHENTICATED)


@router.get("/")
def board() -> Response:
    return static("board.html")


@router.get("/risk")
def risk() -> Response:
    return static("risk.html")


@router.get("/health")
def health() -> Response:
    return static("health.html")


@router.get("/static/{name}")
def static(name: str) -> Response:
    file = FILES.get(name)
    if file is None:
        raise HTTPException(404, f"the pages have no file {name}")
    return Response(file.read_bytes(), media_type=TYPES[file.suffix])
