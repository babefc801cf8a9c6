"""Retention deletes old lists: rows, files and nothing else."""

import secrets
from datetime import UTC, date, datetime

import pytest
from fsspec.core import url_to_fs

from churn.drops.storage import Directory
from churn.outcome import DONE, UNCHANGED
from churn.postgres.database import connect, lock_session
from churn.retention.scores import expire_scores
from tests.handmade_drops import take_in, write_drop
from tests.made_lists import days_pass, write_list

D31, F29, M31 = DATES = (date(2024, 1, 31), date(2024, 2, 29), date(2024, 3, 31))
ALL = 1
"""Days after which everything is old: the dates are of 2024."""


class World:
    """Three dates with a list each, of which the first has two revisions. They were scored three days ago."""

    def __init__(self, database_url, directory, files):
        self.url, self.files, self.directory = database_url, files, directory
        for as_of in DATES:
            take_in(write_drop(directory / "landing", as_of, "abc"), database_url, directory / "archive")
            write_list(database_url, files, as_of)
        write_list(database_url, files, D31, 2)
        days_pass(database_url)

    def expire(self, days=ALL, **more):
        return expire_scores(days, self.url, self.files, **more)

    def held(self):
        """Return the revisions that are not marked as expired; tables and files of other ones are an error."""
        runs = self.fetch("SELECT as_of, revision FROM scores.runs WHERE expired_at IS NULL ORDER BY 1, 2")
        assert self.fetch("SELECT DISTINCT as_of, revision FROM scores.customers ORDER BY 1, 2") == runs
        tables = self.fetch("SELECT inhrelid FROM pg_inherits WHERE inhparent = 'scores.customers'::regclass")
        assert len(tables) == len(runs)
        assert self.folders() == {f"as_of={as_of}/revision={revision}" for as_of, revision in runs}
        return [(as_of, revision) for as_of, revision in runs]

    def folders(self):
        files, root = url_to_fs(str(self.files))
        files.invalidate_cache()
        found = [path.removeprefix(f"{root}/") for path in files.find(root)]
        folders = {name.rpartition("/")[0] for name in found}
        assert len(found) == 3 * len(folders)
        return folders

    def fetch(self, query):
        with connect(self.url) as connection:
            return connection.execute(query).fetchall()


@pytest.fixture
def world(database_url, tmp_path):
    return World(database_url, tmp_path, tmp_path / "scores")


@pytest.mark.parametrize("kind", ["directory", "object store"])
def test_old_lists_are_deleted_with_their_files_and_the_newest_is_kept(kind, database_url, tmp_path, request):
    in_store = kind == "object store"
    files = f"{request.getfixturevalue('object_store')}/{secrets.token_hex(4)}" if in_store else tmp_path / "scores"
    world = World(database_url, tmp_path, files)
    outcome = world.expire()
    assert (outcome.outcome, outcome.figures["dates"]) == (DONE, ["2024-01-31", "2024-02-29"])
    assert (outcome.figures["revisions"], outcome.figures["rows"], outcome.figures["files"]) == (3, 9, 9)
    assert world.held() == [(M31, 1)]
    assert world.expire().outcome == UNCHANGED


def test_no_empty_folder_is_left(world):
    world.expire()
    assert [path.name for path in world.files.iterdir()] == ["as_of=2024-03-31"]


def test_a_list_is_kept_for_its_retention_period(world):
    days = (datetime.now(UTC).date() - F29).days
    assert world.expire(days).figures["dates"] == ["2024-01-31"]
    assert world.expire(days - 1).figures["dates"] == ["2024-02-29"]


def test_without_a_retention_period_nothing_is_deleted(world):
    assert world.expire(None).outcome == UNCHANGED
    assert len(world.held()) == 4
    with pytest.raises(ValueError, match="1 day or more, not for 0"):
        world.expire(0)


def test_a_dry_run_reports_what_a_run_deletes_and_deletes_nothing(world):
    tried = world.expire(dry_run=True)
    assert tried.outcome == UNCHANGED
    assert len(world.held()) == 4
    assert world.expire().figures == tried.figures


def test_the_newest_list_is_that_of_the_newest_date_that_was_not_withdrawn(world):
    with connect(world.url) as connection:
        connection.execute("UPDATE scores.runs SET withdrawn_at = now() WHERE as_of = %s", [M31])
    world.expire()
    assert world.held() == [(F29, 1)]


def test_a_date_that_was_scored_in_the_last_two_days_is_kept(world):
    write_list(world.url, world.files, F29, 3)
    world.expire()
    assert world.held() == [(F29, 1), (F29, 2), (M31, 1)]


def test_an_expired_date_is_scored_again_as_its_next_revision(world):
    world.expire()
    assert write_list(world.url, world.files, D31).revision == 3
    assert world.held() == [(D31, 3), (M31, 1)]
    assert world.fetch("SELECT DISTINCT revision FROM scores.current WHERE as_of = '2024-01-31'") == [(3,)]
    assert world.expire().outcome == UNCHANGED
    days_pass(world.url)
    assert world.expire().figures["revisions"] == 1


def test_a_date_that_is_being_scored_is_left_to_the_next_run(world):
    with connect(world.url, autocommit=True) as scoring:
        lock_session(scoring, "scores", D31.isoformat())
        assert world.expire().figures["busy"] == ["2024-01-31"]
        assert world.held() == [(D31, 1), (D31, 2), (M31, 1)]
    assert world.expire().figures["busy"] == []
    assert world.held() == [(M31, 1)]


def test_a_long_read_is_not_waited_for(world):
    with connect(world.url) as reader:
        reader.execute("SELECT count(*) FROM scores.current")
        assert world.expire().figures["busy"] == ["2024-01-31", "2024-02-29"]
    assert len(world.held()) == 4


def test_files_that_a_killed_run_left_behind_are_deleted_by_the_next_one(world, monkeypatch):
    delete = Directory.delete

    def killed(self, names):
        first, *_ = names
        delete(self, [first])
        assert first.endswith("manifest.json")
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Directory, "delete", killed)
        with pytest.raises(KeyboardInterrupt):
            world.expire()
    assert len(world.fetch("SELECT FROM scores.runs WHERE expired_at IS NULL")) == 1
    outcome = world.expire()
    assert (outcome.outcome, outcome.figures["revisions"], outcome.figures["files"]) == (DONE, 0, 8)
    assert world.held() == [(M31, 1)]


def test_files_that_no_revision_names_are_kept(world):
    other = world.files / "as_of=2024-01-31" / "notes.txt"
    other.write_text("ours", encoding="utf-8")
    world.expire()
    assert other.exists()
