"""What an operator is shown of the outcomes: the verdict of each AS_OF's list, and the lists that nothing judged."""

from datetime import date

import pytest

from churn.postgres.database import connect, execute
from tests.handmade_drops import take_in, write_drop
from tests.made_lists import write_list
from tests.made_outcomes import insert_verdict

D31 = date(2024, 1, 31)


class World:
    """January's drop with labels, and its list."""

    def __init__(self, database_url, directory):
        self.url, self.directory = database_url, directory
        self.load("ab")
        self.write_list()

    def load(self, users):
        drop = write_drop(self.directory / "landing", D31, users, [("a", True)])
        take_in(drop, self.url, self.directory / "archive")

    def write_list(self, version=1):
        return write_list(self.url, self.directory / "scores", D31, version)

    def judge(self, verdict="as promised", version=1, run_id="a-run"):
        (digest,) = self.fetch("SELECT drop_digest FROM snapshots.builds")
        insert_verdict(self.url, version, run_id, verdict, D31, *digest)

    def fetch(self, query):
        with connect(self.url) as connection:
            return connection.execute(query).fetchall()

    def unjudged(self):
        with connect(self.url) as connection:
            return execute(connection, "outcomes/unjudged").fetchall()

    def verdict(self):
        with connect(self.url) as connection:
            cursor = execute(connection, "status/as_of")
            (row,) = cursor.fetchall()
        return row[[column.name for column in cursor.description].index("verdict")]


@pytest.fixture
def world(database_url, tmp_path):
    return World(database_url, tmp_path)


def test_a_list_whose_labels_are_there_is_named_until_it_is_judged(world):
    assert world.unjudged() == [(D31, 1, "a-run")]
    world.judge()
    assert world.unjudged() == []


def test_a_list_that_was_written_again_since_its_judgement_is_named(world):
    world.judge()
    world.write_list(2)
    assert world.unjudged() == [(D31, 2, "a-run")]


def test_a_list_whose_labels_came_with_a_drop_that_was_corrected_since_is_named(world):
    world.judge()
    world.load("abc")
    assert world.unjudged() == [(D31, 1, "a-run")]


def test_status_shows_the_verdict_of_the_list_that_is_current(world):
    assert world.verdict() is None
    world.judge("no better than chance")
    assert world.verdict() == "no better than chance"
    world.write_list(2)
    assert world.verdict() is None


def test_status_does_not_show_the_verdict_on_another_run_of_the_same_version(world):
    world.judge("no better than chance", run_id="another run")
    assert world.verdict() is None
