"""Ends orphaned processes: the children of a killed service.

For example, LocalExecutor's workers outlive a killed scheduler, and supervisord knows only its own children.
"""

import time
from contextlib import suppress
from pathlib import Path

import psutil

from embedded.stack.process_manager import is_alive

# Airflow's workers ignore SIGTERM. SIGKILL loses nothing, as every step is one transaction.
PATIENCE = 3.0


def end_survivors(home: Path) -> list[str]:
    """End every process of the stack of `home` that is left after supervisord, and return them in words.

    supervisord and its descendants have the environment variables CHURN_IDENTITY and CHURN_HOME.
    """
    survivors = [process for process in psutil.process_iter() if _is_of(process, home)]
    ended = [f"{' '.join(process.cmdline()).strip()[:80]} (pid {process.pid})" for process in survivors]
    for end in (psutil.Process.terminate, psutil.Process.kill):
        for process in survivors:
            with suppress(psutil.NoSuchProcess):
                end(process)
        deadline = time.monotonic() + PATIENCE
        while (survivors := [each for each in survivors if is_alive(each.pid)]) and time.monotonic() < deadline:
            time.sleep(0.1)
    return ended


def _is_of(process: psutil.Process, home: Path) -> bool:
    try:
        environment = process.environ()
    except (psutil.Error, OSError):
        # It has ended, or belongs to another user.
        return False
    return "CHURN_IDENTITY" in environment and environment.get("CHURN_HOME") == str(home)
