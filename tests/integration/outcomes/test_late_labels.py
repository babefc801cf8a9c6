"""Labels that come later or change: each judgement is a revision as known at a drop, and earlier ones stay."""

import csv
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import psycopg
import pytest

from churn.gate.thresholds import Thresholds
from churn.outcome import DONE, UNCHANGED
from churn.outcomes.expectation_step import NothingToExpect, expect_performance
from churn.outcomes.expected import believed
from churn.outcomes.judgement_step import NothingToJudge, judge_outcomes
from churn.outcomes.track import read_track
from churn.postgres.database import connect
from churn.synthetic.generate import write_drops
from tests.conftest import database_copy, tracking
from tests.integration.conftest import Pipeline
from tests.integration.scored_chain import Lists
from tests.integration.training_chain import QUICK, Chain

JANUARY, FEBRUARY, MARCH, APRIL = (date(2024, 1, 31), date(2024, 2, 29), date(2024, 3, 31), date(2024, 4, 30))


@dataclass(frozen=True)
class World:
    lists: Lists
    landing: Path

    def run(self, day: date) -> None:
        """Run the chain of a date up to its list."""
        self.lists.chain(day, QUICK)
        self.lists.score(day)


@pytest.fixture(scope="module")
def world(postgres_url, churn_template, mlflow_template, tmp_path_factory):
    """Four months whose labels come a month later, each trained, scored and judged before the next one came."""
    directory = tmp_path_factory.mktemp("late")
    landing = directory / "landing"
    write_drops(landing, customers=2500, months=4, seed=3, late_labels=1)
    with (
        database_copy(postgres_url, churn_template) as database_url,
        tracking(postgres_url, mlflow_template, directory),
    ):
        lists = Lists(Chain(Pipeline(database_url, landing, directory / "archive")), directory / "scores")
        lists.chain.pipeline.serve(JANUARY)
        world = World(lists, landing)
        world.run(FEBRUARY)
        yield world


def current(world, day, **wanted):
    wanted = {"arm": "all", "slice": "all", "source": "list", **wanted}
    found = world.lists.query("SELECT * FROM outcomes.current WHERE as_of = %s", day)
    return [row for row in found if all(row[name] == value for name, value in wanted.items())]


def test_labels_of_a_date_without_a_list_have_nothing_to_be_held_against(world):
    with pytest.raises(NothingToJudge, match="labels of 2024-01-31 came, and no version scored"):
        judge_outcomes(FEBRUARY, world.lists.database_url)


def test_before_labels_come_the_figures_of_the_list_are_estimated(world):
    assert expect_performance(FEBRUARY, world.lists.database_url).outcome == DONE
    assert expect_performance(FEBRUARY, world.lists.database_url).outcome == UNCHANGED
    cohort, everybody = world.lists.query(
        "SELECT * FROM outcomes.expectations WHERE as_of = %s ORDER BY rows", FEBRUARY
    )
    assert everybody["rows"] == len(world.lists.current(FEBRUARY)) > 3 * cohort["rows"]
    assert cohort["calibrated_on"] == JANUARY
    assert 0.7 < cohort["auc_low"] < cohort["auc"] < cohort["auc_high"] < 0.95


def test_nothing_is_estimated_without_a_list(world):
    with pytest.raises(NothingToExpect, match="2024-01-31 has no list"):
        expect_performance(JANUARY, world.lists.database_url)


def test_a_late_label_judges_the_list_of_its_date_on_customers_and_on_the_date_that_were_new(world):
    world.run(MARCH)
    assert judge_outcomes(MARCH, world.lists.database_url).outcome == DONE
    cohort, everybody = (current(world, FEBRUARY, basis=basis) for basis in ("gate and audit cohort", "out of time"))
    assert [row["known_as_of"] for row in cohort + everybody] == [MARCH, MARCH]
    assert (cohort[0]["decides"], everybody[0]["decides"]) == (True, False)
    assert everybody[0]["rows"] == len(world.lists.current(FEBRUARY))
    assert cohort[0]["rows"] < everybody[0]["rows"] / 3
    assert cohort[0]["verdict"] == "as promised"


def test_the_estimate_is_held_against_the_labels_that_came(world):
    with connect(world.lists.database_url) as connection:
        (checked,) = read_track(connection)
    assert checked.as_of == FEBRUARY
    assert checked.realized.value == current(world, FEBRUARY, basis="gate and audit cohort")[0]["auc"]
    assert believed([checked])[0]


def test_a_label_that_changes_later_makes_a_second_revision_and_the_first_is_kept(world):
    with (world.landing / str(MARCH) / "labels.csv").open(newline="") as file:
        first = next(csv.DictReader(file))
    labels = world.landing / str(APRIL) / "labels.csv"
    other = {"True": "False", "False": "True"}[first["churn_label"]]
    with labels.open(newline="") as file:
        header = next(csv.reader(file))
    values = {"user_id": first["user_id"], "churn_label": other, "as_of": str(FEBRUARY)}
    with labels.open("a", newline="") as file:
        csv.writer(file).writerow([values[name] for name in header])
    (world.landing / str(APRIL) / "manifest.json").unlink(missing_ok=True)
    world.run(APRIL)
    before = current(world, FEBRUARY, basis="out of time")[0]

    assert set(judge_outcomes(APRIL, world.lists.database_url).figures["judged"]) == {str(FEBRUARY), str(MARCH)}
    after = current(world, FEBRUARY, basis="out of time")[0]
    assert (before["revision"], after["revision"], after["known_as_of"]) == (1, 2, APRIL)
    assert abs(after["churned"] - before["churned"]) == 1
    kept = world.lists.query("SELECT revision, known_as_of FROM outcomes.judgements WHERE as_of = %s", FEBRUARY)
    assert [tuple(row.values()) for row in kept] == [(1, MARCH), (2, APRIL)]


def test_a_drop_judged_again_is_unchanged_though_later_drops_are_known(world):
    assert judge_outcomes(MARCH, world.lists.database_url).outcome == UNCHANGED
    assert judge_outcomes(APRIL, world.lists.database_url).outcome == UNCHANGED


def test_another_list_of_a_judged_date_is_judged_again(world):
    score_by_other_code = "UPDATE scores.runs SET code_digest = 'another' WHERE as_of = %s"
    with psycopg.connect(world.lists.database_url) as connection:
        connection.execute(score_by_other_code, [MARCH])
    assert world.lists.score(MARCH).figures["revision"] == 2
    assert str(MARCH) in judge_outcomes(MARCH, world.lists.database_url).figures["judged"]
    assert current(world, MARCH, basis="out of time")[0]["revision"] == 2


def test_the_figures_are_append_only(world):
    for change in (
        "UPDATE outcomes.performance SET auc = 1",
        "DELETE FROM outcomes.performance",
        "TRUNCATE outcomes.performance",
    ):
        with psycopg.connect(world.lists.database_url) as connection, pytest.raises(psycopg.errors.RaiseException):
            connection.execute(change)


def test_the_answers_of_the_api_are_judged_by_the_version_that_gave_them(world):
    (version,) = {row["model_version"] for row in world.lists.current(MARCH)}
    with psycopg.connect(world.lists.database_url) as connection:
        connection.execute(
            """
            INSERT INTO predictions.answered
            SELECT now(), 'late', user_id, churn_probability, prediction, 0.5, model_version, as_of, '{}'::jsonb
            -- The earlier of two answers says the opposite, and does not count.
            FROM scores.current WHERE as_of = %s
            UNION ALL
            SELECT
                now() - interval '1 day', 'early', user_id, 1 - churn_probability, prediction, 0.5, model_version,
                as_of, '{}'::jsonb
            FROM scores.current WHERE as_of = %s
            """,
            [MARCH, MARCH],
        )
        connection.execute("UPDATE outcomes.judgements SET withdrawn_at = now() WHERE as_of = %s", [MARCH])
    judge_outcomes(APRIL, world.lists.database_url)
    of_list, of_api = (current(world, MARCH, source=source, basis="out of time")[0] for source in ("list", "api"))
    assert of_api["model_version"] == version
    for name in ("rows", "auc", "brier"):
        assert of_api[name] == pytest.approx(of_list[name], abs=1e-12)
    assert (of_api["lift"], of_api["decides"]) == (None, False)


def test_too_few_labels_give_no_verdict_and_no_alarm(world):
    kept = Thresholds.min_rows // 2
    with psycopg.connect(world.lists.database_url) as connection:
        connection.execute(
            "DELETE FROM snapshots.labels_snapshots WHERE as_of = %s AND user_id NOT IN "
            "(SELECT user_id FROM snapshots.labels_snapshots WHERE as_of = %s ORDER BY 1 LIMIT %s)",
            [MARCH, MARCH, kept],
        )
        connection.execute("UPDATE outcomes.judgements SET withdrawn_at = now() WHERE as_of = %s", [MARCH])
    judge_outcomes(APRIL, world.lists.database_url)
    assert [row["verdict"] for row in current(world, MARCH, basis="gate and audit cohort")] == ["too few rows"]
    assert world.lists.query("SELECT as_of FROM outcomes.verdicts WHERE as_of = %s", MARCH) == []
