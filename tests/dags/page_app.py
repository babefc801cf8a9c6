"""The pages of the plugin for a signed-in user of a role, as an application and on a port of 127.0.0.1."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.conftest import REPOSITORY
from tests.patience import wait_for

# The attributes of the frame in which Airflow shows an external view.
AROUND = """<!doctype html><html lang="en"><title>Airflow</title><style>body {{ margin: 0 }}</style>
<iframe title="{title}" src="/gate-board/{page}" style="border: 0; width: 100%; height: 100vh"
 sandbox="allow-scripts allow-same-origin allow-forms allow-downloads"></iframe></html>"""


def page_app(role: str | None):
    """Return the application for a user of this role of Airflow's simple authentication manager."""
    # As Airflow does with its folder of plugins.
    if str(REPOSITORY / "plugins") not in sys.path:
        sys.path.append(str(REPOSITORY / "plugins"))
    from airflow.api_fastapi.app import create_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
    from airflow.api_fastapi.core_api.security import get_user
    from gate_board.app import make_app

    create_auth_manager()
    app = make_app()
    app.dependency_overrides[get_user] = lambda: SimpleAuthManagerUser(username="ann", role=role)
    return app


@contextmanager
def served(role: str) -> Iterator[str]:
    """Serve the pages at /gate-board, and at /at-risk and /model-health pages in a frame like Airflow's."""
    import uvicorn
    from fastapi import FastAPI
    from fastapi.responses import HTMLResponse

    around = FastAPI()
    around.mount("/gate-board", page_app(role))

    @around.get("/at-risk")
    def at_risk() -> HTMLResponse:
        return HTMLResponse(AROUND.format(title="At risk", page="risk"))

    @around.get("/model-health")
    def model_health() -> HTMLResponse:
        return HTMLResponse(AROUND.format(title="Health", page="health"))

    server = uvicorn.Server(uvicorn.Config(around, host="127.0.0.1", port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        wait_for(lambda: server.started, seconds=60)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
