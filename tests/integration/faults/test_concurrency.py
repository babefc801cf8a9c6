"""Of two concurrent runs, one is held before its n-th act while the other runs as far as it can.

The final state is that of sequential runs.
"""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from churn.outcome import DONE, OLDER, UNCHANGED
from tests.conftest import THOROUGH
from tests.integration.fault_injection import Child, waits_for_a_lock
from tests.integration.faults.fault_world import (
    D31,
    F29,
    copy_of,
    everything,
    new_world,
    run_load,
    run_materialize,
    run_snapshot,
    run_up_to,
    served,
    tables,
)
from tests.integration.moments import moments


@pytest.fixture(scope="module")
def both(postgres_url, churn_template, tmp_path_factory):
    """Both drops have arrived, and the definitions are applied."""
    with new_world(postgres_url, churn_template, tmp_path_factory.mktemp("both")) as world:
        yield world


def prepared(world, step):
    """Run both dates up to `step`; return the two worlds."""
    january = run_up_to(world, step)
    return january, run_up_to(replace(world, as_of=F29), step)


def run_while_held(n, held, passing, wire, children):
    """Hold `held` = (step, world) before its n-th act, run `passing` until it ends or waits, then finish both.

    Returns:
        Whether there was an n-th act, and both results.
    """
    reached, go_on = threading.Event(), threading.Event()

    def hold():
        reached.set()
        return go_on.wait(60)

    wire.before(n, hold, reads=False)
    (step, world), (other, beside) = held, passing
    with ThreadPoolExecutor(2) as pool:
        through = replace(world, database_url=wire.url(world.database_url))
        first = pool.submit(lambda: Child(children, step, through).result()[1])
        while not reached.is_set() and not first.done():
            time.sleep(0.002)
        second = pool.submit(other, beside)
        while not second.done() and not waits_for_a_lock(beside.database_url):
            time.sleep(0.005)
        go_on.set()
        return reached.is_set(), first.result(), second.result()


@pytest.mark.parametrize(
    ("step", "dates", "reader", "stride"),
    [
        (run_load, (F29, F29), tables, 4),
        (run_snapshot, (F29, F29), tables, 3),
        (run_materialize, (F29, F29), served, 6),
        (run_materialize, (F29, D31), served, 6),
        (run_materialize, (D31, F29), served, 6),
        (run_load, (D31, F29), tables, 6),
    ],
    ids=[
        "the same load",
        "the same snapshot",
        "the same materialization",
        "a backfill while the newest is materialized",
        "the newest while a backfill is materialized",
        "loads of two dates",
    ],
)
def test_concurrent_runs_end_like_sequential_ones(
    step, dates, reader, stride, both, wire, children, postgres_url, tmp_path
):
    with copy_of(both, postgres_url, tmp_path / "before") as start:
        worlds = {world.as_of: world for world in prepared(start, step)}
        held, passing = (worlds[as_of] for as_of in dates)

        def in_copy(world, copy):
            return replace(world, database_url=copy.database_url, archive=copy.archive)

        with copy_of(start, postgres_url, tmp_path / "in-order") as copy:
            for as_of in sorted(dates):
                step(in_copy(worlds[as_of], copy))
            seen, end = reader(in_copy(held, copy)), everything(in_copy(held, copy))
        for n in moments(2 * stride if THOROUGH else 4 * stride):
            with copy_of(start, postgres_url, tmp_path / "copy") as copy:
                pair = [(step, in_copy(world, copy)) for world in (held, passing)]
                was_held, *outcomes = run_while_held(n, *pair, wire, children)
                assert {outcome.outcome for outcome in outcomes} <= {DONE, UNCHANGED, OLDER}
                step(in_copy(worlds[max(dates)], copy))
                assert reader(pair[0][1]) == seen
                assert comparable(everything(pair[0][1])) == comparable(end)
            if not was_held:
                break
        assert n > 2 * stride


def comparable(content):
    """Without the event rows, which differ: an older late date is a recorded no-op."""
    return {**content, "rows": {key: n for key, n in content["rows"].items() if key[0] != "online.builds"}}
