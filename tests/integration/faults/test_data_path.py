"""A step of the data path is killed before any act: readers see the old or the new state, and a retry completes it."""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace

import pytest

from tests.conftest import THOROUGH, database_copy
from tests.integration.fault_injection import Child
from tests.integration.faults.fault_world import (
    D31,
    F29,
    World,
    about_to,
    archived,
    copy_of,
    everything,
    new_world,
    run_apply,
    run_load,
    run_materialize,
    run_snapshot,
    run_up_to,
    run_validate,
    run_withdrawal,
    served,
    tables,
    write_corrected_february,
    write_february,
    write_january,
)
from tests.integration.moments import moments

STRIDE = 4 if THOROUGH else 20
"""Of the moments that a step can be killed at, one in so many is tried."""


@pytest.fixture(scope="module")
def january(postgres_url, churn_template, tmp_path_factory):
    """January is served, and February's drop has come."""
    with new_world(postgres_url, churn_template, tmp_path_factory.mktemp("january")) as world:
        yield replace(run_up_to(world), as_of=F29)


@pytest.fixture(scope="module")
def corrected(january, postgres_url, tmp_path_factory):
    """February is served, and its drop was corrected."""
    directory = tmp_path_factory.mktemp("corrected")
    with copy_of(january, postgres_url, directory) as copy:
        world = replace(copy, landing=directory / "landing")
        write_january(world.landing)
        write_february(world.landing)
        run_up_to(world)
        write_corrected_february(world.landing)
        yield world


@pytest.fixture
def killed_before(children, wire):
    """A function that kills a step before its n-th act (Postgres or `watched`), and returns whether it finished."""

    def run(n, step, world, reads=True, watched=None):
        child: Future[Child] = Future()

        def kill() -> bool:
            child.result().kill()
            return False

        wire.before(0 if watched else n, kill, reads)
        through = replace(world, database_url=wire.url(world.database_url))
        child.set_result(Child(children, step, through, watched=watched, dies_before=n if watched else None))
        lived, _, _ = child.result().result()
        return lived

    return run


def die_everywhere(step, start, run, reader: Callable[[World], object], postgres_url, tmp_path) -> int:
    """Call `run(n, world)` for every STRIDE-th n until the step finishes, each with a retry; return the last n."""
    with about_to(step, start, postgres_url, tmp_path / "before") as world:
        old = reader(world)
        with copy_of(world, postgres_url, tmp_path / "undisturbed") as undisturbed:
            step(undisturbed)
            new, end = reader(undisturbed), everything(undisturbed)
        for n in moments(STRIDE):
            with copy_of(world, postgres_url, tmp_path / "copy") as mortal:
                lived = run(n, mortal)
                assert reader(mortal) in ([new] if lived else [old, new])
                step(mortal)
                assert reader(mortal) == new
                assert everything(mortal) == end
            if lived:
                return n - 1
    raise AssertionError


def archive_is_whole(world):
    archived(world)
    return True


@pytest.mark.parametrize(
    ("step", "start", "least"),
    [
        (run_load, "january", 30),
        (run_load, "corrected", 30),
        (run_snapshot, "january", 15),
        (run_snapshot, "corrected", 15),
    ],
    ids=["the first load", "a second load", "the first snapshot", "a second snapshot"],
)
def test_a_step_killed_before_any_statement_is_completed_by_the_retry(
    step, start, least, request, killed_before, postgres_url, tmp_path
):
    def run(n, world):
        return killed_before(n, step, world)

    assert die_everywhere(step, request.getfixturevalue(start), run, tables, postgres_url, tmp_path) >= least


def test_applying_definitions_killed_before_any_registry_change_is_completed_by_the_retry(
    killed_before, postgres_url, migrated_template, tmp_path
):
    # Feast makes a transaction of each object, about fifty in all: one change in a dozen will do.
    landing, archive = tmp_path / "landing", tmp_path / "archive"
    archive.mkdir()
    with database_copy(postgres_url, migrated_template) as url:
        applied = World(url, landing, archive, D31)
        run_apply(applied)
        end = everything(applied)
    for n in moments(12 * STRIDE):
        with database_copy(postgres_url, migrated_template) as url:
            world = World(url, landing, archive, D31)
            lived = killed_before(n, run_apply, world, reads=False)
            run_apply(world)
            assert everything(world) == end
        if lived:
            break
    assert n > 60


def test_a_materialization_killed_before_any_act_serves_old_or_new_and_is_completed_by_the_retry(
    january, killed_before, postgres_url, tmp_path
):
    def run(n, world):
        return killed_before(n, run_materialize, world, reads=False)

    assert die_everywhere(run_materialize, january, run, served, postgres_url, tmp_path) >= 10


def test_a_withdrawal_killed_before_any_act_is_completed_by_the_retry(january, killed_before, postgres_url, tmp_path):
    def run(n, world):
        return killed_before(n, run_withdrawal, world, reads=False)

    def found(world):
        return tables(world), served(world)

    february = tmp_path / "february"
    with copy_of(january, postgres_url, february) as world:
        run_up_to(world)
        old = found(world)
        with copy_of(world, postgres_url, tmp_path / "undisturbed") as undisturbed:
            run_withdrawal(undisturbed)
            new, end = found(undisturbed), everything(undisturbed)
        assert {each.as_of for each in new[1].values()} == {D31, None}
        for n in moments(STRIDE):
            with copy_of(world, postgres_url, tmp_path / "copy") as mortal:
                lived = run(n, mortal)
                # The tables change at once, and what is served does next.
                assert found(mortal) in ([new] if lived else [old, (new[0], old[1]), new])
                run_withdrawal(mortal)
                assert found(mortal) == new
                assert everything(mortal) == end
            if lived:
                break
    assert n > 20


def test_validate_killed_before_any_archive_change_is_completed_by_the_retry(
    corrected, killed_before, postgres_url, tmp_path
):
    def run(n, world):
        return killed_before(n, run_validate, world, watched=world.archive)

    assert die_everywhere(run_validate, corrected, run, archive_is_whole, postgres_url, tmp_path) >= 10
