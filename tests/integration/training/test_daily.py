"""A month of daily drops whose labels cover 14 days: a version a label period, whichever AS_OF trains it."""

import csv
import json
from dataclasses import dataclass, field
from datetime import date, timedelta

import psycopg
import pytest
from mlflow import MlflowClient

from churn.drops.landing import MANIFEST, sha256_of
from churn.features.store import apply_definitions
from churn.gate import rule
from churn.gate.grading import grade
from churn.gate.promotion import promote
from churn.outcome import DONE, UNCHANGED
from churn.registry import client as registry
from churn.reproduction.reproduce import reproduce
from churn.synthetic.generate import write_drops
from churn.training.superseded import SUPERSEDED, mark_superseded
from churn.training.train import train
from churn.training.training_set import NothingToLearn
from churn.training.uses import used_by
from tests.conftest import database_copy, tracking
from tests.integration.conftest import Pipeline
from tests.integration.training_chain import QUICK

LABEL_DAYS = 14
FIRST = date(2024, 1, 18)
"""The first day of a label period, so that two periods are over after 29 days."""

DAYS = [FIRST + timedelta(days=number) for number in range(2 * LABEL_DAYS + 4)]
KNOWN = [DAYS[LABEL_DAYS], DAYS[2 * LABEL_DAYS]]
"""The AS_OFs at which the labels of the first days of the two periods come."""

THRESHOLDS = {"min_rows": 50, "min_each_class": 10}
"""The gate cohort of 400 customers has about 80."""


@dataclass
class Daily:
    """A database, a landing directory, and by AS_OF the outcomes of its training and its decision."""

    pipeline: Pipeline
    trained: dict = field(default_factory=dict)
    decided: dict = field(default_factory=dict)
    moved: dict = field(default_factory=dict)
    versions: list = field(default_factory=list)

    def run(self, as_of):
        """Train, grade and promote at an AS_OF, as churn_train does."""
        url = self.pipeline.database_url
        try:
            self.trained[as_of] = train(as_of, url, QUICK)
        except NothingToLearn:
            return
        decided = self.decided[as_of] = grade(self.trained[as_of].figures["version"], url, THRESHOLDS)
        if decided.figures["decision"] == rule.PROMOTE:
            figures = decided.figures
            self.moved[as_of] = promote(
                figures["version"], figures["production_version"], decided.reason, url, superior=figures["superior"]
            )

    def read_versions(self):
        self.versions = registry.find_versions(MlflowClient(), {})[::-1]

    def decisions(self):
        with psycopg.connect(self.pipeline.database_url) as connection:
            return connection.execute("SELECT candidate_version, outcome FROM gate.decisions ORDER BY id").fetchall()


@pytest.fixture(scope="module", autouse=True)
def labels_of_two_weeks():
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("CHURN_LABEL_DAYS", str(LABEL_DAYS))
        yield


@pytest.fixture(scope="module")
def world(postgres_url, churn_template, mlflow_template, tmp_path_factory):
    directory = tmp_path_factory.mktemp("daily")
    write_drops(
        directory / "landing",
        customers=400, months=len(DAYS), seed=3, start=FIRST, daily=True, label_days=LABEL_DAYS,
    )  # fmt: skip
    (directory / "mlflow").mkdir()
    with (
        database_copy(postgres_url, churn_template) as url,
        tracking(postgres_url, mlflow_template, directory / "mlflow"),
    ):
        yield Daily(Pipeline(url, directory / "landing", directory / "archive"))


@pytest.fixture(scope="module")
def daily(world):
    """Every day in order, from its drop to its decision. What is asserted of it is read before anything else runs."""
    apply_definitions(world.pipeline.database_url)
    for as_of in DAYS:
        # The gate looks at the served AS_OF when it decides, and at no other time.
        (world.pipeline.serve if as_of in KNOWN else world.pipeline.snapshot)(as_of)
        world.run(as_of)
    world.read_versions()
    return Daily(world.pipeline, dict(world.trained), dict(world.decided), dict(world.moved), world.versions)


def test_nothing_is_learned_before_the_first_label_period_is_over(daily):
    assert min(daily.trained) == KNOWN[0]


def test_a_label_period_makes_one_version_and_the_days_in_between_are_unchanged(daily):
    assert [as_of for as_of, each in daily.trained.items() if each.outcome == DONE] == KNOWN
    assert {each.outcome for as_of, each in daily.trained.items() if as_of not in KNOWN} == {UNCHANGED}
    assert [each.as_of for each in daily.versions] == KNOWN


def test_the_training_sets_hold_the_first_day_of_each_period(daily):
    learned = [json.loads(each.tags["learned_from"]) for each in daily.versions]
    assert learned == [[str(DAYS[0])], [str(DAYS[0]), str(DAYS[LABEL_DAYS])]]
    assert [each.tags["graded_out_of_time"] for each in daily.versions] == ["False", "True"]


def test_a_version_says_which_days_used_it(daily):
    first, second = (sorted(used_by(each.tags)) for each in daily.versions)
    assert (first, second) == (DAYS[LABEL_DAYS : 2 * LABEL_DAYS], DAYS[2 * LABEL_DAYS :])


def test_the_gate_decides_once_a_version(daily):
    assert [version for version, _ in daily.decisions()[:2]] == [1, 2]
    assert [as_of for as_of, each in daily.decided.items() if each.outcome == DONE] == KNOWN


def test_production_moves_at_most_once_a_label_period(daily):
    moved = [as_of for as_of, each in daily.moved.items() if each.outcome == DONE]
    assert moved[:1] == KNOWN[:1]
    assert set(moved) <= set(KNOWN)


def test_no_version_is_superseded_where_nothing_was_corrected(daily):
    assert not [each.version for each in daily.versions if SUPERSEDED in each.tags]


@pytest.mark.parametrize("order", [(31, 16, 28, 14), (14, 31, 29, 22), (22, 14, 30)])
def test_a_version_has_the_same_as_of_in_any_order_of_the_runs(daily, order, postgres_url, mlflow_template, tmp_path):
    with tracking(postgres_url, mlflow_template, tmp_path):
        for day in order:
            train(DAYS[day], daily.pipeline.database_url, QUICK)
        found = {each.tags["data_digest"]: each for each in registry.find_versions(MlflowClient(), {})}
    named = {each.tags["data_digest"]: each for each in daily.versions}
    assert found.keys() == named.keys()
    for digest, each in found.items():
        assert each.as_of == named[digest].as_of
        assert each.tags["graded_digest"] == named[digest].tags["graded_digest"]


def test_a_version_that_a_later_day_trained_is_reproduced(daily, postgres_url, mlflow_template, tmp_path):
    with tracking(postgres_url, mlflow_template, tmp_path):
        version = train(DAYS[-1], daily.pipeline.database_url, QUICK).figures["version"]
        assert reproduce(version, daily.pipeline.database_url, daily.pipeline.archive, str).difference is None


@pytest.fixture(scope="module")
def corrected(daily, world):
    """The labels of the second period's first day are corrected; the correction is loaded and the last day runs."""
    turn_labels(world.pipeline.landing / KNOWN[1].isoformat(), 20)
    world.pipeline.snapshot(KNOWN[1])
    mark_superseded(world.pipeline.database_url)
    world.read_versions()
    before = world.versions
    world.run(DAYS[-1])
    world.read_versions()
    return before, world


def turn_labels(drop, count):
    file = drop / "labels.csv"
    rows = list(csv.DictReader(file.read_text().splitlines()))
    for row in rows[:count]:
        row["churn_label"] = str(row["churn_label"] != "True")
    with file.open("w", newline="") as out:
        writer = csv.DictWriter(out, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    manifest = json.loads((drop / MANIFEST).read_text())
    manifest[file.name]["sha256"] = sha256_of(file)
    (drop / MANIFEST).write_text(json.dumps(manifest))


def test_a_correction_supersedes_the_version_at_the_days_that_used_it(corrected):
    (first, second), _ = corrected
    assert SUPERSEDED not in first.tags
    assert second.tags[SUPERSEDED] == (
        f"the drops that it was trained on changed: {KNOWN[1]} corrected; "
        f"run {KNOWN[1]} to {DAYS[-1]} again to train on those of now"
    )


def test_a_corrected_drop_is_learned_by_the_next_run_as_of_the_day_it_corrects(corrected):
    _, world = corrected
    assert world.trained[DAYS[-1]].outcome == DONE
    assert [each.as_of for each in world.versions] == [*KNOWN, KNOWN[1]]
    assert used_by(world.versions[-1].tags) == {DAYS[-1]}


def test_the_corrected_candidate_is_decided_on(corrected):
    _, world = corrected
    assert world.decided[DAYS[-1]].outcome == DONE
    assert [version for version, _ in world.decisions()] == [1, 2, 3]
