"""Results as text tables and as JSON that changes only with the figures, and the facts of the machine."""

import json
import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path

from bench.figures import Row, number
from bench.server import Server
from churn.code import git_commit
from embedded.table import table


def machine(server: Server) -> Row:
    """Return the facts that the figures depend on, without the machine's name."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cores": len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count(),
        "feast": version("feast"),
        "git_commit": git_commit(),
        "memory_gb": round(memory / 10**9, 1),
        "postgres": server.version.split(" ")[0],
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def write(directory: Path, name: str, result: Row) -> Path:
    """Write the result as `directory`/`name`.json and return its path."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{name}.json"
    path.write_text(json.dumps(result, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return path


def render(result: Row) -> str:
    """Return the figures of a result as lines, and each of its lists of rows as a table."""
    lists = {name: rows for name, rows in result.items() if isinstance(rows, list) and rows}
    lines = [f"{name}: {_cell(figure)}" for name, figure in result.items() if not isinstance(figure, (list, dict))]
    tables = [table([*rows[0]], [[_cell(cell) for cell in row.values()] for row in rows]) for rows in lists.values()]
    return "\n\n".join(["\n".join(lines), *tables])


def _cell(value: object) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return number(value) if isinstance(value, float) or value is None else str(value)
