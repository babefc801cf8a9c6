"""`make status`: the services, their errors, the state of every AS_OF, and the verdict on Production."""

from datetime import timedelta
from typing import Any

import psycopg
import requests

from churn.drift.findings import drift_in_words, drifted_now, newest_compared
from churn.drops.holds.record import find_holds, what_to_do
from churn.postgres.database import connect
from embedded.environment import environment
from embedded.operator.as_of_state import as_of_states, as_of_table, served_as_of, withdrawals
from embedded.operator.model_registry import registered_versions, registry_oddities, say_verdict
from embedded.settings import Settings
from embedded.stack.process_manager import Process, ProcessManager
from embedded.stack.services import POSTGRES, addresses, not_ready, session
from embedded.table import table


def report(settings: Settings) -> tuple[str, bool]:
    """Return the report, and whether every service is ready."""
    manager = ProcessManager(settings)
    if not manager.running():
        return f"the stack is down (state in {settings.home}); make up starts it", False
    processes = manager.processes()
    if settings.server:
        del processes[POSTGRES]
    late = not_ready(settings, processes)
    services = table(
        ("service", "state", "pid", "uptime", "address"),
        [_row(settings, p, late) for p in processes.values()],
    )
    wrong = [process.last_words(15) for process in processes.values() if process.name in late]
    where = f"own Postgres: {_without_password(settings.postgres_server)}" if settings.server else ""
    started_as = manager.started_as()
    others = f"it runs with other settings: {started_as}" if started_as != manager.identity() else ""
    as_ofs = [_as_of_report(settings), _held_report(settings)]
    models = [say_verdict(settings), _drift_report(settings), _registry_report(settings), serving_report(settings)]
    parts = [services, where, others, *wrong, *as_ofs, *models, f"logs: {settings.logs}"]
    return "\n\n".join(part for part in parts if part), not late


def _row(settings: Settings, process: Process, late: list[str]) -> tuple[Any, ...]:
    state = "not ready" if process.alive and process.name in late else process.state.lower()
    # supervisord reports STARTING for the first `startsecs` of a process, even if it is ready.
    state = "running" if state == "starting" else state
    uptime = timedelta(seconds=process.uptime) if process.alive else None
    return process.name, state, process.pid or None, uptime, addresses(settings).get(process.name, "")


def _as_of_report(settings: Settings) -> str:
    try:
        states, withdrawn = as_of_states(settings), withdrawals(settings)
    except psycopg.Error as error:
        return f"the state of the AS_OF dates cannot be read: {error}"
    if not states:
        return "\n\n".join([f"no drop is loaded; put drops into {settings.landing}", *withdrawn])
    served = "\n\n".join([_served_report(settings), *withdrawn])
    try:
        return f"{as_of_table(states, registered_versions(settings))}\n\n{served}"
    except requests.RequestException as error:
        return f"{as_of_table(states, [])}\n\n{served}\n\nwhich versions are superseded cannot be read: {error}"


def _held_report(settings: Settings) -> str:
    try:
        holds = find_holds(environment(settings)["CHURN_DATABASE_URL"]).values()
    except psycopg.Error:
        return ""  # _as_of_report() shows the error
    return "\n".join([*map(str, holds), what_to_do(settings.landing)]) if holds else ""


def _drift_report(settings: Settings) -> str:
    try:
        with connect(environment(settings)["CHURN_DATABASE_URL"]) as connection:
            return f"drift: {drift_in_words(newest_compared(connection), drifted_now(connection))}"
    except psycopg.Error:
        return ""  # _as_of_report() shows the error


def _registry_report(settings: Settings) -> str:
    try:
        odd = registry_oddities(settings, registered_versions(settings))
    except (requests.RequestException, psycopg.Error) as error:
        return f"the model registry cannot be read: {error}"
    return "\n".join(f"model registry: {each}" for each in odd)


def serving_report(settings: Settings) -> str:
    """Return why serving does not use the version in Production, for example an untrusted file."""
    _, answer = ready(settings)
    if trouble := answer.get("trouble"):
        return f"serving goes on with version {answer['model']['version']}: {trouble}"
    return "\n".join(f"serving: {reason}" for reason in answer.get("reasons", []))


def ready(settings: Settings) -> tuple[int | None, dict[str, Any]]:
    """Return status and body of serving's /health/ready; the status is None if it does not answer."""
    try:
        answer = session().get(f"{settings.serving_url}/health/ready", timeout=10)
        return answer.status_code, answer.json()
    except requests.RequestException as error:
        return None, {"detail": str(error)}


def _served_report(settings: Settings) -> str:
    try:
        as_of = served_as_of(settings)
    except psycopg.Error as error:
        return f"which AS_OF is served online cannot be read: {error}"
    return f"AS_OF {as_of} is served online" if as_of else "nothing is served online: make trigger AS_OF=the newest"


def _without_password(uri: str) -> str:
    parts = {k: v for k, v in psycopg.conninfo.conninfo_to_dict(uri).items() if k != "password"}
    return psycopg.conninfo.make_conninfo("", **parts)
