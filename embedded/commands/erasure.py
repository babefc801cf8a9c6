"""Erases customers by the DAG churn_erase, and prints what is held of one."""

from functools import partial
from pathlib import Path

from churn.erasure.ids import ids_in
from churn.erasure.report import find_record, report_of
from churn.erasure.request import ERASED, REFUSED, ErasureRefused, delete_ids, write_ids
from embedded.commands.airflow_api import Airflow, AirflowError, Run
from embedded.commands.chain import Say, follow, wait_for_dag, why_failed
from embedded.commands.in_process import NotDone, in_stack
from embedded.environment import environment
from embedded.settings import Settings
from embedded.stack.lifecycle import check_alive

DAG = "churn_erase"

LEFT_TO_A_PERSON = """left to you (docs/erasure.md):
- backups from before still hold them: delete these, or restore them with make restore and make up, which erases again
- tell whoever sends the drops: a drop that brings them back is loaded without them, but the sender still has them
- copies that were sent on: alerts, CSV files of the page At risk, lists that a campaign took"""

INTERRUPTED = """the request has not ended: what was removed stays removed, and from `bury` on drops are loaded without
the customers. Mend what the error says and clear the failed task of {run} in Airflow; make erase is not needed again.
The file of ids stays in {directory} until the request ends."""


def erase(settings: Settings, user: str | None, users: Path | None, why: str, say: Say) -> bool:
    """Erase a customer, or those of a file, and print the report; return whether they were erased.

    Ids reach the DAG by a file in CHURN_ERASURE_DIR alone. The run goes on in Airflow when this command is interrupted.

    Raises:
        AirflowError: Airflow cannot be reached, or refuses the reason.
        ChainError: the DAG is paused, or Airflow stopped answering.
        NotDone: there is no id or one that no customer can have, or the file cannot be read.
    """
    airflow = Airflow(settings.airflow_url)
    wait_for_dag(airflow, DAG)
    request = _write(settings, user, users)
    run = _start(airflow, settings, request, why)
    say(f"request {request}: run {run.ref.run_id} of {DAG}")
    (link,) = follow(airflow, {run.ref: f"request {request[:8]}"}, say, partial(check_alive, settings))
    url = environment(settings)["CHURN_DATABASE_URL"]
    if link.failed:
        _print(f"FAILED {why_failed(airflow, run.ref)}")
    _print(report_of(request, url))
    record = find_record(request, url)
    if record and record.result == ERASED:
        _print(LEFT_TO_A_PERSON)
        return not link.failed
    if not (record and record.result == REFUSED):
        _print(INTERRUPTED.format(run=run.ref.run_id, directory=settings.erasure))
    return False


def _write(settings: Settings, user: str | None, users: Path | None) -> str:
    """Write the file of ids; return the name of the request."""
    try:
        ids = [user or ""] if users is None else ids_in(users.read_bytes())
        settings.erasure.mkdir(mode=0o700, parents=True, exist_ok=True)
        return write_ids(ids, settings.erasure)
    except (ErasureRefused, OSError, UnicodeDecodeError) as error:
        raise NotDone(f"nothing is erased: {error}") from error


def _start(airflow: Airflow, settings: Settings, request: str, why: str) -> Run:
    try:
        return airflow.trigger(DAG, {"request": request, "why": why})
    except AirflowError:
        # A run that began nevertheless fails at its first task, which finds no file.
        delete_ids(request, settings.erasure)
        raise


def customer(settings: Settings, user: str) -> str:
    """Return what is held of a customer, by place, as indented JSON.

    Raises:
        NotDone: a place cannot be read.
        StackError: the stack is down.
    """
    with in_stack(settings) as variables:
        from churn.erasure.customer import as_json, held  # noqa: PLC0415 — imports MLflow, which reads the environment

        url, landing, archive = (variables[name] for name in ("CHURN_DATABASE_URL", "LANDING_DIR", "ARCHIVE_DIR"))
        try:
            return as_json(held(user, url, Path(landing), archive))
        except OSError as error:
            raise NotDone(f"not everything can be read: {error}") from error


def _print(text: str) -> None:
    print(f"\n{text}", flush=True)  # noqa: T201
