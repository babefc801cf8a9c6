"""Training, gate and promotion are killed before any request or statement: a retry ends as if undisturbed."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from mlflow import MlflowClient

from churn.gate import rule
from churn.outcome import DONE, UNCHANGED
from churn.registry.model_version import MODEL_NAME
from churn.synthetic.generate import write_drops
from tests.conftest import THOROUGH, database_copy
from tests.integration.conftest import Pipeline
from tests.integration.fault_injection import Child, waits_for_a_lock
from tests.integration.fault_registry import (
    Registry,
    count_changes,
    registered,
    registry_copy,
    run_gate,
    run_grade,
    run_promote,
    run_train,
)
from tests.integration.faults.fault_world import D31, F29, M31
from tests.integration.moments import moments

STRIDE = 1 if THOROUGH else 6
"""Of the moments that a step can be killed at, one in so many is tried."""


@pytest.fixture(scope="module")
def january(postgres_url, churn_template, mlflow_template, tmp_path_factory):
    """Three dates are there, and January's model is in Production."""
    directory = tmp_path_factory.mktemp("january")
    write_drops(directory / "drops", customers=1500, months=3, seed=5)
    with database_copy(postgres_url, churn_template) as url, database_copy(postgres_url, mlflow_template) as mlflow_url:
        pipeline = Pipeline(url, directory / "drops", directory / "archive")
        for as_of in (D31, F29):
            pipeline.snapshot(as_of)
        pipeline.serve(M31)
        world = Registry(url, mlflow_url.replace("postgresql://", "postgresql+psycopg2://"), directory, D31)
        first = run_train(world)
        assert run_gate(replace(world, version=first.figures["version"])).outcome == "DONE"
        yield replace(world, as_of=M31)


@pytest.fixture(scope="module")
def candidate(january, postgres_url):
    """March's candidate is registered."""
    with registry_copy(january, postgres_url) as world:
        yield replace(world, version=run_train(world).figures["version"])


@pytest.fixture(scope="module")
def decided(candidate, postgres_url):
    """The gate has decided to promote it."""
    with registry_copy(candidate, postgres_url) as world:
        outcome = run_grade(world)
        assert outcome.figures["decision"] == rule.PROMOTE
        yield replace(world, decided=outcome)


@pytest.fixture(scope="module")
def for_a_person(candidate, postgres_url):
    """Production cannot be compared fairly, so a person decides on March's candidate."""
    with registry_copy(candidate, postgres_url) as world:
        client = MlflowClient(world.mlflow_uri, world.mlflow_uri)
        client.set_model_version_tag(MODEL_NAME, "1", "cohort_salt", "another")
        yield world


@pytest.fixture(scope="module")
def moved_by_hand(decided, postgres_url):
    """After the gate decided to promote March's candidate, a person emptied Production."""
    with registry_copy(decided, postgres_url) as world:
        client = MlflowClient(world.mlflow_uri, world.mlflow_uri)
        client.transition_model_version_stage(MODEL_NAME, "1", "Archived")
        yield world


@pytest.fixture
def kill_before(children):
    """A function that kills a step before its n-th act, and returns whether it finished."""

    def run(n, step, world):
        return Child(children, step, world, dies_before=n, prepare=count_changes).result()[0]

    return run


def test_concurrent_trainings_of_an_as_of_make_one_version(january, children, wire, postgres_url):
    with registry_copy(january, postgres_url) as undisturbed:
        wire.before(0, reads=False)
        Child(children, run_train, replace(undisturbed, mlflow_uri=wire.url(undisturbed.mlflow_uri))).result()
        begins = next(n for n, text in enumerate(wire.said, 1) if text.startswith("INSERT INTO runs"))
        new = registered(undisturbed)
    with registry_copy(january, postgres_url) as world, ThreadPoolExecutor(2) as pool:
        reached, go_on = threading.Event(), threading.Event()

        def hold():
            reached.set()
            return go_on.wait(60)

        # The first is held when it begins its run in MLflow.
        wire.before(begins, hold, reads=False)
        held = replace(world, mlflow_uri=wire.url(world.mlflow_uri))
        first = pool.submit(lambda: Child(children, run_train, held).result()[1])
        assert reached.wait(60)
        second = pool.submit(lambda: Child(children, run_train, world).result()[1])
        while not second.done() and not waits_for_a_lock(world.database_url):
            time.sleep(0.01)
        go_on.set()
        assert {first.result().outcome, second.result().outcome} == {DONE, UNCHANGED}
        assert registered(world) == new


def in_production(world):
    return [version for version, stage, _ in registered(world)[0] if stage == "Production"]


@pytest.mark.parametrize(
    ("step", "start", "least"),
    [(run_train, "january", 10), (run_grade, "candidate", 2), (run_grade, "for_a_person", 5)],
    ids=["training", "a decision to promote", "a decision for a person"],
)
def test_repeatedly_killed_runs_end_as_if_undisturbed(step, start, least, request, kill_before, postgres_url):
    start = request.getfixturevalue(start)
    with registry_copy(start, postgres_url) as undisturbed:
        old = registered(undisturbed)
        step(undisturbed)
        new = registered(undisturbed)
    with registry_copy(start, postgres_url) as world:
        for n in moments(STRIDE):
            if kill_before(n, step, world):
                break
            if step is run_train:
                assert registered(world) in (old, new)
        assert n > least
        assert registered(world) == new
        assert step(world).outcome == UNCHANGED
        assert registered(world) == new


@pytest.mark.parametrize(("start", "least"), [("decided", 5), ("moved_by_hand", 5)])
def test_a_promotion_killed_before_any_act_is_completed_by_the_retry(start, least, request, kill_before, postgres_url):
    start = request.getfixturevalue(start)
    with registry_copy(start, postgres_url) as undisturbed:
        old_or_new = [in_production(undisturbed)]
        run_promote(undisturbed)
        old_or_new.append(in_production(undisturbed))
        new = registered(undisturbed)
    for n in moments(STRIDE):
        with registry_copy(start, postgres_url) as world:
            lived = kill_before(n, run_promote, world)
            assert in_production(world) in old_or_new
            run_promote(world)
            assert registered(world) == new
        if lived:
            break
    assert n > least


def test_concurrent_promotions_graded_on_the_same_production_end_as_in_order(january, postgres_url):
    with registry_copy(january, postgres_url) as world:
        february, march = (replace(world, as_of=as_of) for as_of in (F29, M31))
        february, march = (replace(each, version=run_train(each).figures["version"]) for each in (february, march))
        february, march = (replace(each, decided=run_grade(each)) for each in (february, march))
        assert {each.decided.figures["production_version"] for each in (february, march)} == {1}
        for first, second in ((february, march), (march, february)):
            with registry_copy(world, postgres_url) as copy:
                for each in (first, second):
                    run_promote(replace(each, database_url=copy.database_url, mlflow_uri=copy.mlflow_uri))
                assert in_production(copy) == [march.version]
