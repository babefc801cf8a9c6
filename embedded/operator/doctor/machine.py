"""The machine: Python, the libraries, the ports and the disk."""

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
"""A drop of a million customers takes up to 1 GB with its archive, snapshots and log of changes, and Postgres stops
where it cannot write; with less than ten left there is time to look."""


def check_machine(settings: Settings, processes: Mapping[str, Process]) -> Iterator[Finding]:
    """Check what needs no service; `processes` are those of the stack, none when it is down."""
    yield judge_python(sys.version_info[:2])
    yield judge_libraries(*compare_with_lock(LOCK.read_text(encoding="utf-8")))
    yield judge_ports(taken_ports(settings, processes))
    usage = shutil.disk_usage(_existing(settings.home))
    yield judge_disk(settings.home, usage.free, usage.total)


def judge_python(running: tuple[int, int]) -> Finding:
    found = platform.python_version()
    if OLDEST_PYTHON <= running < FIRST_UNTRIED_PYTHON:
        return ok("Python", found)
    return bad("Python", found, "install Python 3.11, 3.12 or 3.13, remove .venv, and say PYTHON=… at the next make")


def compare_with_lock(lock: str) -> tuple[int, list[str]]:
    """Return how many libraries the lock asks for on this machine, and which are others: `name 1.0, not 1.1`."""
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
        return ok("libraries", f"{asked} as in requirements.txt")
    return bad(
        "libraries",
        f"{len(others)} of {asked} are not as in requirements.txt: {some(others)}",
        "install the lock, with the stack down: make down; touch requirements.txt; make up",
    )


def judge_ports(taken: Mapping[str, str]) -> Finding:
    if taken:
        advice = f"stop that, or choose another port: make up {' '.join(f'{variable}=…' for variable in taken)}"
        return bad("ports", "; ".join(taken.values()), advice)
    return ok("ports", "free, or the stack's own")


def _existing(path: Path) -> Path:
    return path if path.exists() else _existing(path.parent)


def judge_disk(path: Path, free: int, total: int) -> Finding:
    found = f"{free / GIGABYTE:.1f} GB free of {total / GIGABYTE:.0f}, for {path}"
    if free >= NEARLY_FULL:
        return ok("disk", found)
    # Not archived files: whatever is to be loaded or made again is made of them.
    advice = "make room: old logs and drops that are loaded are under it, and a retention of fewer days frees more"
    return bad("disk", found, advice) if free < FULL else warn("disk", found, advice)
