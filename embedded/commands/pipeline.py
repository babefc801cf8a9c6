"""The commands that run the pipeline. Each returns whether every DAG run was a success."""

from datetime import date, timedelta
from functools import partial
from pathlib import Path

import requests

from churn.board.listing import current_list
from churn.drops.holds.record import find_holds, what_to_do
from embedded.commands.airflow_api import Airflow, Ref
from embedded.commands.chain import HEAD, Link, Say, follow, wait_for_dag, why_failed
from embedded.commands.drops import find_drops, generated_drops, land
from embedded.commands.prediction import PredictionError, any_customer, predict_by
from embedded.commands.scores import at_risk, first_of
from embedded.environment import environment
from embedded.operator.as_of_state import AsOfState, as_of_states
from embedded.operator.model_registry import production_version, say_verdict
from embedded.settings import Settings
from embedded.stack.lifecycle import check_alive, up
from embedded.stack.services import addresses
from embedded.table import table

FIRST = 5
"""Customers of the list that a run shows."""

SERVING_FOLLOWS = 30.0
"""Seconds within which serving must load a new Production: three polls at their default of 10 s."""


def run(settings: Settings, drops: Path | None, say: Say) -> bool:
    """Start the stack and run the chain for every drop of `drops` (None: generated ones), oldest first.

    Prints the result of each AS_OF, one prediction and the addresses. The stack stays up.
    """
    if drops is not None:
        find_drops(drops)  # a mistyped DROPS fails before the stack starts
    up(settings, say)
    found = find_drops(drops or generated_drops(settings))
    airflow = Airflow(settings.airflow_url)
    wait_for_dag(airflow)
    links: list[Link] = []
    for as_of, drop in found.items():
        changed = land(drop, settings.landing)
        say(f"{as_of}  {'landed' if changed else 'in the landing directory already'}")
        links += follow(airflow, _trigger(airflow, as_of), say, partial(check_alive, settings))
    states = as_of_states(settings)
    green = _report_failures(airflow, links, settings, set(found)) and _report_not_loaded(states, set(found))
    _print(summary(states, set(found)))
    _print(say_verdict(settings))
    if green:
        _print(_first_of_the_list(settings, max(found)))
        customer = any_customer(found[max(found)])
        green, prediction = _prediction(settings, customer)
        _print(f"prediction for {customer}, a customer of {max(found)}:\n{prediction}")
    where = addresses(settings)
    _print(
        f"Airflow {where['airflow-api']}   MLflow {where['mlflow']}   serving {where['serving']}/docs\n"
        f"drops go to {settings.landing}; make status, make down"
    )
    return green


def _first_of_the_list(settings: Settings, as_of: date) -> str:
    """Return the customers of `as_of` who are most likely to leave."""
    url = environment(settings)["CHURN_DATABASE_URL"]
    found = current_list(url, as_of)
    if found is None:
        return f"{as_of} has no list: the log of churn_score says why"
    return f"most likely to leave after {as_of} (make scores AS_OF={as_of}):\n{at_risk(first_of(url, found, FIRST))}"


def _prediction(settings: Settings, customer: str) -> tuple[bool, str]:
    """Return whether serving answers with the version in Production, once it has loaded it, and the answer."""
    try:
        production = production_version(settings)
    except requests.RequestException as error:
        return False, f"none: MLflow does not say which version is in Production (make status): {error}"
    try:
        version = production.version if production else None
        return True, predict_by(settings, customer, version, SERVING_FOLLOWS)
    except PredictionError as error:
        # Without a version in Production no answer is right.
        return production is None, str(error)


def trigger(settings: Settings, as_of: date, say: Say) -> bool:
    """Run the chain for one AS_OF in Airflow and wait for its end."""
    airflow = Airflow(settings.airflow_url)
    wait_for_dag(airflow)
    links = follow(airflow, _trigger(airflow, as_of), say, partial(check_alive, settings))
    green = _report_failures(airflow, links, settings, {as_of})
    _print(summary(as_of_states(settings), {as_of}))
    _print(say_verdict(settings))
    return green


def backfill(settings: Settings, first: date, last: date, say: Say) -> bool:
    """Run the chain for every AS_OF from `first` to `last` as an Airflow backfill, and wait for the end of all."""
    airflow = Airflow(settings.airflow_url)
    wait_for_dag(airflow)
    in_flight = [run for run in airflow.partition_runs(HEAD, first, last) if not run.finished]
    heads: dict[Ref, str] = {run.ref: run.partition_key or "" for run in in_flight}
    for head in in_flight:
        say(f"{head.partition_key}  waiting for the run that is already active")
    heads |= {run.ref: run.partition_key or "" for run in airflow.backfill(HEAD, first, last)}
    say(f"{len(heads)} runs of {HEAD} for {first} … {last}")
    links = follow(airflow, heads, say, partial(check_alive, settings))
    days = {first + timedelta(days=day) for day in range((last - first).days + 1)}
    green = _report_failures(airflow, links, settings, days)
    _print(summary(as_of_states(settings), days))
    _print(say_verdict(settings))
    return green


def _trigger(airflow: Airflow, as_of: date) -> dict[Ref, str]:
    return {airflow.trigger(HEAD, {"as_of": str(as_of)}).ref: str(as_of)}


def summary(states: list[AsOfState], asked: set[date]) -> str:
    """Return a line for each AS_OF of `asked` with a loaded drop, and the number of those without one."""
    rows = [
        (
            state.as_of,
            state.rows,
            state.candidate_auc,
            state.production_auc,
            state.outcome,
            state.candidate_version,
            _scored(state),
            state.verdict,
        )
        for state in states
        if state.as_of in asked and state.revision is not None
    ]
    without = len(asked) - len(rows)
    lines = (
        table(("AS_OF", "rows", "candidate AUC", "Production AUC", "decision", "version", "scored", "verdict"), rows)
        if rows
        else ""
    )
    note = f"{without} of {len(asked)} dates have no loaded drop" if without else ""
    return "\n".join(part for part in (lines, note) if part)


def _scored(state: AsOfState) -> str | None:
    return f"{state.list_rows} by version {state.list_version}" if state.list_revision else None


def _report_failures(airflow: Airflow, links: list[Link], settings: Settings, asked: set[date]) -> bool:
    failed = [link for link in links if link.failed]
    for link in failed:
        _print(f"FAILED {link.as_of}\n{why_failed(airflow, link.run.ref)}")
    told = {link.as_of for link in failed}
    # Only the first run of a held drop fails.
    held = [hold for as_of, hold in find_holds(environment(settings)["CHURN_DATABASE_URL"]).items() if as_of in asked]
    for hold in held:
        if str(hold.as_of) not in told:
            _print(f"FAILED {hold}\n{what_to_do(settings.landing)}")
    return not failed and not held


def _report_not_loaded(states: list[AsOfState], landed: set[date]) -> bool:
    """Report landed drops that no run loaded: their runs succeed in Airflow although they did nothing."""
    missing = landed - {state.as_of for state in states if state.revision is not None}
    if missing:
        days = ", ".join(str(as_of) for as_of in sorted(missing))
        _print(f"FAILED to load {days}: the run of {HEAD} did nothing; its log in Airflow gives the reason")
    return not missing


def _print(text: str) -> None:
    print(f"\n{text}", flush=True)  # noqa: T201
