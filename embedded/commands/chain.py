"""Follows chains from a run of churn_snapshot to the last run, by the lineage in Airflow's asset events.

Each asset event starts a run of every DAG scheduled on the asset. A run without an asset event ends its chain, for
example that of an AS_OF without a drop. Runs are never matched by name or time.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from embedded.commands.airflow_api import Airflow, AirflowError, Ref, Run, Task

CHAIN = ("churn_snapshot", "churn_materialize", "churn_train", "churn_score", "churn_outcome")
HEAD = CHAIN[0]
POLL = 1.0
# The scheduler starts a run within a second or two of the asset event; a paused DAG never does. The time does not count
# while the DAG has a queued or running run, which can hold back the expected one.
PATIENCE = 60.0
# Airflow parses the DAG files within some seconds of its start.
PARSED = 90.0
REPORT_EVERY = 10.0
ONLY_IF_ASKED = {"score_meanwhile"}
"""Tasks that skip in most runs, which is not worth a note."""
Say = Callable[[str], None]
Check = Callable[[], None]


class ChainError(RuntimeError):
    """A chain that cannot continue."""


@dataclass(frozen=True)
class Link:
    """A finished run of a chain, and the AS_OF of the chain."""

    as_of: str
    run: Run

    @property
    def failed(self) -> bool:
        return self.run.state == "failed"


def wait_for_dag(airflow: Airflow, dag_id: str = HEAD) -> None:
    """Wait until Airflow has parsed a DAG, which takes some seconds after its start.

    Raises:
        ChainError: the DAG is not there in time (the message has the import errors), or is paused.
    """
    deadline = time.monotonic() + PARSED
    while dag_id not in (dags := airflow.dags()):
        errors = airflow.import_errors()
        if errors or time.monotonic() > deadline:
            why = "\n".join(f"{file}:\n{trace}" for file, trace in errors.items()) or "no DAG file defines it"
            raise ChainError(f"Airflow has no DAG {dag_id!r}: {why}")
        time.sleep(1)
    if dags[dag_id]:
        raise ChainError(f"the DAG {dag_id!r} is paused: unpause it in Airflow first")


def follow(airflow: Airflow, heads: Mapping[Ref, str], say: Say, check: Check) -> list[Link]:
    """Wait until the chains of `heads` have ended, report progress to `say`, and return their runs.

    Args:
        heads: the first run of each chain, and its AS_OF.
        check: called every few seconds; raises when a service that the chains need is gone.

    Raises:
        ChainError: a DAG scheduled on a new asset event did not start, or Airflow did not answer for about a minute.
    """
    try:
        return _follow(airflow, heads, say, check)
    except AirflowError as error:
        check()
        raise ChainError(f"{error}\nThe chain continues in Airflow; make status shows its state.") from error


def _follow(airflow: Airflow, heads: Mapping[Ref, str], say: Say, check: Check) -> list[Link]:
    as_of = dict(heads)
    running, leading_on, links = set(heads), dict[Ref, float](), list[Link]()
    began = time.monotonic()
    next_report = began + REPORT_EVERY
    while running or leading_on:
        unfinished = airflow.unfinished()
        for ref in running - unfinished:
            run = airflow.run(ref)
            if not run.finished:
                continue
            running.discard(ref)
            links.append(Link(as_of[ref], run))
            say(_finished(airflow, links[-1]))
            # A failed run too: a failed training starts the scoring of its AS_OF.
            leading_on[ref] = time.monotonic() + PATIENCE
        busy = {run.dag_id for run in unfinished}
        for ref, deadline in list(leading_on.items()):
            started, waiting_for = _successors(airflow, ref, busy)
            running |= {new for new in started if new not in as_of}
            as_of.update((new, as_of[ref]) for new in started if new not in as_of)
            if not waiting_for:
                del leading_on[ref]
            elif waiting_for & busy:
                leading_on[ref] = time.monotonic() + PATIENCE
            elif time.monotonic() > deadline:
                raise ChainError(
                    f"{as_of[ref]}: {ref.dag_id} has finished, but no run of {', '.join(sorted(waiting_for))} "
                    f"started within {PATIENCE:.0f} seconds: is that DAG paused?"
                )
        if time.monotonic() > next_report:
            next_report = time.monotonic() + REPORT_EVERY
            check()
            say(_under_way(airflow.running_tasks(), running, as_of, time.monotonic() - began) + _paused(airflow))
        time.sleep(POLL)
    return links


def _successors(airflow: Airflow, ref: Ref, busy: set[str]) -> tuple[set[Ref], set[str]]:
    """Return the runs that the run started, and the DAGs it has yet to start; `busy`: the DAGs with an active run."""
    handovers = airflow.handovers(ref)
    if handovers is None:
        # The started run is queued, so its DAG is among the busy ones.
        return set(), busy or {"the next DAG"}
    started = {run for handover in handovers for run in handover.started}
    return started, {dag for handover in handovers for dag in handover.waiting_for}


def _finished(airflow: Airflow, link: Link) -> str:
    took = f"{link.run.duration:.1f} s" if link.run.duration is not None else ""
    note = f"  {why}" if not link.failed and (why := _why_skipped(airflow, link.run.ref)) else ""
    return f"{link.as_of}  {link.run.ref.dag_id:<18} {link.run.state:<8} {took:>8}{note}"


def _under_way(tasks: list[Task], running: set[Ref], as_of: Mapping[Ref, str], seconds: float) -> str:
    ours = sorted(
        f"{as_of[task.ref]} {task.ref.dag_id}.{task.task_id}" + _state_of(task) for task in tasks if task.ref in running
    )
    waiting = len(running - {task.ref for task in tasks})
    more = f"; {waiting} runs wait for their turn" if waiting > 1 else ""
    return f"… {seconds:.0f} s: {', '.join(ours) or 'waiting for the scheduler'}{more}"


def _state_of(task: Task) -> str:
    match task.state:
        case "running":
            return ""
        case "awaiting_input":
            return " (waits for a person: Required Actions in Airflow)"
    return f" ({task.state}, try {task.try_number})"


def _paused(airflow: Airflow) -> str:
    """A queued run of a paused DAG waits until a person unpauses the DAG."""
    held = {run.dag_id for run in airflow.unfinished()} & {dag for dag, paused in airflow.dags().items() if paused}
    return f"; paused in Airflow: {', '.join(sorted(held))}" if held else ""


def _why_skipped(airflow: Airflow, ref: Ref) -> str | None:
    for task in airflow.tasks(ref):
        if task.state == "skipped" and task.task_id not in ONLY_IF_ASKED:
            for entry in _log(airflow, task):
                if entry.get("event") == "Skipping task.":
                    return f"{task.task_id} skipped: {entry.get('reason')}"
    return None


def why_failed(airflow: Airflow, ref: Ref) -> str:
    """Return the failed tasks of the run, each with the last exception in its log."""
    failed = [task for task in airflow.tasks(ref) if task.state == "failed"]
    if not failed:
        return f"{ref.dag_id} failed without a failed task: see the run {ref.run_id} in Airflow"
    return "\n".join(f"{ref.dag_id}.{task.task_id}: {_exception(_log(airflow, task))}" for task in failed)


def _exception(log: list[dict[str, object]]) -> str:
    for entry in reversed(log):
        detail = entry.get("error_detail")
        if isinstance(detail, list) and detail:
            return f"{detail[0]['exc_type']}: {detail[0]['exc_value']}"
    errors = [str(entry["event"]) for entry in log if entry.get("level") in ("error", "critical")]
    return errors[-1] if errors else "its log holds no exception: it may have been killed"


def _log(airflow: Airflow, task: Task) -> list[dict[str, object]]:
    try:
        return airflow.log(task)
    except AirflowError as error:
        return [{"event": f"its log cannot be read: {error}", "level": "error"}]
