"""A drop unlike the previous one is held until a person accepts it; an acceptance is history."""

import json
import os
import shutil
from datetime import UTC, date, datetime

import pytest

from churn.drops import loading, watch
from churn.drops.archive import open_archived
from churn.drops.holds.record import find_holds
from churn.drops.landing import Drop, find_drop
from churn.drops.loading import load
from churn.drops.validation import DropHeld, validate
from churn.drops.watch import find_pending
from churn.outcome import DONE, UNCHANGED
from churn.postgres.database import connect
from tests.database_dump import dump
from tests.handmade_drops import accept, take_in, write_drop, write_manifest

D30, D31, F29, M31 = date(2024, 1, 30), date(2024, 1, 31), date(2024, 2, 29), date(2024, 3, 31)
USERS = [f"{number:04d}-ABCDE" for number in range(1, 301)]


def customers(users=USERS, **changed):
    """Customers of three tariffs in January; `changed` maps a column to a function of the customer's number."""
    return {
        user: {
            "months_active": str(number % 40 + 1),
            "monthly_fee": f"{20 + number % 90}.35",
            "net_service": ("Fiber optic", "DSL", "No")[number % 3],
            "skips_7d": str(number % 7),
        }
        | {column: value_of(number) for column, value_of in changed.items()}
        for number, user in enumerate(users)
    }


@pytest.fixture
def landing(tmp_path, monkeypatch):
    monkeypatch.setattr(watch, "QUIET_SECONDS", -1)
    return tmp_path / "landing"


@pytest.fixture
def january(landing, archive, database_url):
    drop = write_drop(landing, D31, customers())
    take_in(drop, database_url, archive)
    return drop


def held(drop, database_url, archive):
    """Validate a drop, check that it is held, and return the hold's findings and the error."""
    with pytest.raises(DropHeld) as error:
        validate(drop, database_url, archive)
    findings = find_holds(database_url)[drop.as_of].findings
    assert all(finding in str(error.value) for finding in findings)
    return findings, error.value


def accepted(drop, database_url, archive):
    return load(validate(drop, database_url, archive), database_url, archive).outcome


def revisions(database_url):
    with connect(database_url) as connection:
        return connection.execute("SELECT as_of, revision, accepted FROM raw.revisions ORDER BY 1, 2").fetchall()


def pending(landing, database_url):
    return [each.as_of for each in find_pending(landing, database_url)]


# --- what is held ------------------------------------------------------------------------------------------------


def test_a_drop_like_the_one_before_is_accepted(january, landing, archive, database_url):
    assert accepted(write_drop(landing, F29, customers()), database_url, archive) == DONE


def test_a_fee_in_cents_is_held(january, landing, archive, database_url):
    drop = write_drop(landing, F29, customers(monthly_fee=lambda number: f"{2035 + 100 * (number % 90)}"))
    assert held(drop, database_url, archive)[0] == [
        "subscriptions.csv, column monthly_fee: the median is 5,985, before 59.85, a factor of 100; "
        "300 customers, 300 before"
    ]


def test_another_spelling_of_a_text_is_held(january, landing, archive, database_url):
    drop = write_drop(landing, F29, customers(net_service=lambda number: ("Fiber Optic", "DSL", "No")[number % 3]))
    assert held(drop, database_url, archive)[0] == [
        "subscriptions.csv, column net_service: 100 of 300 customers have a text that none of 300 had before: "
        "'Fiber Optic' (100)"
    ]


def test_a_column_that_is_constant_now_is_held(january, landing, archive, database_url):
    drop = write_drop(landing, F29, customers(skips_7d=lambda _: "3"))
    assert held(drop, database_url, archive)[0] == [
        "usage_agg_30d.csv, column skips_7d: one value, 3, for all of 300 customers; of 300 before, "
        "257 of 300 values differed from the most frequent one"
    ]


def test_the_same_files_under_a_new_date_are_held(january, landing, archive, database_url):
    shutil.copytree(january.path, landing / F29.isoformat())
    assert held(find_drop(landing, F29), database_url, archive)[0] == [
        "all five required files are byte for byte those of the drop before (300 customers)"
    ]


def test_ids_that_are_all_new_are_held(january, landing, archive, database_url):
    drop = write_drop(landing, F29, customers([user.lower() for user in USERS]))
    assert held(drop, database_url, archive)[0] == [
        "users.csv, column user_id: 0 of the 300 ids of the drop before are in this one, fewer than half; "
        "it has 300 customers"
    ]


def test_ten_times_as_many_customers_are_held(january, landing, archive, database_url):
    drop = write_drop(landing, F29, customers([f"{user}{tenth}" for user in USERS for tenth in ("", *"123456789")]))
    assert held(drop, database_url, archive)[0] == [
        "users.csv: 3,000 customers, more than twice the 300 of the drop before"
    ]


def test_a_drop_with_fewer_than_half_the_customers_is_held_and_half_is_not(january, landing, archive, database_url):
    assert len(held(write_drop(landing, F29, customers(USERS[:149])), database_url, archive)[0]) == 1
    assert accepted(write_drop(landing, F29, customers(USERS[:150])), database_url, archive) == DONE


def test_a_held_drop_writes_only_its_hold(january, landing, archive, database_url):
    drop = write_drop(landing, F29, customers(USERS[:10]))
    before, files = dump(database_url), sorted(archive.rglob("*"))
    held(drop, database_url, archive)
    after = dump(database_url)
    assert {table for table in after if after[table] != before[table]} == {("raw", "holds")}
    assert sorted(archive.rglob("*")) == files


# --- what a drop is compared with --------------------------------------------------------------------------------


def test_a_drop_is_compared_with_the_newest_earlier_one_that_is_loaded(january, landing, archive, database_url):
    write_drop(landing, date(2024, 2, 15), customers(USERS[:10]))
    take_in(write_drop(landing, M31, customers()), database_url, archive)
    drop = write_drop(landing, F29, customers(USERS[:10]))
    held(drop, database_url, archive)
    assert find_holds(database_url)[F29].against[0] == D31


def test_the_first_drop_is_not_held(landing, archive, database_url):
    assert accepted(write_drop(landing, D31, ["a"]), database_url, archive) == DONE


def test_a_drop_is_compared_with_one_of_older_code_without_rows(january, landing, archive, database_url):
    with connect(database_url) as connection:
        connection.execute("UPDATE raw.revisions SET profile = NULL, expired_at = now()")
        connection.execute("DELETE FROM raw.users")
    drop = write_drop(landing, F29, customers(monthly_fee=lambda number: f"{2035 + 100 * (number % 90)}"))
    assert len(held(drop, database_url, archive)[0]) == 1


def test_a_drop_that_cannot_be_compared_needs_a_person(january, landing, archive, database_url):
    shutil.rmtree(archive)
    drop = write_drop(landing, F29, customers())
    (finding,) = held(drop, database_url, archive)[0]
    assert finding.startswith("it cannot be compared with the drop of 2024-01-31: the archive has no ")
    accept(drop)
    assert accepted(drop, database_url, archive) == DONE


# --- acceptance --------------------------------------------------------------------------------------------------


@pytest.fixture
def small(january, landing):
    """A held drop, which lacks most customers."""
    return write_drop(landing, F29, customers(USERS[:10]))


def test_accept_lets_a_drop_pass_and_is_recorded_and_archived(small, archive, database_url):
    held(small, database_url, archive)
    accept(small, "the South was sold\n")
    assert accepted(small, database_url, archive) == DONE
    recorded = revisions(database_url)[-1][2]
    assert recorded["because"] == "the South was sold"
    assert recorded["modified_ns"] == (small.path / "_ACCEPT").stat().st_mtime_ns
    with open_archived(archive, recorded["sha256"]) as stream:
        assert stream.read(100) == b"the South was sold\n"
    assert find_holds(database_url) == {}


def test_an_accept_that_was_not_needed_is_recorded_too(landing, archive, database_url):
    drop = write_drop(landing, D31, ["a"])
    accept(drop)
    accepted(drop, database_url, archive)
    assert revisions(database_url)[0][2]["because"] == "a test wants it so"


def test_an_empty_accept_does_not_accept(small, archive, database_url):
    accept(small, " \n")
    assert "_ACCEPT is empty: write into it why" in str(held(small, database_url, archive)[1])


def test_an_accept_holds_for_the_content_it_was_placed_beside(small, landing, archive, database_url):
    accept(small)
    accepted(small, database_url, archive)
    smaller = write_drop(landing, F29, customers(USERS[:5]))
    assert "for another content, revision 1: write _ACCEPT again" in str(held(smaller, database_url, archive)[1])
    os.utime(smaller.path / "_ACCEPT")
    assert accepted(smaller, database_url, archive) == DONE


def test_an_accept_written_for_held_content_does_not_accept_what_replaced_it(small, landing, archive, database_url):
    held(small, database_url, archive)
    accept(small)
    smaller = write_drop(landing, F29, customers(USERS[:5]))
    assert "was written for other content" in str(held(smaller, database_url, archive)[1])
    os.utime(smaller.path / "_ACCEPT")
    assert accepted(smaller, database_url, archive) == DONE


def test_accepted_content_is_not_compared_again(small, landing, archive, database_url, monkeypatch):
    accept(small)
    accepted(small, database_url, archive)
    accepted(write_drop(landing, F29, customers()), database_url, archive)
    write_drop(landing, F29, customers(USERS[:10]))
    (small.path / "_ACCEPT").unlink()
    assert accepted(small, database_url, archive) == DONE
    monkeypatch.setattr(loading, "step_digest", lambda step: "other code")
    assert accepted(small, database_url, archive) == DONE
    assert accepted(small, database_url, archive) == UNCHANGED


def test_accepted_content_is_checked_by_the_rules_that_it_was_accepted_by(january, archive, database_url):
    with connect(database_url) as connection:
        connection.execute("UPDATE raw.revisions SET rules = 1")
    assert validate(january, database_url, archive).rules == 1


def test_withdrawn_content_is_held_until_an_accept_is_newer_than_the_withdrawal(january, archive, database_url):
    accept(january)
    with connect(database_url) as connection:
        connection.execute("UPDATE raw.revisions SET withdrawn_at = now()")
        connection.execute("INSERT INTO raw.withdrawals (as_of, who, why) VALUES (%s, 'ann', 'wrong month')", [D31])
    findings, error = held(january, database_url, archive)
    assert findings == [f"this content was withdrawn on {datetime.now(UTC).date()} by ann: wrong month"]
    assert str(error).endswith("its _ACCEPT is older than the withdrawal: write _ACCEPT again")
    os.utime(january.path / "_ACCEPT")
    validate(january, database_url, archive)


# --- being told, and being lifted --------------------------------------------------------------------------------


def test_a_hold_alerts_once(small, archive, database_url):
    assert not held(small, database_url, archive)[1].told_before
    assert held(small, database_url, archive)[1].told_before


@pytest.mark.parametrize("change", [lambda drop: accept(drop, ""), write_manifest])
def test_a_hold_alerts_again_when_its_inputs_change(small, archive, database_url, change):
    held(small, database_url, archive)
    change(small)
    assert not held(small, database_url, archive)[1].told_before


def test_a_held_drop_is_pending_again_only_after_a_change(small, landing, archive, database_url):
    assert pending(landing, database_url) == [F29]
    held(small, database_url, archive)
    assert pending(landing, database_url) == []
    accept(small)
    assert pending(landing, database_url) == [F29]


def test_an_accept_that_is_written_again_with_the_same_words_is_judged_again(small, landing, archive, database_url):
    accept(small, "")
    held(small, database_url, archive)
    assert pending(landing, database_url) == []
    os.utime(small.path / "_ACCEPT")
    assert pending(landing, database_url) == [F29]


def test_a_held_drop_that_cannot_be_read_stops_no_other(small, landing, archive, database_url, monkeypatch):
    held(small, database_url, archive)
    write_drop(landing, M31, customers())

    times = watch._times

    def moved_away(drop):
        if drop.as_of == F29:
            raise FileNotFoundError(drop.path)
        return times(drop)

    monkeypatch.setattr(watch, "_times", moved_away)
    assert pending(landing, database_url) == [M31]
    assert list(find_holds(database_url)) == [F29]


def test_a_changed_manifest_counts_as_a_change_of_a_held_drop(small, landing, archive, database_url):
    write_manifest(small)
    accept(small, "")
    held(small, database_url, archive)
    assert pending(landing, database_url) == []


def test_a_late_earlier_drop_can_lift_a_hold(small, landing, archive, database_url):
    held(small, database_url, archive)
    late = write_drop(landing, date(2024, 2, 15), customers(USERS[:20]))
    accept(late, "most customers left")
    take_in(late, database_url, archive)
    assert pending(landing, database_url) == [F29]
    assert accepted(small, database_url, archive) == DONE
    assert find_holds(database_url) == {}


def test_a_held_drop_is_compared_again_when_the_earlier_one_is_corrected_or_withdrawn(
    small, landing, archive, database_url
):
    run_ids = set()
    held(small, database_url, archive)
    take_in(write_drop(landing, D31, customers(months_active=lambda _: "2")), database_url, archive)
    run_ids |= {each.run_id for each in find_pending(landing, database_url)}
    assert held(small, database_url, archive)[1].told_before
    assert pending(landing, database_url) == []
    take_in(write_drop(landing, D31, customers()), database_url, archive)
    run_ids |= {each.run_id for each in find_pending(landing, database_url)}
    held(small, database_url, archive)
    with connect(database_url) as connection:
        connection.execute("UPDATE raw.revisions SET withdrawn_at = now()")
    run_ids |= {each.run_id for each in find_pending(landing, database_url) if each.as_of == F29}
    assert len(run_ids) == 3
    assert accepted(small, database_url, archive) == DONE


def test_a_held_correction_leaves_the_revision_before_it_loaded(january, landing, archive, database_url):
    take_in(write_drop(landing, F29, customers()), database_url, archive)
    held(write_drop(landing, F29, customers(USERS[:10])), database_url, archive)
    assert [each[:2] for each in revisions(database_url)] == [(D31, 1), (F29, 1)]
    assert pending(landing, database_url) == []


@pytest.mark.parametrize("take_away", [shutil.rmtree, lambda path: write_drop(path.parent, F29, customers())])
def test_a_hold_is_deleted_when_its_drop_is_removed_or_replaced_by_the_loaded_one(
    january, landing, archive, database_url, take_away
):
    loaded = write_drop(landing, F29, customers())
    take_in(loaded, database_url, archive)
    kept = {path.name: path.stat() for path in loaded.files()}
    held(write_drop(landing, F29, customers(USERS[:10])), database_url, archive)
    take_away(loaded.path)
    for path in loaded.files():
        os.utime(path, ns=(1, kept[path.name].st_mtime_ns))
    assert pending(landing, database_url) == []
    assert find_holds(database_url) == {}


def test_a_missing_landing_directory_deletes_no_hold(small, landing, archive, database_url):
    held(small, database_url, archive)
    landing.rename(landing.with_name("elsewhere"))
    assert pending(landing, database_url) == []
    assert list(find_holds(database_url)) == [F29]


def test_a_drop_passes_between_tasks_with_its_profile_and_its_accept(january, archive, database_url):
    accept(january)
    found = validate(january, database_url, archive)
    assert type(found).from_json(json.loads(json.dumps(found.to_json()))) == found


def test_the_real_drops_are_not_held(real_drops, archive, database_url):
    for as_of in (D31, F29):
        assert accepted(Drop(as_of, real_drops / as_of.isoformat()), database_url, archive) == DONE
