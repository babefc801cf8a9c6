"""raw.* holds each accepted drop unchanged, one revision at a time, for every concurrent reader."""

import os
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import psycopg
import pytest
from psycopg import IsolationLevel, sql

from churn.drops import loading, values
from churn.drops.accepted import AcceptedDrop, AcceptedFile
from churn.drops.archive import ArchiveError, Incoming
from churn.drops.contract import FILES, LABELS, REQUIRED_FILES, Kind
from churn.drops.landing import digest_of, find_drop
from churn.drops.loading import StaleDrop, load
from churn.drops.validation import validate
from churn.drops.violations import DropRejected
from churn.outcome import DONE, UNCHANGED
from churn.postgres.database import connect
from churn.synthetic.generate import write_drops
from churn.training.lineage import read_revisions
from tests.database_dump import dump
from tests.handmade_drops import read_values, validated_now, write_drop

D31, F29 = date(2024, 1, 31), date(2024, 2, 29)
USERS = [f"{number:04d}" for number in range(60)]


def with_months(landing, months, as_of=D31, users=USERS):
    """A drop with `months` as every value of two tables, so that a mix of revisions shows."""
    values = {"months_active": str(months), "skips_7d": str(months)}
    return write_drop(landing, as_of, {user: values for user in users})


def rows_of(database_url, table, as_of):
    """Return the rows of raw.<table> like the CSV file, without the AS_OF."""
    with connect(database_url) as connection:
        query = sql.SQL("SELECT * FROM {} WHERE as_of = %s").format(sql.Identifier("raw", table))
        cursor = connection.execute(query, [as_of])
        names = [column.name for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor]


def revisions(database_url):
    with connect(database_url) as connection:
        return connection.execute("SELECT as_of, revision, files FROM raw.revisions ORDER BY 1, 2").fetchall()


@pytest.mark.parametrize("late_labels", [0, 1], ids=["own labels", "late labels"])
def test_raw_holds_the_file_values_with_empty_as_null(late_labels, landing, archive, database_url):
    write_drops(landing, customers=200, months=2, seed=3, start=D31, late_labels=late_labels)
    for as_of in (D31, F29):
        drop = find_drop(landing, as_of)
        outcome = load(validate(drop, database_url, archive), database_url, archive)
        assert (outcome.outcome, outcome.figures["revision"]) == (DONE, 1)
        for file in REQUIRED_FILES:
            expected = [{"as_of": as_of, **row} for row in read_values(drop, file)]
            found = rows_of(database_url, file.table, as_of)
            assert sorted(found, key=lambda row: row["user_id"]) == sorted(expected, key=lambda row: row["user_id"])
            assert outcome.figures["rows"][file.name] == len(expected)
        labels = read_values(drop, LABELS) if (drop.path / "labels.csv").is_file() else []
        expected = {(as_of, row.get("as_of", as_of), row["user_id"], row["churn_label"]) for row in labels}
        assert {tuple(row.values()) for row in rows_of(database_url, "labels", as_of)} == expected
    assert any(row["plan_stream_tv"] is None for row in rows_of(database_url, "subscriptions", D31))
    gone = {row["user_id"] for row in rows_of(database_url, "labels", F29)}
    gone -= {row["user_id"] for row in rows_of(database_url, "users", F29)}
    assert bool(gone) == bool(late_labels)


def test_numbers_keep_their_last_bit(landing, archive, database_url):
    fees = ["0", "-0.0", "0.1", "24.483650766787413", "1e38", "5e-324", "123456789012345678", "1e-7"]
    drop = write_drop(landing, D31, {f"user-{fee}": {"monthly_fee": fee} for fee in fees})
    load(validate(drop, database_url, archive), database_url, archive)
    found = {row["user_id"]: row["monthly_fee"] for row in rows_of(database_url, "subscriptions", D31)}
    assert found == {f"user-{fee}": float(fee) for fee in fees}


def test_each_loaded_file_is_recorded_with_its_hash_and_rows(landing, archive, database_url):
    drop = write_drop(landing, D31, USERS, [(USERS[0], True)])
    accepted = validate(drop, database_url, archive)
    load(accepted, database_url, archive)
    ((as_of, revision, files),) = revisions(database_url)
    assert (as_of, revision) == (D31, 1)
    assert {name: (file["sha256"], file["rows"]) for name, file in files.items()} == {
        name: (file.sha256, file.rows) for name, file in accepted.files.items()
    }
    assert files["labels.csv"]["rows"] == 1


def test_the_rules_that_a_drop_was_accepted_by_are_recorded_and_kept(landing, archive, database_url, monkeypatch):
    accepted = replace(validate(write_drop(landing, D31, USERS), database_url, archive), rules=1)
    load(accepted, database_url, archive)
    assert [of["rules"] for of in read_revisions({D31: accepted.digest}, database_url).values()] == [1]
    monkeypatch.setattr(loading, "step_digest", lambda step: "other code")
    load(replace(accepted, rules=2), database_url, archive)
    assert [of["rules"] for of in read_revisions({D31: accepted.digest}, database_url).values()] == [1]


def accepted_by_rules_1(drop, archive):
    """The drop as accepted by rules 1: archived, whatever its content."""
    with Incoming(archive) as incoming:
        read = {}
        for path in drop.files():
            with incoming.reading(path) as reader:
                rows = reader.read(2**20).count(b"\n") - 1
            read[path.name] = AcceptedFile(reader.sha256, rows, reader.bytes, path.stat().st_mtime_ns)
        incoming.accept()
    digest = digest_of({name: file.sha256 for name, file in read.items()})
    return AcceptedDrop(drop.as_of, datetime.now(UTC), digest, read, rules=1)


def test_a_revision_that_was_accepted_by_rules_1_is_loaded_again_by_new_code(
    landing, archive, database_url, monkeypatch
):
    padded = ["a  ", "A", "b\u200b"]
    drop = write_drop(landing, D31, padded, [(user, True, date(1900, 1, 1)) for user in padded])
    with pytest.raises(DropRejected):
        validate(drop, database_url, archive)
    accepted = accepted_by_rules_1(drop, archive)
    for code in ("old code", "new code"):
        monkeypatch.setattr(loading, "step_digest", lambda step, code=code: code)
        assert load(accepted, database_url, archive).outcome == DONE
        assert [row["user_id"] for row in rows_of(database_url, "users", D31)] == padded
    stricter = replace(accepted, rules=2, digest="another")
    with pytest.raises(DropRejected, match="no blanks before or after it"):
        load(stricter, database_url, archive)


# --- revisions ---------------------------------------------------------------------------------------------------


def test_reloading_the_same_drop_is_unchanged_and_writes_nothing(landing, archive, database_url):
    load(validate(with_months(landing, 1), database_url, archive), database_url, archive)
    before, revision = dump(database_url), revisions(database_url)
    again = load(validate(find_drop(landing, D31), database_url, archive), database_url, archive)
    assert (again.outcome, again.figures) == (UNCHANGED, {"revision": 1})
    after = dump(database_url)
    # Only when it was found last is written down.
    assert after.pop(("raw", "revisions")) != before.pop(("raw", "revisions"))
    assert (after, revisions(database_url)) == (before, revision)


def test_a_corrected_drop_replaces_its_date_whole_and_leaves_the_others(landing, archive, database_url):
    for drop in (
        write_drop(landing, D31, USERS, [(user, True) for user in USERS]),
        with_months(landing, 7, as_of=F29),
    ):
        load(validate(drop, database_url, archive), database_url, archive)
    february = {file.table: rows_of(database_url, file.table, F29) for file in FILES}
    corrected = with_months(landing, 2, users=USERS[1:])
    outcome = load(validate(corrected, database_url, archive), database_url, archive)
    assert (outcome.outcome, outcome.figures["revision"]) == (DONE, 2)
    assert {row["user_id"] for row in rows_of(database_url, "users", D31)} == set(USERS[1:])
    assert {row["months_active"] for row in rows_of(database_url, "subscriptions", D31)} == {2}
    assert rows_of(database_url, "labels", D31) == []
    assert {file.table: rows_of(database_url, file.table, F29) for file in FILES} == february


def test_going_back_to_the_first_content_is_a_third_revision(landing, archive, database_url):
    for months in (1, 2, 1):
        outcome = load(validate(with_months(landing, months), database_url, archive), database_url, archive)
        assert outcome.outcome == DONE
    assert [revision for _, revision, _ in revisions(database_url)] == [1, 2, 3]
    assert {row["months_active"] for row in rows_of(database_url, "subscriptions", D31)} == {1}


def test_a_drop_validated_before_the_loaded_one_does_not_come_back(landing, archive, database_url):
    first = validate(write_drop(landing, D31, {"a": {"months_active": "1"}}), database_url, archive)
    load(first, database_url, archive)
    load(
        validate(write_drop(landing, D31, {"a": {"months_active": "2"}}), database_url, archive), database_url, archive
    )
    with pytest.raises(StaleDrop, match="clear the task validate"):
        load(first, database_url, archive)
    with connect(database_url) as connection:
        assert connection.execute("SELECT months_active FROM raw.subscriptions").fetchall() == [(2,)]


def test_every_revision_can_be_loaded_again_from_the_archive_alone(landing, archive, database_url):
    first = validate(with_months(landing, 1), database_url, archive)
    second = validate(with_months(landing, 2), database_url, archive)
    shutil.rmtree(landing)
    for accepted, months in ((first, 1), (second, 2), (first, 1)):
        load(validated_now(accepted), database_url, archive)
        assert {row["months_active"] for row in rows_of(database_url, "subscriptions", D31)} == {months}


def test_the_validated_content_is_loaded_despite_later_landing_changes(landing, archive, database_url):
    accepted = validate(with_months(landing, 1), database_url, archive)
    with_months(landing, 2)
    load(accepted, database_url, archive)
    assert {row["months_active"] for row in rows_of(database_url, "subscriptions", D31)} == {1}


def test_the_same_drop_is_loaded_again_by_other_code_as_the_same_revision(landing, archive, database_url, monkeypatch):
    accepted = validate(with_months(landing, 1), database_url, archive)
    load(accepted, database_url, archive)
    before = dump(database_url, "raw")
    monkeypatch.setattr(loading, "step_digest", lambda step: "other code")
    assert load(accepted, database_url, archive).outcome == DONE
    assert load(accepted, database_url, archive).outcome == UNCHANGED
    after = dump(database_url, "raw")
    assert b"other code" in after.pop(("raw", "revisions"))
    before.pop(("raw", "revisions"))
    assert after == before
    assert [revision for _, revision, _ in revisions(database_url)] == [1]


# --- failures ----------------------------------------------------------------------------------------------------


def remove(path):
    path.unlink()


def flip_a_bit(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut_off(path):
    os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize("damage", [remove, flip_a_bit, cut_off])
@pytest.mark.parametrize("name", ["users.csv", "labels.csv"])
def test_a_damaged_archive_is_an_error_that_says_so_and_the_old_revision_stays(
    damage, name, landing, archive, database_url
):
    load(validate(with_months(landing, 1), database_url, archive), database_url, archive)
    drop = write_drop(landing, D31, USERS, [(user, True) for user in USERS])
    accepted = validate(drop, database_url, archive)
    before = dump(database_url)
    sha256 = accepted.files[name].sha256
    damage(archive / sha256[:2] / f"{sha256}.csv.zst")
    with pytest.raises(ArchiveError, match="validate the drop again"):
        load(accepted, database_url, archive)
    assert dump(database_url) == before
    # What the message says helps.
    assert load(validate(drop, database_url, archive), database_url, archive).outcome == DONE


def test_an_archived_drop_that_breaks_a_stricter_contract_is_refused_and_the_old_revision_stays(
    landing, archive, database_url, monkeypatch
):
    load(validate(with_months(landing, 1), database_url, archive), database_url, archive)
    accepted = validate(with_months(landing, 12), database_url, archive)
    before = dump(database_url)
    monkeypatch.setitem(values.PATTERNS, Kind.COUNT, "^[0-9]$")
    with pytest.raises(DropRejected, match=r"subscriptions\.csv, line 2, column months_active: '12'"):
        load(accepted, database_url, archive)
    assert dump(database_url) == before


def test_a_failed_load_leaves_the_old_revision(landing, archive, database_url):
    load(validate(with_months(landing, 1), database_url, archive), database_url, archive)
    accepted = validate(with_months(landing, 2), database_url, archive)
    with connect(database_url) as connection:
        connection.execute("ALTER TABLE raw.support_agg_90d ADD CHECK (support_tickets_90d > 2) NOT VALID")
    before = dump(database_url)
    with pytest.raises(psycopg.errors.CheckViolation):
        load(accepted, database_url, archive)
    assert dump(database_url) == before


# --- readers and writers at the same time ------------------------------------------------------------------------

SEEN = """
    SELECT count(*), min(months_active), max(months_active), min(skips_7d), max(skips_7d)
    FROM raw.subscriptions JOIN raw.usage_agg_30d USING (as_of, user_id) WHERE as_of = %s
"""


def test_a_repeatable_read_reader_sees_the_old_revision_to_the_end(landing, archive, database_url):
    load(validate(with_months(landing, 1), database_url, archive), database_url, archive)
    with connect(database_url) as reader:
        reader.isolation_level = IsolationLevel.REPEATABLE_READ
        assert reader.execute(SEEN, [D31]).fetchone() == (60, 1, 1, 1, 1)
        load(validate(with_months(landing, 2), database_url, archive), database_url, archive)
        assert reader.execute(SEEN, [D31]).fetchone() == (60, 1, 1, 1, 1)
        reader.commit()
        assert reader.execute(SEEN, [D31]).fetchone() == (60, 2, 2, 2, 2)


def test_a_read_committed_reader_sees_the_old_revision_or_the_new_one(landing, archive, database_url):
    accepted = [validate(with_months(landing, months), database_url, archive) for months in (1, 2)]
    load(accepted[0], database_url, archive)
    done, seen = threading.Event(), []

    def read():
        with connect(database_url, autocommit=True) as reader:
            while not done.is_set():
                seen.append(reader.execute(SEEN, [D31]).fetchone())
            seen.append(reader.execute(SEEN, [D31]).fetchone())

    with ThreadPoolExecutor() as pool:
        readers = [pool.submit(read) for _ in range(2)]
        try:
            for number in range(1, 10):
                load(validated_now(accepted[number % 2]), database_url, archive)
        finally:
            done.set()
        for reader in readers:
            reader.result()
    assert set(seen) == {(60, 1, 1, 1, 1), (60, 2, 2, 2, 2)}


def test_concurrent_loads_of_a_drop_make_one_revision(landing, archive, database_url):
    accepted = validate(with_months(landing, 1), database_url, archive)
    with ThreadPoolExecutor() as pool:
        runs = [pool.submit(load, accepted, database_url, archive) for _ in range(4)]
    assert sorted(run.result().outcome for run in runs) == [DONE, UNCHANGED, UNCHANGED, UNCHANGED]


def test_concurrent_loads_of_different_dates_are_independent(landing, archive, database_url):
    dates = [D31 - timedelta(days=days) for days in range(4)]
    drops = [validate(with_months(landing, n, as_of=day), database_url, archive) for n, day in enumerate(dates)]
    with ThreadPoolExecutor() as pool:
        outcomes = [run.result() for run in [pool.submit(load, drop, database_url, archive) for drop in drops]]
    assert {outcome.outcome for outcome in outcomes} == {DONE}
    for number, day in enumerate(dates):
        assert [row["months_active"] for row in rows_of(database_url, "subscriptions", day)] == [number] * 60
