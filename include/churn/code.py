"""What identifies the code that a run executes: work is repeated when it changes."""

import hashlib
import os
import subprocess
from functools import cache
from pathlib import Path

INCLUDE = Path(__file__).parents[1]
LOCK = INCLUDE.parent / "requirements.txt"


@cache
def code_digest() -> str:
    """Return the sha256 over the pipeline's Python, SQL, Lua and YAML files and the lock of its libraries."""
    files = sorted(p for ending in ("py", "sql", "lua", "yaml") for p in INCLUDE.rglob(f"*.{ending}"))
    digest = hashlib.sha256()
    for path in [*files, LOCK]:
        digest.update(path.relative_to(INCLUDE.parent).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


@cache
def lock_digest() -> str:
    """Return the sha256 of the lock of the libraries."""
    return hashlib.sha256(LOCK.read_bytes()).hexdigest()


@cache
def git_commit() -> str:
    """Return the commit that is checked out, with "-dirty" where files differ from it, "unknown" outside of git.

    An image holds no checkout: CHURN_GIT_COMMIT says which commit it was made of.
    """
    if stated := os.environ.get("CHURN_GIT_COMMIT"):
        return stated
    command = ["git", "-C", str(INCLUDE.parent), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
