"""A withdrawn drop takes its judgements with it; the dates that it had labelled are judged by the labels left."""

import csv
import shutil
from datetime import date

import pytest

from churn.drops.landing import Drop
from churn.drops.withdrawal import withdraw
from churn.outcome import DONE, UNCHANGED
from churn.outcomes.judgement_step import judge_again, judge_outcomes
from churn.scores.withdrawal import withdraw_scores
from churn.synthetic.generate import write_drops
from tests.conftest import FEBRUARY, JANUARY
from tests.handmade_drops import accept
from tests.integration.copied_chains import Chains
from tests.integration.scored_chain import copied_lists, lists_of
from tests.integration.training_chain import QUICK

MARCH, APRIL = date(2024, 3, 31), date(2024, 4, 30)
CORRECTED = 60


@pytest.fixture(scope="module")
def chains(postgres_url, churn_template, mlflow_template, tmp_path_factory):
    directory = tmp_path_factory.mktemp("judged")
    write_drops(directory / "landing", customers=1500, months=3, seed=11, late_labels=1)
    chains = Chains(postgres_url, (churn_template, mlflow_template), directory / "landing", directory)
    yield chains, directory
    chains.close()


@pytest.fixture
def judged(chains, tmp_path):
    """February's list, judged by March's labels, then by those of April, which corrects some of them."""
    with copied_lists(chains[0], judge_february, chains[1], tmp_path) as lists:
        yield lists


def judge_february(chain):
    lists, landing = lists_of(chain), chain.pipeline.landing
    chain.pipeline.snapshot(JANUARY)
    chain(FEBRUARY, QUICK)
    lists.score(FEBRUARY)
    correct_labels(landing)
    for drop in (MARCH, APRIL):
        chain.pipeline.snapshot(drop)
        assert judge_outcomes(drop, lists.database_url).figures["judged"] == [str(FEBRUARY)]
    assert current(lists) == [(FEBRUARY, 2, APRIL)]


def correct_labels(landing):
    """Write April's drop: March's again, with the opposite of some labels of February."""
    shutil.copytree(landing / str(MARCH), landing / str(APRIL))
    (landing / str(APRIL) / "manifest.json").unlink()
    with (landing / str(APRIL) / "labels.csv").open(newline="", encoding="utf-8") as file:
        header, *labels = csv.reader(file)
    said = header.index("churn_label")
    for label in labels[:CORRECTED]:
        label[said] = str(label[said] != "True")
    with (landing / str(APRIL) / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *labels[:CORRECTED]])
    accept(Drop(APRIL, landing / str(APRIL)))


def current(lists):
    found = lists.query("SELECT DISTINCT as_of, revision, known_as_of FROM outcomes.current ORDER BY as_of")
    return [tuple(row.values()) for row in found]


def rows_judged(lists, revision):
    """Return the number of judged customers outside of the training's dates: all that have a label."""
    (row,) = lists.query(
        "SELECT rows, churned FROM outcomes.performance WHERE revision = %s AND source = 'list' AND arm = 'all' "
        "AND basis = 'out of time'",
        revision,
    )
    return row["rows"], row["churned"]


def take_back(lists, drop):
    withdraw(drop, "ada", "its labels are of another system", lists.database_url)
    withdraw_scores(drop, lists.database_url, lists.files)
    return judge_again(drop, lists.database_url)


def test_without_the_drop_that_corrected_labels_the_judgement_before_it_holds_again(judged):
    outcome = take_back(judged, APRIL)
    assert (outcome.outcome, outcome.figures["withdrawn"], outcome.figures["judged"]) == (DONE, 1, [])
    assert current(judged) == [(FEBRUARY, 1, MARCH)]


def test_a_date_that_the_drop_had_labelled_is_judged_again_by_the_labels_that_are_left(judged):
    before = rows_judged(judged, 2)
    outcome = take_back(judged, MARCH)
    assert (outcome.outcome, outcome.figures["withdrawn"], outcome.figures["judged"]) == (DONE, 1, [str(FEBRUARY)])
    assert current(judged) == [(FEBRUARY, 3, APRIL)]
    assert rows_judged(judged, 3)[0] == CORRECTED < before[0]
    assert judge_again(MARCH, judged.database_url).outcome == UNCHANGED


def test_without_any_label_left_the_date_is_judged_no_more(judged):
    take_back(judged, MARCH)
    take_back(judged, APRIL)
    assert current(judged) == []
    assert judged.query("SELECT * FROM outcomes.verdicts") == []


def test_the_judgement_of_a_withdrawn_list_leaves_the_current_ones(judged):
    assert take_back(judged, FEBRUARY).figures["withdrawn"] == 2
    assert current(judged) == []
