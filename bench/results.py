"""Results as JSON that changes only with the figures, and the facts of the machine."""

import json
import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path

from bench.figures import Row
from bench.server import Server
from churn.code import git_commit


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
