"""Airflow: its DAGs, its pools, and the connections that its processes were started with."""

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
    """Ask the running Airflow, and look at what its processes were given."""
    airflow = Airflow(settings.airflow_url)
    files = {path.stem for path in (REPOSITORY / "dags").glob("churn_*.py")}
    yield judge_dags(files, airflow.dags(), airflow.import_errors())
    yield judge_pools(json.loads(POOLS.read_text(encoding="utf-8")), airflow.pools())
    # Tasks are forks of the scheduler, but for those of Celery workers, whose environment is not for us to see; alerts
    # are sent by the DAG processor.
    database = given(processes["airflow-scheduler"], _name(DATABASE))
    yield judge_connection(database, environment(settings)[_name(DATABASE)])
    alerts = given(processes["airflow-dag-processor"], _name(ALERTS))
    yield judge_alerts(alerts is not None or ALERTS in airflow.connections())


def judge_dags(files: set[str], known: Mapping[str, bool], errors: Mapping[str, str]) -> Finding:
    """Judge the DAGs that Airflow knows, each with whether it is paused, beside those that there are files of."""
    if errors:
        why = "; ".join(f"{Path(file).name}: {trace.strip().splitlines()[-1]}" for file, trace in errors.items())
        return bad("DAGs", f"{len(errors)} files cannot be read: {why}", "mend the file: none of its runs start")
    if missing := sorted(files - known.keys()):
        return bad(
            "DAGs", f"Airflow does not know {some(missing)}", "wait a minute; then see airflow-dag-processor.log"
        )
    if paused := sorted(dag for dag in files if known[dag]):
        return warn("DAGs", f"paused: {some(paused)}", "unpause them in Airflow: runs of theirs wait until then")
    return ok("DAGs", f"{len(files)}, none is paused")


def judge_pools(wanted: Mapping[str, Mapping[str, object]], there: Mapping[str, int]) -> Finding:
    """Judge the slots of each pool: tasks that must not meet share a pool of one."""
    wrong = [
        f"{name} has {there[name]} slots, not {pool['slots']}" if name in there else f"there is no {name}"
        for name, pool in wanted.items()
        if there.get(name) != pool["slots"]
    ]
    if wrong:
        return bad("pools", "; ".join(wrong), "make down, make up sets them right; or in Airflow: Admin, Pools")
    return ok("pools", ", ".join(f"{name} {pool['slots']}" for name, pool in wanted.items()))


def judge_connection(started_with: str | None, expected: str) -> Finding:
    """Judge where tasks find the database: what Airflow was started with beside what the settings say now."""
    if started_with == expected:
        return ok(f"connection {DATABASE}", "is where the settings say that the database is")
    return bad(
        f"connection {DATABASE}",
        "Airflow was started with another one" if started_with else "Airflow was started without it",
        "make down, make up starts it with the settings of now",
    )


def judge_alerts(is_there: bool) -> Finding:
    # Whether somebody takes them is seen by sending one only, and its URLs are none of ours to read.
    if is_there:
        return ok("alerts", f"the connection {ALERTS} is there; docs/operations.md says how to try it")
    return warn("alerts", f"nobody is told of a red run: there is no connection {ALERTS}", "see docs/operations.md")


def _name(connection: str) -> str:
    return f"AIRFLOW_CONN_{connection.upper()}"


def given(process: Process, variable: str) -> str | None:
    """Return the variable as the process was given it by its environment."""
    return psutil.Process(process.pid).environ().get(variable)
