"""Ending the processes that outlive their service: a service that was killed leaves its children to nobody.

LocalExecutor's workers do not notice that their scheduler was killed, and supervisord knows only what it started
itself.
"""

import time
from contextlib import suppress
from pathlib import Path

import psutil

from embedded.stack.process_manager import is_alive

# Workers of Airflow ignore being asked; nothing of theirs is lost, every step is one transaction.
PATIENCE = 3.0


def end_survivors(home: Path) -> list[str]:
    """End every process of the stack of `home` that is left when supervisord is gone.

    A process is of the stack when supervisord, or a child of its, started it: its environment has CHURN_IDENTITY, which
    nothing else is given, beside the stack's CHURN_HOME.

    Returns:
        What was ended, in words.
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
        # Gone by now, or another user's.
        return False
    return "CHURN_IDENTITY" in environment and environment.get("CHURN_HOME") == str(home)
