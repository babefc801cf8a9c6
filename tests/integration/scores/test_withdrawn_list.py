"""A withdrawn AS_OF leaves scores.current, and its files say so."""

import json
import threading
from datetime import date

import pytest

from churn.drops.withdrawal import withdraw
from churn.outcome import DONE, UNCHANGED
from churn.postgres.database import connect, lock_session
from churn.scores import withdrawal
from churn.scores.withdrawal import withdraw_scores
from tests.conftest import JANUARY
from tests.handmade_drops import take_in, write_drop
from tests.made_lists import write_list

D31, F29 = date(2024, 1, 31), date(2024, 2, 29)


class World:
    """Two dates with a list each; the first list has two revisions."""

    def __init__(self, database_url, directory):
        self.url, self.files, self.directory = database_url, directory / "scores", directory
        for as_of in (D31, F29):
            self.load(as_of)
        for as_of, version in ((D31, 1), (D31, 2), (F29, 2)):
            self.write_list(as_of, version)

    def load(self, as_of, users="abc"):
        take_in(write_drop(self.directory / "landing", as_of, users), self.url, self.directory / "archive")

    def write_list(self, as_of, version=1, **more):
        return write_list(self.url, self.files, as_of, version, **more)

    def withdraw(self, as_of=D31):
        withdraw(as_of, "ada", "the fees are in cents", self.url)
        return withdraw_scores(as_of, self.url, self.files)

    def current(self):
        return self.fetch("SELECT DISTINCT as_of, revision FROM scores.current ORDER BY as_of")

    def fetch(self, query):
        with connect(self.url) as connection:
            return connection.execute(query).fetchall()

    def withdrawn_files(self):
        """Return the folders whose manifest says that they were withdrawn."""
        manifests = self.files.glob("as_of=*/revision=*/manifest.json")
        return sorted(str(each.parent.relative_to(self.files)) for each in manifests if _read(each)["withdrawn"])


def _read(path):
    return json.loads(path.read_text(encoding="utf-8"))


REVISIONS = ["as_of=2024-01-31/revision=1", "as_of=2024-01-31/revision=2"]


@pytest.fixture
def world(database_url, tmp_path):
    return World(database_url, tmp_path)


def test_a_withdrawn_date_leaves_the_current_lists_and_each_manifest_says_so(world):
    before = {path: path.read_bytes() for path in world.files.rglob("*") if path.is_file()}
    outcome = world.withdraw()
    assert (outcome.outcome, outcome.figures) == (DONE, {"revisions": 2, "manifests": [1, 2]})
    assert world.current() == [(F29, 1)]
    assert world.withdrawn_files() == REVISIONS
    for path, data in before.items():
        if path.name == "manifest.json" and "2024-01-31" in str(path):
            assert _read(path) == {**json.loads(data), "withdrawn": True}
        else:
            assert path.read_bytes() == data


def test_a_second_call_changes_nothing(world):
    world.withdraw()
    before = world.fetch("SELECT * FROM scores.runs ORDER BY as_of, revision")
    assert withdraw_scores(D31, world.url, world.files).outcome == UNCHANGED
    assert world.fetch("SELECT * FROM scores.runs ORDER BY as_of, revision") == before


def test_a_date_that_is_not_withdrawn_keeps_its_list(world):
    assert withdraw_scores(F29, world.url, world.files).outcome == UNCHANGED
    assert withdraw_scores(date(9999, 12, 31), world.url, world.files).outcome == UNCHANGED
    assert world.current() == [(D31, 2), (F29, 1)]


@pytest.mark.parametrize("n", [0, 1])
def test_a_killed_call_is_completed_by_the_next_one_also_after_another_drop_came(world, monkeypatch, n):
    done = []

    def killed(*arguments):
        if len(done) == n:
            raise KeyboardInterrupt
        done.append(mark(*arguments))
        return done[-1]

    mark = withdrawal.mark_withdrawn
    with monkeypatch.context() as patched:
        patched.setattr(withdrawal, "mark_withdrawn", killed)
        with pytest.raises(KeyboardInterrupt):
            world.withdraw()
    assert world.withdrawn_files() == REVISIONS[:n]
    world.load(D31, "abcd")
    world.write_list(D31, 3)
    assert withdraw_scores(D31, world.url, world.files).figures == {"revisions": 0, "manifests": [1, 2][n:]}
    assert world.withdrawn_files() == REVISIONS
    assert world.current() == [(D31, 3), (F29, 1)]


def test_a_list_of_a_drop_that_was_loaded_since_stays(world):
    withdraw(D31, "ada", "the fees are in cents", world.url)
    world.load(D31, "abcd")
    world.write_list(D31, 3)
    assert withdraw_scores(D31, world.url, world.files).outcome == UNCHANGED
    assert world.current() == [(D31, 3), (F29, 1)]


def test_a_list_without_files_is_withdrawn(world):
    world.write_list(F29, 3, is_killed=True)
    assert world.withdraw(F29).figures == {"revisions": 2, "manifests": [1]}


def test_it_waits_for_a_run_that_is_publishing(world):
    withdraw(D31, "ada", "the fees are in cents", world.url)
    with connect(world.url, autocommit=True) as scoring:
        lock_session(scoring, "scores", D31.isoformat())
        waiting = threading.Thread(target=withdraw_scores, args=(D31, world.url, world.files))
        waiting.start()
        waiting.join(timeout=1)
        assert waiting.is_alive()
        assert world.current() == [(D31, 2), (F29, 1)]
    waiting.join(timeout=60)
    assert world.current() == [(F29, 1)]


def test_the_same_content_that_is_accepted_after_a_withdrawal_gets_a_new_list(scored):
    withdraw(JANUARY, "ada", "a test", scored.database_url)
    withdraw_scores(JANUARY, scored.database_url, scored.files)
    (scored.chain.pipeline.landing / str(JANUARY) / "_ACCEPT").write_text("it was right after all", encoding="utf-8")
    scored.chain.pipeline.serve(JANUARY)
    outcome = scored.score(JANUARY)
    assert (outcome.outcome, outcome.figures["revision"]) == (DONE, 2)


@pytest.mark.parametrize("name", ["scores.parquet", "top.csv"])
def test_a_lost_or_truncated_file_is_published_again_though_the_manifest_is_there(scored, name):
    file = scored.folder(JANUARY, 1) / name
    before = file.read_bytes()
    for damage in (file.unlink, lambda: file.write_bytes(before[:10])):
        damage()
        assert scored.score(JANUARY).outcome == UNCHANGED
        assert file.read_bytes() == before
