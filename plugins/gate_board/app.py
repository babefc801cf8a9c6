"""The pages as a FastAPI application, which Airflow mounts. Every route requires a signed-in user."""

from collections.abc import Awaitable, Callable

import psycopg
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from gate_board import board_routes, health_routes, pages, risk_routes
from gate_board.sources import Unavailable

HEADERS = {
    # Only the page's own files are loaded and run, as a second defence against markup in text from the database.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def make_app() -> FastAPI:
    """Return the application."""
    # FastAPI's documentation pages load scripts from the network and need no login.
    app = FastAPI(title="Gate board", docs_url=None, redoc_url=None, openapi_url=None)
    for each in (pages, board_routes, risk_routes, health_routes):
        app.include_router(each.router)

    @app.middleware("http")
    async def headers(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        response = await call_next(request)
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    @app.exception_handler(Unavailable)
    def unavailable(_request: Request, error: Unavailable) -> Response:
        return JSONResponse({"detail": str(error)}, status_code=503)

    @app.exception_handler(psycopg.Error)
    def database_is_away(_request: Request, error: psycopg.Error) -> Response:
        if isinstance(error, psycopg.errors.UndefinedTable | psycopg.errors.UndefinedColumn):
            detail = f"the database `churn` is older than this page: run `python -m churn.postgres.migrate` ({error})"
        else:
            detail = f"the database `churn` cannot be read: {error}"
        return JSONResponse({"detail": detail}, status_code=503)

    return app
