"""The Airflow plugin of the gate board and the pages "At risk" and "Health".

Every Airflow process loads it, so it imports gate_board only on use.
"""

from functools import cache
from typing import Any
from urllib.parse import urlsplit

from airflow.configuration import conf
from airflow.plugins_manager import AirflowPlugin

PREFIX = "/gate-board"

# Airflow does not prepend the path of its base_url to the URLs of plugins.
ADDRESS = urlsplit(conf.get("api", "base_url", fallback="/")).path.rstrip("/") + PREFIX


@cache
def _app() -> Any:
    from gate_board.app import make_app  # noqa: PLC0415 — only the API server gets here

    return make_app()


async def board(scope: Any, receive: Any, send: Any) -> None:
    """The pages as an ASGI application, created at the first request."""
    await _app()(scope, receive, send)


class ChurnBoard(AirflowPlugin):
    """The pages and their entries in the navigation."""

    name = "churn_board"
    fastapi_apps = [{"app": board, "url_prefix": PREFIX, "name": "Gate board"}]  # noqa: RUF012 — Airflow's declaration
    external_views = [  # noqa: RUF012
        {
            "name": "Gate board",
            # The trailing slash makes the page's relative URLs resolve.
            "href": f"{ADDRESS}/",
            "url_route": "gate-board",
            "destination": "nav",
            "nav_top_level": True,
            "icon": f"{ADDRESS}/static/icon.svg",
        },
        {
            "name": "At risk",
            "href": f"{ADDRESS}/risk",
            "url_route": "at-risk",
            "destination": "nav",
            "nav_top_level": True,
            "icon": f"{ADDRESS}/static/risk.svg",
        },
        {
            "name": "Health",
            "href": f"{ADDRESS}/health",
            "url_route": "health",
            "destination": "nav",
            "nav_top_level": True,
            "icon": f"{ADDRESS}/static/health.svg",
        },
    ]
