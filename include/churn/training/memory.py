"""How much memory a process may still take, and how many jobs fit into a share of it."""

from pathlib import Path

import psutil

CGROUP = Path("/sys/fs/cgroup")

SHARE = 0.5
"""Of the memory that is available, what the copies of jobs that run at once may take. The other half is for the rows
themselves, and for the other tasks of the machine."""


def jobs_at_once(cores: int, bytes_each: int, available: int) -> int:
    """Return how many jobs run at once: one for each core, as long as they stay below SHARE of `available` bytes, and
    one in any case."""
    fitting = int(SHARE * available) // bytes_each if bytes_each else cores
    return max(1, min(cores, fitting))


def available_memory() -> int:
    """Return the bytes that this process may still take: of the machine, or of its container where that has a limit."""
    machine = int(psutil.virtual_memory().available)
    return min([machine, *(left for left in (cgroup_left(CGROUP),) if left is not None)])


def cgroup_left(root: Path) -> int | None:
    """Return the bytes that a container's cgroup (version 2, else 1) has left, None where it sets no limit. The page
    cache that nobody uses counts as left: the kernel gives it back."""
    for directory, limit, used, idle in (
        (root, "memory.max", "memory.current", "inactive_file"),
        (root / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        try:
            most = int((directory / limit).read_text())
            taken = int((directory / used).read_text())
            statistics = dict(line.split() for line in (directory / "memory.stat").read_text().splitlines())
        except (OSError, ValueError):
            # Another version of cgroup, none, or "max".
            continue
        return max(0, most - max(0, taken - int(statistics.get(idle, 0))))
    return None
