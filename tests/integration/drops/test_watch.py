"""The landing directory is watched for complete drops that are not loaded or have changed."""

import json
import os
from datetime import date

import pytest

from churn.drops import watch
from churn.drops.landing import find_drop
from churn.drops.loading import load
from churn.drops.validation import validate
from churn.drops.watch import find_pending
from churn.drops.withdrawal import withdraw
from tests.handmade_drops import take_in, write_drop, write_manifest

D31, F29, M31 = date(2024, 1, 31), date(2024, 2, 29), date(2024, 3, 31)


@pytest.fixture
def settled(monkeypatch):
    """Drops without manifest.json and _SUCCESS count at once."""
    monkeypatch.setattr(watch, "QUIET_SECONDS", -1)


def pending(landing, database_url):
    return [(drop.as_of, drop.revision) for drop in find_pending(landing, database_url)]


def run_ids(landing, database_url):
    return [drop.run_id for drop in find_pending(landing, database_url)]


def test_drops_are_pending_oldest_first_until_they_are_loaded(settled, landing, archive, database_url):
    for as_of in (M31, D31, F29):
        write_drop(landing, as_of, ["a"])
    assert pending(landing, database_url) == [(D31, 1), (F29, 1), (M31, 1)]
    take_in(find_drop(landing, F29), database_url, archive)
    assert pending(landing, database_url) == [(D31, 1), (M31, 1)]


def test_a_late_drop_is_pending_while_later_dates_are_loaded(settled, landing, archive, database_url):
    take_in(write_drop(landing, F29, ["a"]), database_url, archive)
    write_drop(landing, D31, ["a"])
    assert pending(landing, database_url) == [(D31, 1)]


def test_a_corrected_drop_is_pending_as_the_next_revision(settled, landing, archive, database_url):
    take_in(write_drop(landing, D31, ["a"]), database_url, archive)
    write_drop(landing, D31, ["a"], [("a", True)])
    assert pending(landing, database_url) == [(D31, 2)]


def test_a_recopied_drop_with_the_same_content_is_not_pending(settled, landing, archive, database_url):
    drop = write_drop(landing, D31, ["a"])
    take_in(drop, database_url, archive)
    for path in drop.files():
        os.utime(path, ns=(1, 1))
    assert pending(landing, database_url) == []


def test_a_change_while_the_drop_was_loaded_is_seen(settled, landing, archive, database_url):
    accepted = validate(write_drop(landing, D31, ["a"]), database_url, archive)
    write_drop(landing, D31, ["a", "b"])
    load(accepted, database_url, archive)
    assert pending(landing, database_url) == [(D31, 2)]


def test_an_incomplete_drop_is_not_pending(settled, landing, database_url):
    (write_drop(landing, D31, ["a"]).path / "users.csv").unlink()
    write_manifest(write_drop(landing, F29, ["a"], [("a", True)]))
    (landing / "2024-02-29" / "labels.csv").unlink()
    assert pending(landing, database_url) == []


def test_a_drop_without_manifest_and_success_must_be_unchanged_for_a_while(landing, database_url, monkeypatch):
    drop = write_drop(landing, D31, ["a"])
    # A copy keeps the time of the original's last change, which says nothing of when it came.
    for path in drop.files():
        os.utime(path, ns=(1, 1))
    monkeypatch.setattr(watch, "QUIET_SECONDS", 3600)
    assert pending(landing, database_url) == []
    monkeypatch.setattr(watch, "QUIET_SECONDS", -1)
    assert pending(landing, database_url) == [(D31, 1)]


@pytest.mark.parametrize("say", [write_manifest, lambda drop: (drop.path / "_SUCCESS").touch()])
def test_a_drop_with_manifest_or_success_is_pending_at_once(say, landing, database_url, monkeypatch):
    monkeypatch.setattr(watch, "QUIET_SECONDS", 3600)
    say(write_drop(landing, D31, ["a"]))
    assert pending(landing, database_url) == [(D31, 1)]


def test_a_rejected_drop_has_the_same_run_id_until_something_that_its_verdict_depends_on_changes(
    settled, landing, database_url
):
    drop = write_drop(landing, D31, {"a": {"months_active": "-1"}})
    ids = run_ids(landing, database_url)
    assert run_ids(landing, database_url) == ids
    assert ids[0].startswith("landing__2024-01-31__revision_1__")
    changes = [
        lambda: write_drop(landing, D31, ["a"]),
        lambda: write_manifest(drop),
        lambda: (drop.path / "_ACCEPT").write_text("one customer is enough"),
        lambda: (drop.path / "manifest.json").write_text(
            json.dumps({"users.csv": {"sha256": "0" * 64}}), encoding="utf-8"
        ),
    ]
    for change in changes:
        change()
        ids += run_ids(landing, database_url)
    assert len(set(ids)) == len(ids) == 5


def test_an_empty_landing_directory_or_none_has_no_pending_drops(landing, database_url):
    assert find_pending(landing, database_url) == []


def test_a_symlink_instead_of_a_file_starts_a_run_that_rejects_it(settled, landing, archive, database_url):
    drop = write_drop(landing, D31, ["a"])
    take_in(drop, database_url, archive)
    (drop.path / "labels.csv").symlink_to("/etc/passwd")
    assert pending(landing, database_url) == [(D31, 2)]


def test_an_unreadable_drop_does_not_block_the_others(settled, landing, database_url, monkeypatch, caplog):
    for as_of in (D31, F29):
        write_drop(landing, as_of, ["a"])
    whole = watch.sha256_of

    def sha256_of(path):
        if path.parent.name == "2024-01-31":
            raise PermissionError(f"Permission denied: {path}")
        return whole(path)

    monkeypatch.setattr(watch, "sha256_of", sha256_of)
    assert pending(landing, database_url) == [(F29, 1)]
    assert "2024-01-31: not yet, Permission denied" in caplog.text


def test_a_drop_of_a_future_date_is_not_pending_and_the_log_says_why(settled, landing, database_url, caplog):
    caplog.set_level("INFO")
    write_drop(landing, date(2124, 2, 29), ["a"])
    write_drop(landing, D31, ["a"])
    assert pending(landing, database_url) == [(D31, 1)]
    assert "2124-02-29: not yet, AS_OF 2124-02-29 is after today" in caplog.text


@pytest.fixture
def hashed(monkeypatch):
    """The names of the hashed files."""
    names, whole = [], watch.sha256_of
    monkeypatch.setattr(watch, "sha256_of", lambda path: names.append(path.name) or whole(path))
    return names


def test_a_recopied_drop_is_read_once(settled, landing, archive, database_url, hashed):
    drop = write_drop(landing, D31, ["a"])
    take_in(drop, database_url, archive)
    for path in drop.files():
        os.utime(path, ns=(1, 1))
    assert (pending(landing, database_url), len(hashed)) == ([], 5)
    assert (pending(landing, database_url), len(hashed)) == ([], 5)


def test_a_recopied_withdrawn_drop_is_read_once(settled, landing, archive, database_url, hashed):
    drop = write_drop(landing, D31, ["a"])
    take_in(drop, database_url, archive)
    withdraw(D31, "ada", "a test", database_url)
    assert (pending(landing, database_url), len(hashed)) == ([], 0)
    for path in drop.files():
        os.utime(path, ns=(1, 1))
    assert (pending(landing, database_url), len(hashed)) == ([], 5)
    assert (pending(landing, database_url), len(hashed)) == ([], 5)


def test_a_change_during_the_reading_is_seen_at_the_next_check(settled, landing, archive, database_url, monkeypatch):
    drop = write_drop(landing, D31, ["a"])
    take_in(drop, database_url, archive)
    for path in drop.files():
        os.utime(path, ns=(1, 1))
    whole = watch.sha256_of

    def and_then_it_changes(path):
        found = whole(path)
        if path.name == "support_agg_90d.csv":
            path.write_text(path.read_text().replace("16.0", "17.0"))
        return found

    monkeypatch.setattr(watch, "sha256_of", and_then_it_changes)
    assert pending(landing, database_url) == []
    monkeypatch.setattr(watch, "sha256_of", whole)
    assert pending(landing, database_url) == [(D31, 2)]
