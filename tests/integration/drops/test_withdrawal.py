"""After a withdrawal the state is as if the drop had never come."""

import shutil
from datetime import UTC, date, datetime

import pytest

from churn.drops import watch
from churn.drops.contract import FILES
from churn.drops.landing import find_drop
from churn.drops.loading import StaleDrop, load
from churn.drops.snapshots import NotLoaded, build_snapshots
from churn.drops.validation import DropHeld, validate
from churn.drops.watch import find_pending
from churn.drops.withdrawal import WithdrawalRefused, is_withdrawn, withdraw
from churn.features.materialization import NoSnapshot, materialize, serve_what_is_left
from churn.features.store import FEATURE_SERVICE, FEATURE_SERVICES, apply_definitions, read_online
from churn.outcome import DONE, OLDER, UNCHANGED
from churn.postgres.database import connect, execute
from churn.training.training_set import build_training_set
from tests.conftest import database_copy
from tests.database_dump import dump_of_drops
from tests.handmade_drops import take_in, write_drop
from tests.opened_store import opened_store

D31, F29, M31 = date(2024, 1, 31), date(2024, 2, 29), date(2024, 3, 31)
LAST = date(9999, 12, 31)
WHY = "the fees are in cents"


class World:
    """A pipeline where all customers of a date have the same values, different from other dates."""

    def __init__(self, database_url, directory):
        self.url, self.landing, self.archive = database_url, directory / "landing", directory / "archive"

    def write(self, as_of, months=None, users="abc"):
        months = str(as_of.month if months is None else months)
        labels = [(user, user == "a", day) for user in users for day in (D31, F29, M31) if day <= as_of]
        values = {"months_active": months, "support_tickets_90d": months}
        actions = [(user, f"call of {as_of}", day) for user in users for day in (D31, F29, M31) if day <= as_of]
        return write_drop(self.landing, as_of, dict.fromkeys(users, values), labels, actions)

    def accept(self, as_of, because="it was right after all"):
        (self.landing / as_of.isoformat() / "_ACCEPT").write_text(because, encoding="utf-8")

    def snapshot(self, *as_ofs):
        for as_of in as_ofs:
            take_in(self.write(as_of), self.url, self.archive)

    def serve(self, *as_ofs):
        apply_definitions(self.url)
        for as_of in as_ofs:
            self.snapshot(as_of)
            materialize(as_of, self.url)

    def withdraw(self, as_of):
        return withdraw(as_of, "ada", WHY, self.url)

    def withdraw_all(self, as_of):
        self.withdraw(as_of)
        return serve_what_is_left(self.url)

    def served(self):
        """Return {customer: (AS_OF, months)} of the served customers."""
        users = ["a", "b", "c"]
        with opened_store(self.url) as store:
            found = read_online(store, store.get_feature_service(FEATURE_SERVICE), users)
        return {user: (f.as_of, f.values["months_active"]) for user, f in zip(users, found, strict=True) if f.as_of}

    def pending(self):
        return [(drop.as_of, drop.revision) for drop in find_pending(self.landing, self.url)]

    def fetch(self, query):
        with connect(self.url) as connection:
            return connection.execute(query).fetchall()


@pytest.fixture
def world(database_url, tmp_path, monkeypatch, request):
    """Tests of serving run with both online stores, the others with one."""
    if "online_store" in request.fixturenames:
        request.getfixturevalue("online_store").empty()
    monkeypatch.setattr(watch, "QUIET_SECONDS", -1)
    return World(database_url, tmp_path)


# --- what is left ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("withdrawn", [D31, F29, M31])
def test_after_a_withdrawal_the_state_is_as_if_the_drop_never_came(
    withdrawn, world, postgres_url, churn_template, own_online_store, tmp_path
):
    own_online_store.empty()
    dates = [D31, F29, M31]
    world.serve(*dates)
    world.withdraw_all(withdrawn)
    held = dump_of_drops(world.url), world.served(), trained_on(world.url)
    own_online_store.empty()
    with database_copy(postgres_url, churn_template) as url:
        other = World(url, tmp_path / "other")
        other.serve(*(each for each in dates if each != withdrawn))
        assert held == (dump_of_drops(url), other.served(), trained_on(url))


def trained_on(url):
    with opened_store(url) as store:
        return build_training_set(store, FEATURE_SERVICES, M31, url).digest


def test_revisions_and_archived_files_of_a_withdrawn_drop_are_kept_and_marked(world):
    world.snapshot(F29)
    take_in(world.write(F29, 7), world.url, world.archive)
    before = sorted(world.archive.rglob("*"))
    outcome = world.withdraw(F29)
    assert (outcome.outcome, outcome.figures["revisions"]) == (DONE, 2)
    assert world.fetch("SELECT revision, withdrawn_at IS NULL FROM raw.revisions ORDER BY revision") == [
        (1, False),
        (2, False),
    ]
    assert sorted(world.archive.rglob("*")) == before


def test_a_withdrawal_records_author_and_reason(world):
    world.snapshot(F29)
    world.withdraw(F29)
    assert world.fetch("SELECT as_of, who, why FROM raw.withdrawals") == [(F29, "ada", WHY)]


@pytest.mark.parametrize(("who", "why"), [("", WHY), ("ada", "  "), ("ada", "x" * 1001)])
def test_a_withdrawal_without_author_or_reason_is_refused(world, who, why):
    world.snapshot(F29)
    with pytest.raises(WithdrawalRefused, match="say who and why, the reason in at most 1000 characters"):
        withdraw(F29, who, why, world.url)
    assert world.fetch("SELECT count(*) FROM raw.drops") == [(1,)]


def test_a_date_of_which_nothing_is_loaded_is_left_alone(world):
    world.snapshot(D31)
    outcome = world.withdraw(F29)
    assert outcome.outcome == UNCHANGED
    assert outcome.reason == "no drop of 2024-02-29 is loaded; if one lies in the landing directory, remove it there"
    assert world.fetch("SELECT count(*) FROM raw.withdrawals") == [(0,)]


def test_a_second_withdrawal_changes_nothing_and_says_who_made_the_first(world):
    world.snapshot(F29)
    world.withdraw(F29)
    again = withdraw(F29, "bob", "again", world.url)
    assert again.outcome == UNCHANGED
    assert again.reason.endswith(f"UTC by ada: {WHY}")
    assert world.fetch("SELECT who FROM raw.withdrawals") == [("ada",)]


def test_an_older_read_snapshot_sees_the_whole_drop(world):
    world.snapshot(F29)
    counts = "SELECT (SELECT count(*) FROM raw.users), (SELECT count(*) FROM snapshots.usage_agg_30d_snapshots)"
    with connect(world.url) as reader:
        reader.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        assert reader.execute(counts).fetchone() == (3, 3)
        world.withdraw(F29)
        assert reader.execute(counts).fetchone() == (3, 3)
    assert world.fetch(counts) == [(0, 0)]


def test_a_date_that_older_code_loaded_and_python_cannot_add_a_day_to_is_withdrawn(world):
    with connect(world.url) as connection:
        for file in FILES:
            connection.execute("SELECT churn_month(%s, %s)", [f"raw.{file.table}", LAST])
            connection.execute("SELECT churn_attach_month(%s, %s)", [f"raw.{file.table}", LAST])
        connection.execute("INSERT INTO raw.payments_agg_90d VALUES (%s, 'a', 1)", [LAST])
        connection.execute(
            "INSERT INTO raw.revisions (as_of, revision, validated_at, digest, code_digest, files)"
            " VALUES (%s, 1, now(), 'd', 'c', '{}')",
            [LAST],
        )
    assert world.withdraw(LAST).outcome == DONE
    assert world.fetch("SELECT count(*) FROM raw.payments_agg_90d") == [(0,)]
    assert world.fetch("SELECT count(*) FROM raw.drops") == [(0,)]


# --- what is served ----------------------------------------------------------------------------------------------


def test_the_newest_remaining_date_replaces_a_withdrawn_served_one(world, online_store):
    world.serve(D31, F29, M31)
    world.withdraw(M31)
    outcome = serve_what_is_left(world.url)
    assert (outcome.outcome, outcome.figures) == (DONE, {"served_as_of": "2024-02-29"})
    assert outcome.reason == "2024-02-29 is served in place of 2024-03-31, which was withdrawn"
    assert world.served() == dict.fromkeys("abc", (F29, 2))
    assert set(online_store.builds_left(world.url).values()) == {1}


def test_a_date_materialized_as_older_than_the_withdrawn_one_is_served(world, online_store):
    world.serve(M31, D31)
    world.withdraw_all(M31)
    assert world.served() == dict.fromkeys("abc", (D31, 1))


def test_without_remaining_dates_nothing_is_served(world, online_store):
    world.serve(F29)
    assert world.withdraw_all(F29).reason == "nothing is served in place of 2024-02-29, which was withdrawn"
    assert world.served() == {}
    assert not online_store.builds_left(world.url)


def test_after_an_empty_store_the_next_drop_is_served(world, online_store):
    world.serve(F29)
    world.withdraw_all(F29)
    world.serve(D31)
    assert world.served() == dict.fromkeys("abc", (D31, 1))


def test_withdrawing_another_date_keeps_the_served_one(world, online_store):
    world.serve(D31, F29)
    world.withdraw(D31)
    outcome = serve_what_is_left(world.url)
    assert (outcome.outcome, outcome.reason) == (UNCHANGED, "2024-02-29 is served, which was not withdrawn")


def test_after_a_killed_withdrawal_an_older_date_can_be_served(world, online_store):
    world.serve(F29)
    world.withdraw(F29)
    world.snapshot(D31)
    assert materialize(D31, world.url).outcome == DONE
    assert world.served() == dict.fromkeys("abc", (D31, 1))


def test_after_a_killed_withdrawal_a_backfill_does_not_serve_an_old_date(world, online_store):
    world.serve(D31, F29, M31)
    world.withdraw(M31)
    assert materialize(D31, world.url).outcome == OLDER
    assert world.served() == dict.fromkeys("abc", (F29, 2))


def test_a_store_that_lost_its_build_is_not_given_a_withdrawn_date(world, online_store):
    world.serve(D31, F29, M31)
    online_store.serve_nothing(world.url)
    world.withdraw(M31)
    assert materialize(D31, world.url).outcome == OLDER
    assert world.served() == dict.fromkeys("abc", (F29, 2))


def test_a_date_whose_snapshot_retention_removed_is_passed_over_and_named(world, online_store):
    world.serve(D31, F29, M31)
    with connect(world.url) as connection:
        execute(connection, "retention/mark_snapshot", {"as_of": F29})
    assert world.withdraw_all(M31).reason == (
        "2024-01-31 is served in place of 2024-03-31, which was withdrawn; passed over, because retention removed "
        "their snapshots: 2024-02-29; to serve one, run it again"
    )


def test_a_withdrawn_date_has_no_snapshot_to_materialize(world, online_store):
    world.serve(F29)
    world.withdraw_all(F29)
    with pytest.raises(NoSnapshot):
        materialize(F29, world.url)


# --- what may come after -----------------------------------------------------------------------------------------


def test_a_withdrawn_date_has_no_drop_to_build_snapshots_of(world):
    world.snapshot(F29)
    world.withdraw(F29)
    with pytest.raises(NotLoaded):
        build_snapshots(F29, world.url)


def test_a_run_that_validated_before_the_withdrawal_does_not_bring_the_drop_back(world):
    world.snapshot(F29)
    validated = validate(find_drop(world.landing, F29), world.url, world.archive)
    world.withdraw(F29)
    with pytest.raises(StaleDrop, match=r"withdrawn at .*: clear the task validate if"):
        load(validated, world.url, world.archive)


def test_withdrawn_content_is_not_pending_and_the_log_says_why(world, caplog):
    caplog.set_level("INFO")
    world.snapshot(F29)
    world.withdraw(F29)
    assert world.pending() == []
    assert "2024-02-29: not loaded again, this content was withdrawn on" in caplog.text


def test_recopied_withdrawn_content_is_not_pending(world):
    world.snapshot(F29)
    world.withdraw(F29)
    shutil.rmtree(world.landing)
    world.write(F29)
    assert world.pending() == []


def test_a_corrected_drop_of_a_withdrawn_date_is_pending_as_the_next_revision(world):
    world.snapshot(F29)
    world.withdraw(F29)
    world.write(F29, 7)
    assert world.pending() == [(F29, 2)]


def test_no_withdrawn_revision_is_reloaded(world):
    world.snapshot(F29)
    take_in(world.write(F29, 7), world.url, world.archive)
    world.withdraw(F29)
    world.write(F29)
    assert world.pending() == []


def test_withdrawn_content_is_held_with_time_author_and_reason(world):
    world.snapshot(F29)
    world.withdraw(F29)
    with pytest.raises(DropHeld, match=f"this content was withdrawn on .* by ada: {WHY}\n.* into its file _ACCEPT"):
        validate(find_drop(world.landing, F29), world.url, world.archive)


def test_an_accept_from_before_the_withdrawal_does_not_bring_the_content_back(world):
    world.write(F29)
    world.accept(F29)
    world.snapshot(F29)
    world.withdraw(F29)
    assert world.pending() == []
    with pytest.raises(DropHeld):
        validate(find_drop(world.landing, F29), world.url, world.archive)


def test_an_accept_without_a_reason_does_not_bring_the_content_back(world):
    world.snapshot(F29)
    world.withdraw(F29)
    world.accept(F29, because=" ")
    assert world.pending() == []


def test_a_newer_accept_brings_the_content_back_as_the_next_revision(world, online_store):
    world.serve(F29)
    world.withdraw_all(F29)
    world.accept(F29)
    assert world.pending() == [(F29, 2)]
    world.serve(F29)
    assert world.fetch("SELECT revision FROM raw.drops") == [(2,)]
    assert world.served() == dict.fromkeys("abc", (F29, 2))
    assert world.pending() == []


def test_content_that_was_accepted_again_and_then_corrected_may_come_back(world):
    world.snapshot(F29)
    world.withdraw(F29)
    world.accept(F29)
    world.snapshot(F29)
    take_in(world.write(F29, 7), world.url, world.archive)
    world.write(F29)
    (world.landing / "2024-02-29" / "_ACCEPT").unlink()
    assert world.pending() == [(F29, 4)]


def test_a_drop_that_came_after_the_withdrawal_was_asked_for_stays(world):
    asked_at = datetime.now(UTC)
    world.snapshot(D31)
    outcome = withdraw(D31, "ada", WHY, world.url, asked_at)
    assert outcome.outcome == UNCHANGED
    assert "ask again to withdraw it" in outcome.reason
    assert withdraw(D31, "ada", WHY, world.url, datetime.now(UTC)).outcome == DONE


def test_a_date_is_withdrawn_until_a_drop_of_it_is_loaded(world):
    def said():
        with connect(world.url) as connection:
            return is_withdrawn(connection, F29)

    assert not said()
    world.snapshot(F29)
    assert not said()
    world.withdraw(F29)
    assert said()
    take_in(world.write(F29, 7), world.url, world.archive)
    assert not said()
