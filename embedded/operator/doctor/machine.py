"""Checks of the machine: Python, the libraries, the ports and the disk."""

import platform
import shutil
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from packaging.requirements import Requirement

from embedded.operator.doctor.finding import Finding, bad, ok, some, warn
from embedded.settings import REPOSITORY, Settings
from embedded.stack.process_manager import Process
from embedded.stack.services import taken_ports

LOCK = REPOSITORY / "requirements.txt"
OLDEST_PYTHON, FIRST_UNTRIED_PYTHON = (3, 11), (3, 14)

GIGABYTE = 10**9
FULL, NEARLY_FULL = 2 * GIGABYTE, 10 * GIGABYTE
"""Postgres stops when it cannot write. A drop of a million customers takes up to 1 GB with its archive, snapshots and
WAL, so at 10 GB there is time to act."""


def check_machine(settings: Settings, processes: Mapping[str, Process]) -> Iterator[Finding]:
    """Run the checks that need no service; `processes` is empty when the stack is down."""
    yield judge_python(sys.version_info[:2])
    yield judge_libraries(*compare_with_lock(LOCK.read_text(encoding="utf-8")))
    yield judge_ports(taken_ports(settings, processes))
    usage = shutil.disk_usage(_existing(settings.home))
    yield judge_disk(settings.home, usage.free, usage.total)


def judge_python(running: tuple[int, int]) -> Finding:
    found = platform.python_version()
    if OLDEST_PYTHON <= running < FIRST_UNTRIED_PYTHON:
        return ok("Python", found)
    return bad("Python", found, "install Python 3.11, 3.12 or 3.13, remove .venv, and run make with PYTHON=…")


def compare_with_lock(lock: str) -> tuple[int, list[str]]:
    """Return how many libraries the lock has for this machine, and the differing ones as `name 1.0, not 1.1`."""
    asked, others = 0, []
    for line in lock.splitlines():
        if "==" not in line or line.startswith((" ", "#")):
            continue
        library = Requirement(line.rstrip(" \\"))
        if library.marker and not library.marker.evaluate():
            continue
        asked += 1
        locked = str(library.specifier).removeprefix("==")
        there = _installed(library.name)
        if there != locked:
            others.append(f"{library.name} {there}, not {locked}" if there else f"no {library.name}")
    return asked, others


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def judge_libraries(asked: int, others: list[str]) -> Finding:
    if not others:
        return ok("libraries", f"{asked}, as in requirements.txt")
    return bad(
        "libraries",
        f"{len(others)} of {asked} differ from requirements.txt: {some(others)}",
        "install the lock while the stack is down: make down; touch requirements.txt; make up",
    )


def judge_ports(taken: Mapping[str, str]) -> Finding:
    if taken:
        advice = f"stop that process, or choose another port: make up {' '.join(f'{variable}=…' for variable in taken)}"
        return bad("ports", "; ".join(taken.values()), advice)
    return ok("ports", "free, or the stack's own")


def _existing(path: Path) -> Path:
    return path if path.exists() else _existing(path.parent)


def judge_disk(path: Path, free: int, total: int) -> Finding:
    found = f"{free / GIGABYTE:.1f} GB free of {total / GIGABYTE:.0f}, for {path}"
    if free >= NEARLY_FULL:
        return ok("disk", found)
    # The archive must stay: reloading and reproducing read it.
    advice = "free space: delete old logs and drops that are loaded, or shorten the retention"
    return bad("disk", found, advice) if free < FULL else warn("disk", found, advice)
