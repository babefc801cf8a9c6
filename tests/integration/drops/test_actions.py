"""Actions: the report on those of a drop, those that are refused, and what is known of a date at an AS_OF."""

import logging
from datetime import date
from itertools import permutations

import pytest

from churn.drops import loading
from churn.drops.actions import are_known, contacted
from churn.drops.landing import Drop
from churn.drops.loading import load
from churn.drops.snapshots import build_snapshots
from churn.drops.validation import validate
from churn.drops.violations import DropRejected
from churn.drops.watch import find_pending
from churn.drops.withdrawal import withdraw
from churn.outcome import DONE
from churn.postgres.database import connect
from tests.database_dump import dump
from tests.handmade_drops import accept, take_in, validated_now, write_drop, write_manifest

D31, F15, F29, M31 = date(2024, 1, 31), date(2024, 2, 15), date(2024, 2, 29), date(2024, 3, 31)
USERS = [f"{number:04d}-ABCDE" for number in range(30)]
OTHERS = [f"{number:04d}-OTHER" for number in range(30)]


class World:
    def __init__(self, database_url, directory):
        self.url, self.landing, self.archive = database_url, directory / "landing", directory / "archive"

    def write(self, as_of, actions, users=USERS):
        return write_drop(self.landing, as_of, users, None, actions)

    def load(self, as_of, actions, users=USERS):
        return load(validate(self.write(as_of, actions, users), self.url, self.archive), self.url, self.archive)

    def take_in(self, as_of, actions, users=USERS):
        take_in(self.write(as_of, actions, users), self.url, self.archive)

    def contacted(self, as_of, known_as_of):
        with connect(self.url) as connection:
            found = contacted(connection, as_of, known_as_of)
            assert are_known(connection, as_of, known_as_of) == bool(found)
        return found

    def fetch(self, query):
        with connect(self.url) as connection:
            return connection.execute(query).fetchall()


@pytest.fixture
def world(database_url, tmp_path):
    return World(database_url, tmp_path)


def told(came, matched, *, waiting=False):
    return {"came": came, "matched": matched, "waiting": waiting}


# --- the report, and what is refused -----------------------------------------------------------------------------


def test_without_actions_the_report_is_empty(world):
    assert world.load(D31, None).figures["actions"] == {}
    assert world.load(F29, []).figures["actions"] == {}


def test_the_report_counts_delivered_and_matched_actions_by_date(world, caplog):
    world.take_in(D31, None)
    actions = [
        *((user, "call", D31) for user in USERS[:10]),
        *((user, "e-mail", D31) for user in USERS[:5]),
        *((f"stranger-{number}", "call", D31) for number in range(3)),
        *((user, "call", F15) for user in USERS[:2]),
        *((user, "call", F29) for user in USERS),
    ]
    with caplog.at_level(logging.INFO):
        outcome = world.load(F29, actions)
    assert outcome.figures["actions"] == {
        "2024-01-31": told(18, 15),
        "2024-02-15": told(2, 0, waiting=True),
        "2024-02-29": told(30, 30),
    }
    said = [(record.levelname, record.message) for record in caplog.records if record.message.startswith("actions of")]
    assert said == [
        ("WARNING", "actions of 2024-01-31: 18 came, 15 matched"),
        ("WARNING", "actions of 2024-02-15: 2 came; they wait: it has no snapshot"),
        ("INFO", "actions of 2024-02-29: 30 came, 30 matched"),
    ]


def test_actions_of_a_date_none_of_which_matches_are_refused_and_nothing_is_loaded(world):
    world.take_in(D31, None)
    lower = world.write(F29, [(user.lower(), "call", D31) for user in USERS], OTHERS)
    accept(lower)
    accepted = validate(lower, world.url, world.archive)
    before = dump(world.url)
    with pytest.raises(DropRejected) as error:
        load(accepted, world.url, world.archive)
    assert str(error.value).splitlines() == [
        "drop 2024-02-29 rejected, nothing of it is loaded:",
        "actions.csv, column user_id: '30 actions of 2024-01-31': expected ids of that date's snapshot: none matches",
    ]
    assert dump(world.url) == before


def test_a_snapshot_says_that_the_actions_that_waited_for_it_match_none_of_its_customers(world, caplog):
    world.take_in(F29, [(user, "call", D31) for user in OTHERS])
    drop = world.write(D31, None)
    load(validate(drop, world.url, world.archive), world.url, world.archive)
    outcome = build_snapshots(D31, world.url)
    warning = "none of the 30 actions that later drops brought for 2024-01-31 matches a customer"
    assert outcome.reason == f"30 customers at 2024-01-31; {warning}"
    assert warning in caplog.text


def test_a_loaded_revision_is_reloaded_whether_or_not_its_actions_match(world, monkeypatch):
    drop = world.write(F29, [(user, "call", D31) for user in USERS], OTHERS)
    accepted = validate(drop, world.url, world.archive)
    load(accepted, world.url, world.archive)
    world.take_in(D31, None, OTHERS)
    monkeypatch.setattr(loading, "step_digest", lambda step: "other code")
    again = load(accepted, world.url, world.archive)
    assert (again.outcome, again.figures["actions"]) == (DONE, {"2024-01-31": told(30, 0)})


def test_raw_holds_the_actions_of_the_file_and_the_revision_their_number(world):
    drop = world.write(
        F29, [("0000-ABCDE", "Anruf, 2. Versuch", D31), ("gone", "e-mail", D31), (USERS[1], "call", F29)]
    )
    write_manifest(drop)
    load(validate(drop, world.url, world.archive), world.url, world.archive)
    assert world.fetch("SELECT * FROM raw.actions ORDER BY action_as_of, user_id") == [
        (F29, D31, "0000-ABCDE", "Anruf, 2. Versuch"),
        (F29, D31, "gone", "e-mail"),
        (F29, F29, "0001-ABCDE", "call"),
    ]
    assert world.fetch("SELECT files -> 'actions.csv' -> 'rows' FROM raw.drops") == [(3,)]


def test_actions_that_come_for_a_loaded_drop_are_its_next_revision(world, monkeypatch):
    monkeypatch.setattr("churn.drops.watch.QUIET_SECONDS", -1)
    world.take_in(D31, None)
    assert find_pending(world.landing, world.url) == []
    path = Drop(D31, world.landing / "2024-01-31").path / "actions.csv"
    path.write_text(f"user_id,action\n{USERS[0]},call\n", encoding="utf-8")
    assert [(each.as_of, each.revision) for each in find_pending(world.landing, world.url)] == [(D31, 2)]


# --- what is known of a date -------------------------------------------------------------------------------------


def test_at_an_as_of_the_actions_of_a_date_are_those_of_all_drops_up_to_it(world):
    world.take_in(D31, [("0000-ABCDE", "call")])
    world.take_in(F29, [("0000-ABCDE", "call", D31), ("0000-ABCDE", "e-mail", D31), ("gone", "call", D31)])
    world.take_in(M31, [("0001-ABCDE", "call", D31), ("0001-ABCDE", "call", M31)])
    assert world.contacted(D31, D31) == {"0000-ABCDE": ["call"]}
    second = {"0000-ABCDE": ["call", "e-mail"], "gone": ["call"]}
    assert world.contacted(D31, F29) == second
    assert world.contacted(D31, M31) == second | {"0001-ABCDE": ["call"]}


def test_a_date_without_an_action_is_not_known_and_a_file_without_rows_tells_nothing(world):
    world.take_in(D31, [])
    world.take_in(F29, [("0000-ABCDE", "call")])
    assert world.contacted(D31, M31) == {}
    assert world.contacted(F29, D31) == {}
    assert world.contacted(F29, F29) == {"0000-ABCDE": ["call"]}


def test_a_corrected_drop_replaces_the_actions_that_it_delivered_and_no_others(world):
    world.take_in(D31, [("0000-ABCDE", "call"), ("0001-ABCDE", "call")])
    world.take_in(F29, [("0002-ABCDE", "call", D31)])
    world.take_in(D31, [("0001-ABCDE", "e-mail")])
    assert world.contacted(D31, F29) == {"0001-ABCDE": ["e-mail"], "0002-ABCDE": ["call"]}
    world.take_in(D31, None)
    assert world.contacted(D31, F29) == {"0002-ABCDE": ["call"]}


def test_a_withdrawal_removes_the_actions_that_the_drop_delivered(world):
    world.take_in(D31, [("0000-ABCDE", "call")])
    world.take_in(F29, [("0001-ABCDE", "call", D31), ("0001-ABCDE", "call", F29)])
    outcome = withdraw(F29, "ada", "a test wants it so", world.url)
    assert [outcome.figures["rows"][f"{table}"] for table in ("raw.actions", "snapshots.actions_snapshots")] == [2, 2]
    assert world.contacted(D31, M31) == {"0000-ABCDE": ["call"]}
    assert world.contacted(F29, M31) == {}


def test_the_actions_of_a_date_do_not_depend_on_the_order_of_loading(world):
    accepted = [
        validate(world.write(as_of, actions), world.url, world.archive)
        for as_of, actions in (
            (D31, [("0000-ABCDE", "call")]),
            (F29, [("0000-ABCDE", "e-mail", D31)]),
            (M31, [("0001-ABCDE", "call", D31), ("0000-ABCDE", "call", D31)]),
        )
    ]
    for order in permutations(accepted):
        for drop in order:
            withdraw(drop.as_of, "ada", "to load it in another order", world.url)
        for drop in order:
            load(validated_now(drop), world.url, world.archive)
            build_snapshots(drop.as_of, world.url)
        assert world.contacted(D31, F29) == {"0000-ABCDE": ["call", "e-mail"]}
        assert world.contacted(D31, M31) == {"0000-ABCDE": ["call", "e-mail"], "0001-ABCDE": ["call"]}
