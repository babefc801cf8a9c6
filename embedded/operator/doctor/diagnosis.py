"""Runs all checks and prints their findings."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import psycopg

from churn.settings import SPARK
from embedded.commands.airflow_api import AirflowError
from embedded.environment import environment
from embedded.operator.backup import SECRETS
from embedded.operator.doctor.airflow import check_airflow
from embedded.operator.doctor.databases import check_databases
from embedded.operator.doctor.finding import BAD, OK, WARN, Finding, bad, ok, some, warn
from embedded.operator.doctor.machine import check_machine
from embedded.operator.doctor.online_store import check_online_store
from embedded.operator.doctor.pipeline import check_pipeline
from embedded.operator.doctor.workers import check_workers
from embedded.settings import Settings
from embedded.stack.process_manager import Process, ProcessManager
from embedded.stack.services import AIRFLOW, POSTGRES, not_ready
from embedded.table import table


def report(settings: Settings) -> tuple[str, bool]:
    """Return the findings and advice as text, and whether no finding is bad."""
    findings = list(diagnose(settings))
    lines = table(("check", "", "found"), [(each.check, each.outcome, each.found) for each in findings])
    advice = [f"{each.check}: {each.advice}" for each in findings if each.outcome != OK]
    counts = {outcome: sum(each.outcome == outcome for each in findings) for outcome in (BAD, WARN, OK)}
    total = ", ".join(f"{count} {outcome}" for outcome, count in counts.items())
    parts = [lines, "\n".join(["What to do:", *advice]) if advice else "", total]
    return "\n\n".join(part for part in parts if part), not counts[BAD]


def diagnose(settings: Settings) -> Iterator[Finding]:
    """Run every check that can reach its subject, dependencies first."""
    manager = ProcessManager(settings)
    processes = manager.processes() if manager.running() else {}
    if settings.server:
        processes.pop(POSTGRES, None)
    yield from check_machine(settings, processes)
    late = not_ready(settings, processes)
    yield judge_stack(processes, late, manager.started_as() if processes else "", manager.identity())
    if settings.redis:
        yield check_online_store(settings.redis)
    if not processes and not settings.server:
        return
    with TemporaryDirectory() as nowhere:
        # doctor creates no secrets in a new CHURN_HOME: restore needs it empty.
        made = (settings.home / SECRETS).exists()
        variables = environment(settings if made else replace(settings, home=Path(nowhere)))
        # MLflow's client and Airflow's migrations read them at import.
        os.environ.update(variables, AIRFLOW__LOGGING__LOGGING_LEVEL="ERROR")
        databases = list(check_databases(settings))
    yield from databases
    if processes and not set(AIRFLOW) & set(late):
        yield from asking("Airflow", check_airflow(settings, processes))
    if processes and settings.broker:
        yield check_workers(settings.broker, spark=settings.offline == SPARK)
    if processes and "mlflow" not in late and not any(each.outcome == BAD for each in databases):
        yield from asking("pipeline", check_pipeline(settings, processes))


def judge_stack(processes: Mapping[str, Process], late: list[str], started_as: str, settings: str) -> Finding:
    """Check that all services are ready and were started with the current settings."""
    if not processes:
        return warn("services", "the stack is down; checks that need it were skipped", "make up starts it")
    if late:
        return bad("services", f"not ready: {some(late)}", "make status shows why; make up starts what is down")
    if started_as != settings:
        return bad(
            "services", f"run with other settings: {started_as}", "run make down and make up, or use those settings"
        )
    return ok("services", f"{len(processes)}, all ready")


def asking(whom: str, checks: Iterator[Finding]) -> Iterator[Finding]:
    """Yield the findings of `checks`, and a bad finding if they raise."""
    try:
        yield from checks
    except (AirflowError, psutil.Error, psycopg.Error, OSError) as error:
        # Exceptions of requests are OSErrors.
        yield bad(whom, f"check failed: {' '.join(str(error).split())[:300]}", "make status, then make doctor again")
