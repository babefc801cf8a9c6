"""How gunicorn runs the service of the limit: with the settings of ours, whatever they are."""

from pathlib import Path
from runpy import run_path
from typing import Any

_OURS = run_path(str(Path(__file__).parents[1] / "serving" / "gunicorn.conf.py"))
# Without the hooks, which are about the application of ours.
globals().update({name: value for name, value in _OURS.items() if not name.startswith("_") and not callable(value)})
wsgi_app = "bench.limit_service:app"


def post_worker_init(_worker: Any) -> None:
    """Open the connection of this worker: opened before the fork it would be everybody's."""
    from bench.limit_service import pool  # noqa: PLC0415

    pool.resize(min_size=1, max_size=1)
    pool.open()
