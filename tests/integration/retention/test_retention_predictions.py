"""Retention drops old predictions by monthly partitions, without blocking writers."""

import threading
from datetime import UTC, date, datetime, timedelta

import psycopg
import pytest

from churn.outcome import DONE, UNCHANGED
from churn.postgres.database import connect
from churn.postgres.partitions import month
from churn.retention.predictions import expire_predictions
from tests.database_dump import dump

ANSWERED = "predictions.answered"
DAYS = 365


@pytest.fixture
def now(database_url):
    """The server's clock."""
    with connect(database_url) as connection:
        return connection.execute("SELECT now()").fetchone()[0].astimezone(UTC)


def make_month(database_url, day):
    """Create the partition of the month of `day`, as in advance, and return its name."""
    with connect(database_url) as connection, month(connection, ANSWERED, date(day.year, day.month, 1)):
        return name_of(day)


def name_of(day):
    return f"answered_{day:%Y_%m}"


def answer(database_url, *instants):
    with connect(database_url) as connection:
        for at in instants:
            values = (at, "request", "user", 0.25, 0, 0.5, 1, date(2024, 1, 31), "{}")
            connection.execute(f"INSERT INTO {ANSWERED} VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)", values)


def instants(database_url):
    with connect(database_url) as connection:
        return {at for (at,) in connection.execute(f"SELECT answered_at FROM {ANSWERED}")}


def tables(database_url):
    """Return the names of the log's partitions."""
    with connect(database_url) as connection:
        found = connection.execute(
            "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = %s::regclass", [ANSWERED]
        )
        return {name.removeprefix("predictions.") for (name,) in found}


def first_of_month(day, months=0):
    """Return the first day of the month that is `months` after that of `day`."""
    index = day.year * 12 + day.month - 1 + months
    return date(index // 12, index % 12 + 1, 1)


# --- what goes ---------------------------------------------------------------------------------------------------


def test_a_month_of_predictions_is_dropped_and_later_ones_are_kept(database_url, now):
    ages = [timedelta(days=DAYS + age) for age in (200, 100, -100)]
    *old, young = [make_month(database_url, now - age) for age in ages]
    answer(database_url, *[now - age for age in ages], now)
    done = expire_predictions(DAYS, database_url)
    assert (done.outcome, done.figures["months"], done.figures["busy"]) == (DONE, sorted(old), [])
    assert done.figures["bytes"] > 0
    assert instants(database_url) == {now - ages[2], now}
    assert tables(database_url) & {*old, young} == {young}


@pytest.mark.parametrize(
    ("later", "stays"), [(0, False), (1, True)], ids=["all of it is too old", "its last day is not"]
)
def test_a_month_is_kept_while_any_of_its_days_must_be(database_url, now, later, stays):
    end = first_of_month(now, -2)
    name = make_month(database_url, end - timedelta(days=1))
    expire_predictions((now.date() - end).days + later, database_url)
    assert (name in tables(database_url)) == stays


def test_predictions_in_the_default_partition_are_deleted_by_day(database_url, now):
    ages = [timedelta(days=DAYS + age) for age in (100, 1, -1, -100)]
    answer(database_url, *[now - age for age in ages])
    done = expire_predictions(DAYS, database_url)
    assert (done.outcome, done.figures["others"]) == (DONE, 2)
    assert instants(database_url) == {now - ages[2], now - ages[3]}


def test_without_old_predictions_nothing_changes(database_url, now):
    answer(database_url, now)
    before = dump(database_url)
    done = expire_predictions(DAYS, database_url)
    assert (done.outcome, done.figures["months"], done.figures["others"]) == (UNCHANGED, [], 0)
    assert dump(database_url) == before


def test_a_second_run_deletes_nothing(database_url, now):
    make_month(database_url, now - timedelta(days=DAYS + 100))
    assert expire_predictions(DAYS, database_url).outcome == DONE
    assert expire_predictions(DAYS, database_url).outcome == UNCHANGED


def test_a_dry_run_reports_the_deletions_and_changes_nothing(database_url, now):
    old = make_month(database_url, now - timedelta(days=DAYS + 200))
    answer(database_url, now - timedelta(days=DAYS + 200), now - timedelta(days=DAYS + 100))
    before = dump(database_url)
    tried = expire_predictions(DAYS, database_url, dry_run=True)
    assert dump(database_url) == before
    assert (tried.outcome, tried.figures["months"], tried.figures["others"]) == (UNCHANGED, [old], 1)
    assert tried.reason.startswith("would drop 1 months of answers and 1 others from before")
    done = expire_predictions(DAYS, database_url)
    assert (done.figures["months"], done.figures["others"]) == ([old], 1)


def test_a_retention_period_below_one_day_is_refused(database_url):
    with pytest.raises(ValueError, match="1 day or more, not for 0"):
        expire_predictions(0, database_url)


# --- what comes --------------------------------------------------------------------------------------------------


def coming(now):
    return {name_of(first_of_month(now, ahead)) for ahead in range(3)}


def test_a_migrated_database_has_this_month_and_the_next_two(database_url, now):
    assert tables(database_url) == {*coming(now), "answered_any_month"}


def test_partitions_of_coming_months_are_created(database_url, now):
    with connect(database_url) as connection:
        for name in coming(now):
            connection.execute(f"DROP TABLE predictions.{name}")
    expire_predictions(DAYS, database_url)
    assert tables(database_url) == {*coming(now), "answered_any_month"}
    with connect(database_url) as connection:
        indexes = "SELECT count(*) FROM pg_indexes WHERE schemaname = 'predictions' AND tablename = %s"
        assert [connection.execute(indexes, [name]).fetchone() for name in coming(now)] == [(1,)] * 3


def test_a_month_with_rows_in_the_default_partition_gets_no_partition(database_url, now):
    with connect(database_url) as connection:
        for name in coming(now):
            connection.execute(f"DROP TABLE predictions.{name}")
    answer(database_url, now)
    expire_predictions(DAYS, database_url)
    assert tables(database_url) == {*coming(now), "answered_any_month"} - {name_of(now)}
    assert instants(database_url) == {now}


# --- nobody waits ------------------------------------------------------------------------------------------------


def test_a_month_with_a_long_reader_is_left_to_the_next_run_without_blocking_writers(database_url, now):
    old = make_month(database_url, now - timedelta(days=DAYS + 100))
    with connect(database_url) as reader:
        reader.execute(f"SELECT FROM {ANSWERED}")
        done = expire_predictions(DAYS, database_url)
        answer(database_url, now)
    assert (done.outcome, done.figures["months"], done.figures["busy"]) == (UNCHANGED, [], [old])
    assert "1 more are read for long: the next run drops them" in done.reason
    assert expire_predictions(DAYS, database_url).figures["months"] == [old]
    assert instants(database_url) == {now}


def test_retention_never_blocks_writers_for_a_second(database_url, now):
    for age in range(100, 1000, 100):
        make_month(database_url, now - timedelta(days=DAYS + age))
    ended, written = threading.Event(), []

    def write():
        with psycopg.connect(database_url, autocommit=True, options="-c lock_timeout=1s") as connection:
            while not ended.is_set():
                at = datetime.now(UTC)
                values = (at, "request", "user", 0.25, 0, 0.5, 1, date(2024, 1, 31), "{}")
                connection.execute(f"INSERT INTO {ANSWERED} VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)", values)
                written.append(at)

    failures = []

    def tried():
        try:
            write()
        except psycopg.Error as error:
            failures.append(error)

    writers = [threading.Thread(target=tried) for _ in range(3)]
    for writer in writers:
        writer.start()
    try:
        # A month that somebody happened to write to is the next run's.
        while expire_predictions(DAYS, database_url).outcome == DONE:
            pass
    finally:
        ended.set()
        for writer in writers:
            writer.join()
    assert failures == []
    assert expire_predictions(DAYS, database_url).figures["busy"] == []
    assert instants(database_url) == set(written)
