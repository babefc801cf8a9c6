"""`make status`: the services, their errors, and the state of every AS_OF."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import psycopg
import requests
from psycopg.rows import class_row

from churn.drops.holds.record import find_holds, what_to_do
from churn.features.builds import builds_of
from churn.postgres.database import connect, execute, statement
from churn.registry.model_version import MODEL_NAME, ModelVersion
from churn.registry.state import Oddity, in_production, oddities
from embedded.environment import environment
from embedded.settings import Settings
from embedded.stack.process_manager import Process, ProcessManager
from embedded.stack.services import POSTGRES, addresses, not_ready, session
from embedded.table import table


@dataclass(frozen=True)
class AsOfState:
    """The state of one AS_OF; the fields after `has_snapshot` are those of its last decision, then of its list.

    Attributes:
        decision: id of the last decision. Ids increase with time across all AS_OF.
        list_version: the model version that scored the list.
        list_is_current: it is of the current snapshot; None without a list or a snapshot.
    """

    as_of: date
    revision: int | None
    received_at: datetime | None
    rows: int | None
    has_snapshot: bool
    decision: int | None
    outcome: str | None
    reason: str | None
    candidate_version: int | None
    candidate_auc: float | None
    production_auc: float | None
    run_id: str | None = None
    list_revision: int | None = None
    list_version: int | None = None
    list_rows: int | None = None
    list_is_current: bool | None = None


def as_of_states(settings: Settings) -> list[AsOfState]:
    """Return the state of every AS_OF that has a drop, a snapshot or a decision, oldest first.

    Raises:
        psycopg.Error: the database cannot be reached, or was never migrated.
    """
    url = environment(settings)["CHURN_DATABASE_URL"]
    with psycopg.connect(url, connect_timeout=5, row_factory=class_row(AsOfState)) as connection:
        return connection.execute(statement("status/as_of")).fetchall()


def withdrawals(settings: Settings) -> list[str]:
    """Return a line for each withdrawn AS_OF without a newer drop: when, by whom and why.

    Raises:
        psycopg.Error: the database cannot be reached, or was never migrated.
    """
    with connect(environment(settings)["CHURN_DATABASE_URL"]) as connection:
        found = execute(connection, "withdrawal/withdrawn").fetchall()
    return [f"{as_of} was withdrawn on {at:%Y-%m-%d %H:%M} UTC by {who}: {why}" for as_of, at, who, why in found]


def served_as_of(settings: Settings) -> date | None:
    """Return the AS_OF whose features are served online, None if there is none.

    Raises:
        psycopg.Error: the online store cannot be reached, or the database was never migrated.
    """
    with connect(environment(settings)["CHURN_DATABASE_URL"]) as connection:
        served = builds_of(connection).served()
    return served.as_of if served else None


def last_decision(states: list[AsOfState]) -> AsOfState | None:
    """Return the AS_OF of the last decision, None if there is no decision."""
    return max((state for state in states if state.decision), key=lambda state: state.decision or 0, default=None)


def registered_versions(settings: Settings) -> list[ModelVersion]:
    """Return the model versions from MLflow's REST API, since its Python client takes seconds to import.

    Raises:
        requests.RequestException: MLflow does not answer.
    """
    asked = {"filter": f"name = '{MODEL_NAME}'", "max_results": "10000"}
    answer = _ask_mlflow(settings, "model-versions/search", asked)
    answer.raise_for_status()
    return [
        ModelVersion(
            int(each["version"]),
            each.get("run_id", ""),
            each["current_stage"],
            {tag["key"]: tag.get("value", "") for tag in each.get("tags", [])},
        )
        for each in answer.json().get("model_versions", [])
    ]


def registry_oddities(settings: Settings, versions: Iterable[ModelVersion]) -> list[Oddity]:
    """Return the inconsistencies of the model registry: stage, alias and tags of Production.

    Raises:
        requests.RequestException: MLflow does not answer.
        psycopg.Error: the database cannot be reached.
    """
    answer = _ask_mlflow(settings, "registered-models/get", {"name": MODEL_NAME})
    if answer.status_code == requests.codes.not_found:
        return []
    answer.raise_for_status()
    found = answer.json()["registered_model"].get("aliases", [])
    aliases = {each["alias"]: int(each["version"]) for each in found}
    return oddities(versions, aliases, _feature_services(settings))


def _ask_mlflow(settings: Settings, what: str, asked: Mapping[str, str]) -> requests.Response:
    return session().get(f"{settings.mlflow_url}/api/2.0/mlflow/{what}", params=asked, timeout=10)


def _feature_services(settings: Settings) -> list[str] | None:
    """Return the names of the feature services, None if Feast has no registry yet."""
    with connect(environment(settings)["CHURN_DATABASE_URL"]) as connection:
        try:
            return [name for (name,) in connection.execute(statement("status/feature_services"))]
        except psycopg.errors.UndefinedTable:
            return None


def production_version(settings: Settings) -> int | None:
    """Return the version in stage Production, of several the one that is served, None if there is none.

    Raises:
        requests.RequestException: MLflow does not answer.
    """
    held = in_production(registered_versions(settings))
    return held[-1].version if held else None


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
    models = [_registry_report(settings), serving_report(settings)]
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


def as_of_table(states: list[AsOfState], versions: list[ModelVersion]) -> str:
    """Return a table of the AS_OF dates, the last decision, and whether Production is superseded."""
    superseded = [each for each in versions if "superseded" in each.tags]
    # By run as well: version numbers restart if the registered model is deleted and created again.
    old = {(each.version, each.run_id) for each in superseded}

    def version_of(state: AsOfState) -> str | int | None:
        is_old = (state.candidate_version, state.run_id or "") in old
        return f"{state.candidate_version} superseded" if is_old else state.candidate_version

    def scored(state: AsOfState) -> str | None:
        if state.list_revision is None:
            return None
        outdated = ", outdated" if state.list_is_current is False else ""
        return f"version {state.list_version}, revision {state.list_revision}{outdated}"

    header = (
        "AS_OF",
        "revision",
        "received",
        "rows",
        "snapshot",
        "decision",
        "version",
        "AUC",
        "Production AUC",
        "scored",
    )
    rows = [
        (
            state.as_of,
            state.revision,
            f"{state.received_at:%Y-%m-%d %H:%M}" if state.received_at else None,
            state.rows,
            "yes" if state.has_snapshot else "no",
            state.outcome,
            version_of(state),
            state.candidate_auc,
            state.production_auc,
            scored(state),
        )
        for state in states
    ]
    last = last_decision(states)
    why = [f"last decision ({last.as_of}): {last.outcome}: {last.reason}"] if last else []
    why += [
        f"Production, version {each.version}, is superseded: {each.tags['superseded']}"
        for each in in_production(superseded)
    ]
    return "\n\n".join([table(header, rows), *why])


def _without_password(uri: str) -> str:
    parts = {k: v for k, v in psycopg.conninfo.conninfo_to_dict(uri).items() if k != "password"}
    return psycopg.conninfo.make_conninfo("", **parts)
