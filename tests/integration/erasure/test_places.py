"""What one place does by itself: Redis, log files, a landing directory that cannot be written, a manifest."""

import gzip
import json
import os
from datetime import date
from itertools import zip_longest
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest

from churn.drops.archive import archived_in, decompress
from churn.drops.landing import digest_of, sha256_of
from churn.drops.loading import load
from churn.drops.storage import storage_at
from churn.drops.tombstones import Found, are_among, find_lines
from churn.drops.validation import DropHeld, validate
from churn.drops.watch import find_pending
from churn.erasure.archive import erase_archive
from churn.erasure.landing import erase_landing
from churn.erasure.ledger import missing_requests
from churn.erasure.logs import erase_logs
from churn.erasure.request import (
    ERASED,
    REFUSED,
    ErasureRefused,
    bury,
    end,
    open_request,
    read_ids,
    required_directory,
    write_ids,
)
from churn.erasure.rows import erase_rows
from churn.features.lookup import OnlineLookup
from churn.features.materialization import materialize
from churn.features.store import FEATURE_SERVICE, open_store
from churn.outcome import DONE, UNCHANGED
from tests.handmade_drops import write_drop

DAY = date(2024, 1, 31)
USERS = [f"customer-{number}" for number in range(30)]
GONE = "customer-1"
"""Its id begins those of others: customer-10 and more."""


@pytest.fixture
def request_name(database_url, tmp_path, monkeypatch):
    monkeypatch.setenv("CHURN_ERASURE_DIR", str(tmp_path / "erasure"))
    name = write_ids([GONE], required_directory())
    open_request(name, "ada", "letter of May", database_url)
    return name


def test_the_customer_is_unknown_in_either_online_store_and_the_others_are_served(
    own_online_store, pipeline, request_name
):
    write_drop(pipeline.landing, DAY, USERS)
    pipeline.serve(DAY)
    url, gone = pipeline.database_url, frozenset({GONE})
    store = open_store(url)
    lookup = OnlineLookup(store, store.get_feature_service(FEATURE_SERVICE))
    before = lookup.read(USERS)
    erase_archive(request_name, gone, url, pipeline.archive)
    outcome = erase_rows(request_name, gone, url)
    assert outcome.outcome == DONE
    after = lookup.read(USERS)
    assert (after[1].values, after[1].as_of) == ({}, None)
    assert [each for each in after if each.as_of] == [each for n, each in enumerate(before) if n != 1]
    assert materialize(DAY, url).outcome == UNCHANGED
    assert erase_rows(request_name, gone, url).outcome == UNCHANGED


@pytest.fixture
def logs(tmp_path):
    directory = tmp_path / "logs"
    directory.mkdir()
    return directory


def test_ids_are_covered_in_logs_and_longer_ids_stay(logs, database_url, request_name):
    (logs / "task").mkdir()
    line = f"line 3: '{GONE}', {GONE};customer-10 {GONE}. {GONE}@ x{GONE} … {GONE}…\n"
    (logs / "task" / "1.log").write_text(line, encoding="utf-8")
    (logs / "empty.log").write_text("", encoding="utf-8")
    outcome = erase_logs(request_name, frozenset({GONE}), database_url, [logs, logs / "not there"])
    assert (outcome.outcome, outcome.figures["rows"]) == (DONE, 5)
    covered = "*" * len(GONE)
    text = (logs / "task" / "1.log").read_text(encoding="utf-8")
    assert text == f"line 3: '{covered}', {covered};customer-10 {covered}. {covered}@ x{GONE} … {covered}…\n"
    assert erase_logs(request_name, frozenset({GONE}), database_url, [logs]).outcome == UNCHANGED


def test_escaped_ids_are_covered_and_every_other_byte_of_a_log_keeps_its_place(
    logs, database_url, request_name, monkeypatch
):
    monkeypatch.setattr("churn.erasure.logs.BLOCK", 40)
    user = "Zoë O'Neil/7"
    forms = [user, repr(user)[1:-1], ascii(user)[1:-1], json.dumps(user)[1:-1], quote(user), quote(user, safe="")]
    parts = [b"\xff\x00 no text: ", b"|\n", b"| and\n\n", b"\tx ", b" \n", b"'\n", b"\n without an end"]
    written = [form.encode() for form in forms]
    (logs / "odd.log").write_bytes(b"".join(merge(parts, written)))
    outcome = erase_logs(request_name, frozenset({user}), database_url, [logs])
    assert outcome.figures["rows"] == len(forms)
    covered = [b"*" * len(each) for each in written]
    assert (logs / "odd.log").read_bytes() == b"".join(merge(parts, covered))


def merge(parts, between):
    return [each for pair in zip_longest(parts, between, fillvalue=b"") for each in pair]


def test_a_line_that_a_service_appends_meanwhile_stays(logs, database_url, request_name, monkeypatch):
    path, write = logs / "service.log", os.pwrite
    path.write_text(f"{GONE} asked\n", encoding="utf-8")

    def beside_a_service(*arguments):
        with path.open("a", encoding="utf-8") as service:
            service.write("one more line\n")
        return write(*arguments)

    monkeypatch.setattr(os, "pwrite", beside_a_service)
    erase_logs(request_name, frozenset({GONE}), database_url, [logs])
    assert path.read_text(encoding="utf-8") == f"{'*' * len(GONE)} asked\none more line\n"


def test_ids_that_any_log_has_and_compressed_logs_are_left_and_said(logs, database_url, request_name, caplog):
    (logs / "1.log").write_text("12 rows, 1234567 bytes\n", encoding="utf-8")
    (logs / "2.log.gz").write_bytes(gzip.compress(GONE.encode()))
    before = [path.read_bytes() for path in sorted(logs.glob("*.*"))]
    outcome = erase_logs(request_name, frozenset({GONE, "12", "1234567"}), database_url, [logs])
    assert (outcome.outcome, outcome.figures["looked_at"], outcome.figures["not_looked_for"]) == (UNCHANGED, 1, 2)
    assert "; 2 ids are not looked for: " in outcome.reason
    assert not any(each in outcome.reason for each in (GONE, "12", "1234567"))
    assert "2.log.gz is compressed" in caplog.text
    assert [path.read_bytes() for path in sorted(logs.glob("*.*"))] == before


def test_a_manifest_is_renewed_with_its_drop_and_no_chain_starts(pipeline, request_name):
    drop = write_drop(pipeline.landing, DAY, USERS, labels=[(user, False) for user in USERS])
    promised = {path.name: {"sha256": sha256_of(path), "rows": 30} for path in drop.files()}
    (drop.path / "manifest.json").write_text(json.dumps({**promised, "notes.txt": promised["users.csv"]}))
    (drop.path / "notes.txt").write_text("as agreed")
    pipeline.snapshot(DAY)
    url, gone = pipeline.database_url, frozenset({GONE})
    erase_landing(request_name, gone, url, pipeline.landing)
    erase_archive(request_name, gone, url, pipeline.archive)
    manifest = json.loads((drop.path / "manifest.json").read_text())
    assert manifest.pop("notes.txt") == promised["users.csv"]
    assert manifest == {path.name: {"sha256": sha256_of(path), "rows": 29} for path in drop.files()}
    assert find_pending(pipeline.landing, url) == []
    with psycopg.connect(url) as connection:
        digest, files = connection.execute("SELECT digest, files FROM raw.drops").fetchone()
    assert digest == digest_of({name: entry["sha256"] for name, entry in manifest.items()})
    assert {name: file["rows"] for name, file in files.items()} == dict.fromkeys(manifest, 29)
    assert {path.name for path in drop.path.iterdir()} == {*manifest, "manifest.json", "notes.txt"}


def test_drops_that_cannot_be_written_are_named_and_the_others_are_done(pipeline, request_name):
    good = write_drop(pipeline.landing, DAY, USERS)
    bad = write_drop(pipeline.landing, date(2024, 2, 29), USERS)
    for drop in (good, bad):
        (drop.path / "_SUCCESS").touch()
    # Root may write anywhere: a file in the place of the directory of new files stops it too.
    (bad.path / ".erasing").write_text("", encoding="utf-8")
    with pytest.raises(ErasureRefused, match=r"2024-02-29 in .* cannot be read or written"):
        erase_landing(request_name, frozenset({GONE}), pipeline.database_url, pipeline.landing)
    assert f"{GONE}," not in (good.path / "users.csv").read_text(encoding="utf-8")
    (bad.path / ".erasing").unlink()
    again = erase_landing(request_name, frozenset({GONE}), pipeline.database_url, pipeline.landing)
    assert again.figures["rewritten"] == 5


def test_a_drop_that_is_still_being_written_is_left_to_validate(pipeline, request_name):
    drop = write_drop(pipeline.landing, DAY, USERS)
    outcome = erase_landing(request_name, frozenset({GONE}), pipeline.database_url, pipeline.landing)
    assert outcome.figures["rewritten"] == 0
    assert f"{GONE}," in (drop.path / "users.csv").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["2024-01-31.old/users.csv", "letter.txt", "2024-01-31/notes.txt"])
def test_a_file_that_no_drop_has_and_that_names_the_customer_is_for_a_person(name, pipeline, request_name):
    write_drop(pipeline.landing, DAY, ["customer-2"])
    path = pipeline.landing / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"about {GONE}.", encoding="utf-8")
    with pytest.raises(ErasureRefused, match=name):
        erase_landing(request_name, frozenset({GONE}), pipeline.database_url, pipeline.landing)
    path.write_text("about customer-12.", encoding="utf-8")
    erase_landing(request_name, frozenset({GONE}), pipeline.database_url, pipeline.landing)


def test_a_drop_that_the_sender_replaced_since_a_kill_is_not_overwritten(pipeline, request_name):
    drop = write_drop(pipeline.landing, DAY, USERS)
    (drop.path / "_SUCCESS").touch()
    left = drop.path / ".erased"
    left.mkdir()
    (left / "users.csv").write_text("older", encoding="utf-8")
    (left / "sources.json").write_text(json.dumps({"users.csv": "0" * 64}), encoding="utf-8")
    erase_landing(request_name, frozenset({GONE}), pipeline.database_url, pipeline.landing)
    text = (drop.path / "users.csv").read_text(encoding="utf-8")
    assert (f"{GONE}," in text, text.count("\n")) == (False, len(USERS))
    assert not left.exists()


def test_a_drop_that_a_killed_call_has_replaced_in_part_is_finished(pipeline, request_name, monkeypatch):
    drop, url, gone = write_drop(pipeline.landing, DAY, USERS), pipeline.database_url, frozenset({GONE})
    pipeline.snapshot(DAY)
    replace, moved = Path.replace, []

    def dies_at_the_third(path, target):
        if len(moved) == 2:
            raise KeyboardInterrupt
        moved.append(target)
        return replace(path, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", dies_at_the_third)
        with pytest.raises(KeyboardInterrupt):
            erase_landing(request_name, gone, url, pipeline.landing)
    # Its files have just been written, and no manifest says that they are all.
    erase_landing(request_name, gone, url, pipeline.landing)
    assert [path.name for path in drop.files() if f"{GONE}," in path.read_text(encoding="utf-8")] == []
    assert not (drop.path / ".erased").exists()


def test_an_id_that_only_the_first_rules_accept_is_found_too(tmp_path):
    path = tmp_path / "users.csv"
    path.write_text("user_id,signup_date\n\u2007odd,2024-01-01\nx,2024-01-01\n", encoding="utf-8")
    found = find_lines(lambda: path.open("rb"), are_among(frozenset({"\u2007odd"})))
    assert found == Found((2,), is_whole=True)


def test_a_held_drop_is_not_judged_again(pipeline, request_name):
    url, gone = pipeline.database_url, frozenset({GONE})
    write_drop(pipeline.landing, DAY, USERS)
    pipeline.snapshot(DAY)
    other = write_drop(pipeline.landing, date(2024, 2, 29), [GONE, *(f"new-{number}" for number in range(30))])
    (other.path / "_SUCCESS").touch()
    with pytest.raises(DropHeld):
        validate(other, url, pipeline.archive)
    assert find_pending(pipeline.landing, url) == []
    erase_archive(request_name, gone, url, pipeline.archive)
    erase_landing(request_name, gone, url, pipeline.landing)
    assert f"{GONE}," not in (other.path / "users.csv").read_text(encoding="utf-8")
    assert find_pending(pipeline.landing, url) == []


def test_a_request_is_recorded_and_its_ids_are_deleted_at_its_end(database_url, request_name, tmp_path):
    directory = tmp_path / "erasure"
    assert read_ids(request_name, directory) == {GONE}
    assert (directory / f"{request_name}.ids").stat().st_mode & 0o777 == 0o600
    assert bury(request_name, database_url, "eve").figures["tombstones"] == 1
    assert bury(request_name, database_url, "eve").outcome == UNCHANGED
    assert (directory / "key").stat().st_mode & 0o777 == 0o600
    end(request_name, ERASED, database_url)
    assert not (directory / f"{request_name}.ids").exists()
    with psycopg.connect(database_url) as connection:
        row = connection.execute(
            "SELECT who, why, approved_by, customers, result, ended_at IS NOT NULL FROM erasure.requests"
        ).fetchone()
    assert row == ("ada", "letter of May", "eve", 1, "erased", True)
    with pytest.raises(ErasureRefused, match="has ended"):
        read_ids(request_name, directory)


def test_a_request_that_is_under_way_is_not_done_again_by_make_up(database_url, request_name, tmp_path):
    bury(request_name, database_url)
    assert missing_requests(database_url, tmp_path / "erasure") == []
    (tmp_path / "erasure" / f"{request_name}.ids").unlink()
    assert missing_requests(database_url, tmp_path / "erasure") == [request_name]
    end(request_name, ERASED, database_url)
    assert missing_requests(database_url, tmp_path / "erasure") == []


def test_an_archive_in_an_object_store_holds_the_customer_no_more(object_store, database_url, landing, request_name):
    archive = f"{object_store}/erased"
    drop = write_drop(landing, DAY, USERS)
    load(validate(drop, database_url, archive), database_url, archive)
    storage = storage_at(archive)
    before = archived_in(storage)
    assert erase_archive(request_name, frozenset({GONE}), database_url, archive).figures["rewritten"] == 5
    after = archived_in(storage)
    assert (len(before), len(after), {*before} & {*after}) == (5, 5, set())
    for name in after:
        with storage.fetched(name) as path, decompress(path) as stream:
            text = stream.read()
        assert (text.count(b"\n"), f"{GONE},".encode() in text) == (len(USERS), False)


def test_a_refused_request_leaves_no_tombstone(database_url, request_name):
    end(request_name, REFUSED, database_url)
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT result FROM erasure.requests").fetchone() == ("refused",)
        assert connection.execute("SELECT count(*) FROM erasure.tombstones").fetchone() == (0,)


def test_a_lost_key_is_not_replaced_by_another_one(database_url, request_name, tmp_path):
    bury(request_name, database_url)
    (tmp_path / "erasure" / "key").unlink()
    other = write_ids(["customer-2"], required_directory())
    open_request(other, "ada", "letter of June", database_url)
    with pytest.raises(ErasureRefused, match="put the file key back"):
        bury(other, database_url)


@pytest.mark.parametrize("name", ["../etc/passwd", "", "0" * 31])
def test_a_name_that_is_no_request_is_refused(name, tmp_path):
    with pytest.raises(ErasureRefused, match="not the name of a request"):
        read_ids(name, tmp_path)


def test_no_ids_are_no_request(tmp_path):
    with pytest.raises(ErasureRefused, match="no user_id"):
        write_ids(["", "\n"], tmp_path)
