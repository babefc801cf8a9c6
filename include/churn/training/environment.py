"""The environment that results depend on: the lock file, the libraries, BLAS and the machine."""

import os
import platform
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_info

from churn.code import lock_digest

LIBRARIES = (
    "scikit-learn", "numpy", "scipy", "pandas", "pyarrow", "feast", "mlflow", "skops", "joblib",
    "adbc-driver-postgresql", "psycopg",
)  # fmt: skip
"""The libraries that process data and figures; the lock's hash covers all others."""


@cache
def environment() -> dict[str, Any]:
    """Return the lock's digest, and the versions of Python, libraries, BLAS and machine."""
    blas = {
        " ".join(str(of[key]) for key in ("internal_api", "version", "threading_layer", "architecture") if of.get(key))
        for of in threadpool_info()
        if of["user_api"] == "blas"
    }
    return {
        "lock": lock_digest(),
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in LIBRARIES},
        "blas": sorted(blas),
        "machine": {
            "cpu": _cpu(),
            "cores": os.cpu_count(),
            "system": " ".join([platform.system(), platform.machine(), *platform.libc_ver()]),
        },
    }


def _cpu() -> str:
    """Return the processor's name; on Linux, Python's platform module does not know it."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"


def environment_differences(then: Mapping[str, Any]) -> Iterator[str]:
    """Yield in words how the environment differs from a recorded one."""
    before, now = _flat(then), _flat(environment())
    for name in [*before, *(name for name in now if name not in before)]:
        if before.get(name) != now.get(name):
            yield f"{name} was {_text(before.get(name))}, is {_text(now.get(name))}"


def _flat(facts: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in facts.items():
        flat |= _flat(value) if isinstance(value, Mapping) else {name: value}
    return flat


def _text(value: Any) -> str:
    return " and ".join(value) if isinstance(value, list) else "absent" if value is None else str(value)
