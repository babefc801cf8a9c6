"""The whole chain on the real scheduler: one AS_OF from trigger to gate decision, and six by backfill.

The stack is warm, and six AS_OFs have filled the training window before the measurement.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from datetime import date, datetime
from functools import partial
from pathlib import Path
from statistics import mean

from bench import BenchError
from bench.context import SEED, Bench
from bench.figures import Row
from bench.server import temporary_stack
from churn.synthetic.generate import write_drops
from embedded.commands.airflow_api import Airflow, Ref, Task
from embedded.commands.chain import HEAD, follow, wait_for_dag
from embedded.commands.drops import find_drops, land
from embedded.operator.as_of_state import as_of_states
from embedded.settings import Settings
from embedded.stack import lifecycle as stack

CUSTOMERS = 7_000
WINDOW = 6
SIX = 6
DECIDES = "churn_train.gate"


def run(bench: Bench) -> Row:
    """Measure with a temporary stack.

    Returns:
        The seconds from the trigger to the (last) decision, and the means of each task: `scheduling` is from the end of
        the previous task until this one is queued (including the wait for a pool), `starting` until its start,
        `running` until its end.

    Raises:
        BenchError: a run failed, or an AS_OF has no decision.
    """
    with temporary_stack() as found:
        # Labels of one day: with longer ones, most days share a training set, and nothing is trained.
        settings = replace(found, label_days=1)
        stack.up(settings, bench.say)
        generated = settings.home / "generated"
        write_drops(generated, customers=CUSTOMERS, months=WINDOW + 1 + SIX, seed=SEED, daily=True)
        drops = list(find_drops(generated).items())
        airflow = Airflow(settings.airflow_url)
        wait_for_dag(airflow)
        # It would start the measured chains itself.
        airflow.pause("churn_landing")
        measure_chains = partial(_measure, bench, settings, airflow)
        measure_chains(drops[:WINDOW])
        one, tasks_of_one = measure_chains(drops[WINDOW : WINDOW + 1])
        six, tasks_of_six = measure_chains(drops[WINDOW + 1 :])
    return {
        "customers": CUSTOMERS,
        "s from trigger to decision, one AS_OF": one,
        "s for six by backfill": six,
        "tasks of one AS_OF": tasks_of_one,
        "tasks of six AS_OFs": tasks_of_six,
    }


def _measure(
    bench: Bench, settings: Settings, airflow: Airflow, drops: list[tuple[date, Path]]
) -> tuple[float, list[Row]]:
    """Land the drops, run their chains to the end, and return the figures of account()."""
    for _, drop in drops:
        land(drop, settings.landing)
    days = [as_of for as_of, _ in drops]
    heads: dict[Ref, str] = {}
    if len(days) == 1:
        heads[airflow.trigger(HEAD, {"as_of": str(days[0])}).ref] = str(days[0])
    else:
        heads |= {run.ref: run.partition_key or "" for run in airflow.backfill(HEAD, days[0], days[-1])}
    links = follow(airflow, heads, bench.say, partial(stack.check_alive, settings))
    undecided = set(days) - {state.as_of for state in as_of_states(settings) if state.decision}
    if undecided or any(link.failed for link in links):
        failed = [f"{link.as_of} {link.run.ref.dag_id}" for link in links if link.failed]
        raise BenchError(f"failed: {failed}; without a decision: {sorted(map(str, undecided))}")
    chains: dict[str, list[Task]] = defaultdict(list)
    for link in links:
        chains[link.as_of] += airflow.tasks(link.run.ref)
    return account(min(link.run.queued_at for link in links if link.run.queued_at), chains.values())


def account(began: datetime, chains: Iterable[list[Task]]) -> tuple[float, list[Row]]:
    """Return the seconds from `began` to the last decision, and the mean seconds of each task."""
    decided = began
    spans: dict[str, list[list[float]]] = defaultdict(list)
    for chain in chains:
        # A task that is skipped with its predecessor is never queued.
        ran = sorted(
            (task.started_at, task.queued_at or task.started_at, task.ended_at, f"{task.ref.dag_id}.{task.task_id}")
            for task in chain
            if task.started_at and task.ended_at
        )
        before = began
        for started, queued, ended, name in ran:
            spans[name].append([part.total_seconds() for part in (queued - before, started - queued, ended - started)])
            before = ended
            decided = max(decided, ended) if name == DECIDES else decided
    return (decided - began).total_seconds(), [_means(name, found) for name, found in spans.items()]


def _means(name: str, spans: list[list[float]]) -> Row:
    scheduling, starting, running = zip(*spans, strict=True)
    return {
        "task": name,
        "scheduling s": round(mean(scheduling), 3),
        "starting s": round(mean(starting), 3),
        "running s": round(mean(running), 3),
        "longest s": round(max(running), 3),
    }
