"""Available memory of the process, and the number of jobs that fit into a share of it."""

from pathlib import Path

import psutil

CGROUP = Path("/sys/fs/cgroup")

SHARE = 0.5
"""Share of the available memory for the copies of parallel jobs. The rest is for the rows and for other tasks."""


def jobs_at_once(cores: int, bytes_each: int, available: int) -> int:
    """Return how many jobs run in parallel: one per core within SHARE of `available` bytes, and at least one."""
    fitting = int(SHARE * available) // bytes_each if bytes_each else cores
    return max(1, min(cores, fitting))


def available_memory() -> int:
    """Return the bytes available to this process, within the limit of its container if there is one."""
    machine = int(psutil.virtual_memory().available)
    return min([machine, *(left for left in (cgroup_left(CGROUP),) if left is not None)])


def cgroup_left(root: Path) -> int | None:
    """Return the bytes left in the container's cgroup (v2, else v1), None if it has no limit. Inactive page cache
    counts as free, since the kernel reclaims it."""
    for directory, limit, used, idle in (
        (root, "memory.max", "memory.current", "inactive_file"),
        (root / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        try:
            most = int((directory / limit).read_text())
            taken = int((directory / used).read_text())
            statistics = dict(line.split() for line in (directory / "memory.stat").read_text().splitlines())
        except (OSError, ValueError):
            # Another cgroup version, no cgroup, or "max".
            continue
        return max(0, most - max(0, taken - int(statistics.get(idle, 0))))
    return None
