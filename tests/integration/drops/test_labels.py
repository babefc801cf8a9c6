"""The report on a drop's labels, and the labels that are refused."""

import logging
from datetime import date

import pytest

from churn.drops import loading
from churn.drops.loading import load
from churn.drops.validation import validate
from churn.drops.violations import DropRejected
from churn.outcome import DONE
from churn.postgres.database import connect
from churn.training.sources import labelled_dates
from tests.database_dump import dump
from tests.handmade_drops import accept, take_in, validated_now, write_drop

pytestmark = pytest.mark.usefixtures("labels_of_a_day")

D31, F15, F29, M31 = date(2024, 1, 31), date(2024, 2, 15), date(2024, 2, 29), date(2024, 3, 31)
USERS = [f"{number:04d}-ABCDE" for number in range(30)]
OTHERS = [f"{number:04d}-OTHER" for number in range(30)]


@pytest.fixture
def january(landing, database_url, archive):
    take_in(write_drop(landing, D31, USERS, [(user, False) for user in USERS]), database_url, archive)


def arrive(landing, as_of, users, labels, database_url, archive):
    return load(validate(write_drop(landing, as_of, users, labels), database_url, archive), database_url, archive)


def told(came, matched, changed, *, waiting=False):
    return {"came": came, "matched": matched, "changed": changed, "waiting": waiting}


def test_labels_of_the_drops_own_date_all_match(landing, database_url, archive):
    outcome = arrive(landing, D31, USERS, [(user, True) for user in USERS[:20]], database_url, archive)
    assert outcome.figures["labels"] == {"2024-01-31": told(20, 20, 0)}


def test_without_labels_the_report_is_empty(landing, database_url, archive):
    assert arrive(landing, D31, USERS, None, database_url, archive).figures["labels"] == {}
    assert arrive(landing, F29, USERS, [], database_url, archive).figures["labels"] == {}


def test_the_report_counts_delivered_matched_and_changed_labels_by_date(
    january, landing, database_url, archive, caplog
):
    labels = [
        *((user, True, D31) for user in USERS[:10]),
        *((user, False, D31) for user in USERS[10:25]),
        *((f"stranger-{number}", True, D31) for number in range(3)),
        *((user, True, F29) for user in USERS),
    ]
    with caplog.at_level(logging.INFO):
        outcome = arrive(landing, F29, USERS, labels, database_url, archive)
    assert outcome.figures["labels"] == {"2024-01-31": told(28, 25, 10), "2024-02-29": told(30, 30, 0)}
    said = [(record.levelname, record.message) for record in caplog.records if record.message.startswith("labels of")]
    assert said == [
        ("WARNING", "labels of 2024-01-31: 28 came, 25 matched, 10 changed"),
        ("INFO", "labels of 2024-02-29: 30 came, 30 matched, 0 changed"),
    ]


def test_a_label_is_changed_where_it_differs_from_the_newest_drop_before_and_not_from_its_own_revision_before(
    january, landing, database_url, archive
):
    for as_of in (F15, F29):
        take_in(write_drop(landing, as_of, USERS, [(user, True, D31) for user in USERS[:6]]), database_url, archive)
    mixed = [(user, number < 2, D31) for number, user in enumerate(USERS[:6])]
    assert arrive(landing, F29, USERS, mixed, database_url, archive).figures["labels"] == {"2024-01-31": told(6, 6, 4)}


def test_labels_of_a_date_none_of_which_matches_are_refused_and_nothing_is_loaded(
    january, landing, database_url, archive
):
    lower = write_drop(landing, F29, OTHERS, [(user.lower(), True, D31) for user in USERS])
    accept(lower)
    accepted = validate(lower, database_url, archive)
    before = dump(database_url)
    with pytest.raises(DropRejected) as error:
        load(accepted, database_url, archive)
    assert str(error.value).splitlines() == [
        "drop 2024-02-29 rejected, nothing of it is loaded:",
        "labels.csv, column user_id: '30 labels of 2024-01-31': expected ids of that date's snapshot: none matches",
    ]
    assert dump(database_url) == before


def test_labels_of_a_date_without_a_snapshot_are_kept_wait_and_are_learned_from_once_it_is_there(
    landing, database_url, archive, caplog
):
    drop = write_drop(landing, F29, USERS, [(user, True, D31) for user in USERS])
    outcome = load(validate(drop, database_url, archive), database_url, archive)
    assert outcome.figures["labels"] == {"2024-01-31": told(30, 0, 0, waiting=True)}
    assert "labels of 2024-01-31: 30 came, 0 changed; they wait: it has no snapshot" in caplog.text
    take_in(drop, database_url, archive)
    with connect(database_url) as connection:
        assert labelled_dates(connection, F29) == []
    take_in(write_drop(landing, D31, USERS), database_url, archive)
    with connect(database_url) as connection:
        assert labelled_dates(connection, F29) == [D31]
    later = arrive(landing, M31, USERS, [(user, True, D31) for user in USERS], database_url, archive)
    assert later.figures["labels"] == {"2024-01-31": told(30, 30, 0)}


def test_labels_of_a_date_whose_snapshot_retention_removed_wait(january, landing, database_url, archive):
    with connect(database_url) as connection:
        connection.execute("DELETE FROM snapshots.subscriptions_profile_snapshots")
        connection.execute("UPDATE snapshots.builds SET expired_at = now()")
    outcome = arrive(landing, F29, USERS, [(user, True, D31) for user in USERS], database_url, archive)
    assert outcome.figures["labels"]["2024-01-31"]["waiting"]


def test_a_loaded_revision_is_reloaded_whether_or_not_its_labels_match(landing, database_url, archive, monkeypatch):
    drop = write_drop(landing, F29, OTHERS, [(user, True, D31) for user in USERS])
    accepted = validate(drop, database_url, archive)
    load(accepted, database_url, archive)
    take_in(write_drop(landing, D31, OTHERS), database_url, archive)
    monkeypatch.setattr(loading, "step_digest", lambda step: "other code")
    assert load(accepted, database_url, archive).outcome == DONE
    arrive(landing, F29, OTHERS, None, database_url, archive)
    again = load(validated_now(accepted), database_url, archive)
    assert again.figures == {
        "revision": 3,
        "rows": {name: 30 for name in accepted.files},
        "labels": {"2024-01-31": told(30, 0, 0)},
        "actions": {},
    }


def test_a_reproduction_loads_a_revision_loaded_elsewhere(january, landing, database_url, archive):
    drop = write_drop(landing, F29, OTHERS, [("unknown", True, D31)])
    accept(drop)
    accepted = validate(drop, database_url, archive)
    assert load(accepted, database_url, archive, loaded_before=True).outcome == DONE
