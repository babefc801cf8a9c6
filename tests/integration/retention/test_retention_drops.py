"""Retention deletes old drops and snapshots. Afterwards the system answers as before, or refuses."""

import shutil
from datetime import UTC, date, datetime, timedelta

import pytest
from psycopg.conninfo import conninfo_to_dict

from churn.as_of import event_timestamp
from churn.drops import watch
from churn.drops.landing import find_drop
from churn.drops.loading import load
from churn.drops.snapshots import NotLoaded, build_snapshots
from churn.drops.validation import validate
from churn.drops.watch import find_pending
from churn.features.materialization import NoSnapshot, materialize
from churn.features.store import FEATURE_SERVICES, apply_definitions
from churn.outcome import DONE, UNCHANGED
from churn.postgres.database import connect
from churn.retention.drops import expire_raw, expire_snapshots
from churn.training.sources import LABELLED_DATES, drops_of
from churn.training.train import Expired
from churn.training.training_set import build_training_set
from tests.conftest import close_connections, database_copy
from tests.database_dump import dump, dump_of_drops
from tests.handmade_drops import take_in, write_drop
from tests.opened_store import opened_store

FIRST = date(2024, 1, 31)
DATES = [FIRST + timedelta(days=30 * number) for number in range(LABELLED_DATES + 3)]
"""Three more than a training set has."""

OLD, KEPT = DATES[:3], DATES[3:]
USERS = ["a", "b", "c", "d"]
LABELS = [("a", True), ("b", False), ("c", True), ("d", False)]
ACTIONS = [("a", "call"), ("a", "e-mail")]
ALL = 1
"""Days after which everything is old: the dates are of 2024."""

both = pytest.mark.parametrize("expire", [expire_raw, expire_snapshots], ids=["raw", "snapshots"])


@pytest.fixture
def landing(tmp_path, monkeypatch):
    monkeypatch.setattr(watch, "QUIET_SECONDS", -1)
    return tmp_path / "landing"


@pytest.fixture(scope="module")
def nine_dates(shared_database_url, postgres_url, tmp_path_factory):
    """Nine labelled dates with the newest served, to copy for tests."""
    home = tmp_path_factory.mktemp("nine")
    for as_of in DATES:
        take_in(write_drop(home / "landing", as_of, USERS, LABELS, ACTIONS), shared_database_url, home / "archive")
    apply_definitions(shared_database_url)
    materialize(DATES[-1], shared_database_url)
    days_pass(shared_database_url)
    name = conninfo_to_dict(shared_database_url)["dbname"]
    close_connections(postgres_url("postgres"), name)
    return name, home


@pytest.fixture
def filled(nine_dates, postgres_url, landing, archive):
    name, home = nine_dates
    for directory in (landing, archive):
        shutil.copytree(home / directory.name, directory)
    with database_copy(postgres_url, name) as url:
        yield url


def days_pass(database_url):
    """Make the work of the chains three days older."""
    with connect(database_url) as connection:
        connection.execute("UPDATE raw.revisions SET validated_at = validated_at - interval '3 days'")
        connection.execute("UPDATE snapshots.builds SET built_at = built_at - interval '3 days'")


def held(database_url, table):
    """Return the AS_OFs with rows in the table, and their number."""
    with connect(database_url) as connection:
        return dict(connection.execute(f"SELECT as_of, count(*) FROM {table} GROUP BY as_of").fetchall())


def raw(database_url):
    return held(database_url, "raw.users")


def snapshots(database_url):
    return held(database_url, "snapshots.subscriptions_profile_snapshots")


def rows_of(dumped):
    """Count the rows of raw and snapshots, without counting partitions twice."""
    return sum(rows.count(b"\n") for (_, table), rows in dumped.items() if table[-8:-5] == "_20")


def planned(database_url):
    with connect(database_url) as connection:
        return drops_of(connection, DATES)


def train_on(database_url, as_of):
    with opened_store(database_url) as store:
        return build_training_set(store, FEATURE_SERVICES, as_of, database_url)


def run_again(database_url, landing, archive, as_of):
    """Run the tasks of churn_snapshot; return the outcomes of load and snapshot."""
    accepted = validate(find_drop(landing, as_of), database_url, archive)
    return load(accepted, database_url, archive).outcome, build_snapshots(as_of, database_url).outcome


# --- what goes and what stays ------------------------------------------------------------------------------------


def test_retention_keeps_the_newest_training_set_and_deletes_older_dates(filled):
    assert expire_raw(ALL, filled).figures["dates"] == [str(each) for each in OLD]
    assert expire_snapshots(ALL, filled).figures["dates"] == [str(each) for each in OLD]
    assert sorted(raw(filled)) == sorted(snapshots(filled)) == KEPT
    assert held(filled, "raw.actions") == held(filled, "snapshots.actions_snapshots") == dict.fromkeys(KEPT, 2)


@both
def test_a_date_is_kept_for_its_retention_period(expire, filled):
    days = (datetime.now(UTC).date() - DATES[1]).days
    assert expire(days, filled).figures["dates"] == [str(DATES[0])]
    assert expire(days - 1, filled).figures["dates"] == [str(DATES[1])]


@both
def test_without_a_retention_period_nothing_is_deleted(expire, filled):
    before = dump(filled)
    assert expire(None, filled).outcome == UNCHANGED
    assert dump(filled) == before


@both
def test_with_too_few_labelled_dates_nothing_is_deleted(expire, database_url, landing, archive):
    take_in(write_drop(landing, FIRST, USERS), database_url, archive)
    for as_of in DATES[1:LABELLED_DATES]:
        take_in(write_drop(landing, as_of, USERS, LABELS), database_url, archive)
    days_pass(database_url)
    assert expire(ALL, database_url).figures["dates"] == []


@both
def test_an_empty_database_is_left_unchanged(expire, database_url):
    assert expire(ALL, database_url).outcome == UNCHANGED


def test_the_served_date_is_kept_although_no_training_needs_it(database_url, landing, archive):
    for as_of in DATES:
        take_in(write_drop(landing, as_of, USERS, LABELS), database_url, archive)
        if as_of == DATES[1]:
            apply_definitions(database_url)
            materialize(as_of, database_url)
    days_pass(database_url)
    assert expire_snapshots(ALL, database_url).figures["dates"] == [str(DATES[0])]


def test_a_drop_with_labels_of_the_training_set_is_kept(database_url, landing, archive):
    late = [(user, label, DATES[1]) for user, label in LABELS]
    take_in(write_drop(landing, DATES[0], USERS, LABELS), database_url, archive)
    take_in(write_drop(landing, DATES[1], USERS), database_url, archive)
    take_in(write_drop(landing, DATES[2], USERS, late), database_url, archive)
    for as_of in DATES[3 : 2 + LABELLED_DATES]:
        take_in(write_drop(landing, as_of, USERS, LABELS), database_url, archive)
    days_pass(database_url)
    assert expire_snapshots(ALL, database_url).figures["dates"] == [str(DATES[0])]


@both
def test_a_reloaded_date_is_kept_for_two_days(expire, filled, landing, archive):
    expire_all(filled)
    run_again(filled, landing, archive, FIRST)
    assert expire(ALL, filled).figures["dates"] == []


@both
def test_a_date_just_found_unchanged_is_kept_for_two_days(expire, filled, landing, archive):
    assert run_again(filled, landing, archive, FIRST) == (UNCHANGED, UNCHANGED)
    assert expire(ALL, filled).figures["dates"] == [str(each) for each in OLD[1:]]


@both
def test_a_dry_run_reports_exact_rows_and_bytes_and_changes_nothing(expire, filled):
    before = dump(filled)
    tried = expire(ALL, filled, dry_run=True)
    assert dump(filled) == before
    assert tried.outcome == UNCHANGED
    done = expire(ALL, filled)
    assert done.outcome == DONE
    assert dict(done.figures) == dict(tried.figures)
    of_customers = len(USERS) * (6 if expire is expire_raw else 5)
    assert done.figures["rows"] == len(OLD) * (of_customers + len(ACTIONS))
    assert rows_of(before) - rows_of(dump(filled)) == done.figures["rows"]


@both
def test_a_second_run_deletes_nothing(expire, filled):
    expire(ALL, filled)
    before = dump(filled)
    assert expire(ALL, filled).outcome == UNCHANGED
    assert dump(filled) == before


@both
def test_a_retention_period_below_one_day_is_refused(expire, database_url):
    with pytest.raises(ValueError, match="1 day or more, not for 0"):
        expire(0, database_url)


# --- nothing depends on it ---------------------------------------------------------------------------------------


def expire_all(database_url):
    expire_raw(ALL, database_url)
    expire_snapshots(ALL, database_url)


def test_landing_does_not_load_again_what_retention_removed(filled, landing):
    expire_all(filled)
    assert find_pending(landing, filled) == []


def test_landing_sees_a_correction_of_what_retention_removed(filled, landing):
    expire_all(filled)
    write_drop(landing, FIRST, USERS[:2], LABELS[:2])
    assert [(drop.as_of, drop.revision) for drop in find_pending(landing, filled)] == [(FIRST, 2)]


def test_the_training_set_of_the_newest_date_is_the_same_to_the_bit(filled):
    before = train_on(filled, DATES[-1]).digest
    expire_all(filled)
    assert train_on(filled, DATES[-1]).digest == before


def test_a_training_that_needs_what_was_removed_is_refused_and_names_it(filled):
    expire_all(filled)
    with pytest.raises(Expired, match=rf"includes {OLD[2]}, .*make backfill FROM={OLD[2]} TO={OLD[2]};"):
        train_on(filled, DATES[-2])


def test_no_version_is_superseded_by_retention(filled):
    before = planned(filled)
    expire_all(filled)
    assert planned(filled) == before


def test_a_rerun_restores_a_date_and_its_training(filled, landing, archive):
    rows, digest = dump_of_drops(filled), train_on(filled, DATES[-2]).digest
    expire_all(filled)
    for as_of in OLD:
        assert run_again(filled, landing, archive, as_of) == (DONE, DONE)
    assert dump_of_drops(filled) == rows
    assert train_on(filled, DATES[-2]).digest == digest


def test_a_reloaded_date_is_deleted_again_later(filled, landing, archive):
    expire_all(filled)
    run_again(filled, landing, archive, FIRST)
    days_pass(filled)
    assert expire_raw(ALL, filled).figures["dates"] == [str(FIRST)]
    assert expire_snapshots(ALL, filled).figures["dates"] == [str(FIRST)]


def test_a_training_is_refused_while_some_of_its_dates_are_deleted(filled, landing, archive):
    expire_all(filled)
    run_again(filled, landing, archive, OLD[1])
    with pytest.raises(Expired, match=f"includes {OLD[0]}, {OLD[2]}, which"):
        train_on(filled, DATES[LABELLED_DATES - 1])


def test_labels_of_another_deleted_drop_count_as_deleted(database_url, landing, archive):
    late = [(user, label, DATES[0]) for user, label in LABELS]
    take_in(write_drop(landing, DATES[0], USERS), database_url, archive)
    take_in(write_drop(landing, DATES[1], USERS, late), database_url, archive)
    for as_of in DATES[2:]:
        take_in(write_drop(landing, as_of, USERS, LABELS), database_url, archive)
    apply_definitions(database_url)
    days_pass(database_url)
    before = planned(database_url)
    expire_all(database_url)
    run_again(database_url, landing, archive, DATES[0])
    assert planned(database_url) == before
    with pytest.raises(Expired, match=f"includes {DATES[1]}, which"):
        train_on(database_url, DATES[1])


def test_snapshots_are_never_built_of_a_drop_whose_rows_were_removed(filled):
    expire_all(filled)
    with pytest.raises(NotLoaded, match=f"retention removed the drop of {FIRST}"):
        build_snapshots(FIRST, filled)


def test_existing_snapshots_are_unchanged_after_their_drop_is_deleted(filled):
    expire_raw(ALL, filled)
    assert build_snapshots(FIRST, filled).outcome == UNCHANGED


def test_a_deleted_date_is_not_served(filled):
    expire_all(filled)
    with connect(filled) as connection:
        connection.execute("DELETE FROM online.served")
    with pytest.raises(NoSnapshot):
        materialize(FIRST, filled)


def test_a_date_is_removed_whole_or_not_at_all(filled):
    """Work on a date holds its lock, so retention waits, and a reader sees all or nothing."""
    with connect(filled) as reader:
        reader.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        counts = "SELECT count(*) FROM snapshots.{}_snapshots WHERE event_timestamp = %s"
        at = [event_timestamp(FIRST)]
        assert reader.execute(counts.format("usage_agg_30d"), at).fetchone() == (len(USERS),)
        expire_all(filled)
        assert reader.execute(counts.format("support_agg_90d"), at).fetchone() == (len(USERS),)


def test_the_archive_and_the_landing_directory_are_left_alone(filled, landing, archive):
    there = sorted(path for each in (landing, archive) for path in each.rglob("*"))
    expire_all(filled)
    assert sorted(path for each in (landing, archive) for path in each.rglob("*")) == there
    shutil.rmtree(landing)
    assert find_pending(landing, filled) == []
