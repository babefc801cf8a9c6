"""The gate board, a page in Airflow's navigation: what is in Production, and why. The page itself is the package
gate_board; this file is what Airflow loads, in every process, so it imports nothing of it."""

from functools import cache
from typing import Any
from urllib.parse import urlsplit

from airflow.configuration import conf
from airflow.plugins_manager import AirflowPlugin

PREFIX = "/gate-board"

# Airflow may live below a path of its host, and does not put that before the addresses of plugins.
ADDRESS = urlsplit(conf.get("api", "base_url", fallback="/")).path.rstrip("/") + PREFIX


@cache
def _app() -> Any:
    from gate_board.app import make_app  # noqa: PLC0415 — only the API server gets here

    return make_app()


async def board(scope: Any, receive: Any, send: Any) -> None:
    """The board as an ASGI application, made at the first request."""
    await _app()(scope, receive, send)


class ChurnBoard(AirflowPlugin):
    """The page, and its place in the navigation."""

    name = "churn_board"
    # Airflow declares both so.
    fastapi_apps = [{"app": board, "url_prefix": PREFIX, "name": "Gate board"}]  # noqa: RUF012
    external_views = [  # noqa: RUF012
        {
            "name": "Gate board",
            # With its slash: the page names its script and style relative to it.
            "href": f"{ADDRESS}/",
            "url_route": "gate-board",
            "destination": "nav",
            "nav_top_level": True,
            "icon": f"{ADDRESS}/static/icon.svg",
        }
    ]
