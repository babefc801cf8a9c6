"""Checks of Airflow: its DAGs, its pools, and the connections that its processes were started with."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil

from embedded.commands.airflow_api import Airflow
from embedded.environment import environment
from embedded.operator.doctor.finding import Finding, bad, ok, some, warn
from embedded.settings import REPOSITORY, Settings
from embedded.stack.lifecycle import POOLS
from embedded.stack.process_manager import Process

DATABASE, ALERTS = "churn_postgres", "churn_alerts"


def check_airflow(settings: Settings, processes: Mapping[str, Process]) -> Iterator[Finding]:
    """Check the running Airflow and the environment of its processes."""
    airflow = Airflow(settings.airflow_url)
    files = {path.stem for path in (REPOSITORY / "dags").glob("churn_*.py")}
    yield judge_dags(files, airflow.dags(), airflow.import_errors())
    yield judge_pools(json.loads(POOLS.read_text(encoding="utf-8")), airflow.pools())
    # LocalExecutor forks tasks from the scheduler, and the DAG processor sends alerts. The environment of Celery
    # workers is out of reach.
    database = given(processes["airflow-scheduler"], _name(DATABASE))
    yield judge_connection(database, environment(settings)[_name(DATABASE)])
    alerts = given(processes["airflow-dag-processor"], _name(ALERTS))
    yield judge_alerts(alerts is not None or ALERTS in airflow.connections())


def judge_dags(files: set[str], known: Mapping[str, bool], errors: Mapping[str, str]) -> Finding:
    """Compare the DAG files with the DAGs that Airflow knows (each with whether it is paused) and its import errors."""
    if errors:
        why = "; ".join(f"{Path(file).name}: {trace.strip().splitlines()[-1]}" for file, trace in errors.items())
        return bad("DAGs", f"{len(errors)} files cannot be imported: {why}", "fix the file: none of its runs start")
    if missing := sorted(files - known.keys()):
        return bad(
            "DAGs", f"Airflow does not know {some(missing)}", "wait a minute; then see airflow-dag-processor.log"
        )
    if paused := sorted(dag for dag in files if known[dag]):
        return warn("DAGs", f"paused: {some(paused)}", "unpause them in Airflow: their runs wait until then")
    return ok("DAGs", f"{len(files)}, none is paused")


def judge_pools(wanted: Mapping[str, Mapping[str, object]], there: Mapping[str, int]) -> Finding:
    """Compare the slots of each pool. A pool of one slot keeps its tasks from running at the same time."""
    wrong = [
        f"{name} has {there[name]} slots, not {pool['slots']}" if name in there else f"there is no {name}"
        for name, pool in wanted.items()
        if there.get(name) != pool["slots"]
    ]
    if wrong:
        return bad("pools", "; ".join(wrong), "run make down and make up, or change them in Airflow: Admin, Pools")
    return ok("pools", ", ".join(f"{name} {pool['slots']}" for name, pool in wanted.items()))


def judge_connection(started_with: str | None, expected: str) -> Finding:
    """Compare the connection that Airflow was started with to the current settings."""
    if started_with == expected:
        return ok(f"connection {DATABASE}", "agrees with the settings")
    return bad(
        f"connection {DATABASE}",
        "Airflow was started with another one" if started_with else "Airflow was started without it",
        "run make down and make up to start it with the current settings",
    )


def judge_alerts(is_there: bool) -> Finding:
    # Only a sent alert would show that it is received.
    if is_there:
        return ok("alerts", f"the connection {ALERTS} exists; docs/operations.md says how to try it")
    return warn("alerts", f"failures send no alert: there is no connection {ALERTS}", "see docs/operations.md")


def _name(connection: str) -> str:
    return f"AIRFLOW_CONN_{connection.upper()}"


def given(process: Process, variable: str) -> str | None:
    """Return the variable in the environment of the process."""
    return psutil.Process(process.pid).environ().get(variable)
