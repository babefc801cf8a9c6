"""snapshots.* holds each loaded drop by (user_id, as_of), independent of the order of events."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from itertools import permutations

import pytest
from psycopg import IsolationLevel, sql

from churn.drops import snapshots
from churn.drops.contract import PAYMENTS, SUBSCRIPTIONS, SUPPORT, USAGE, USERS
from churn.drops.landing import Drop, find_drop
from churn.drops.loading import load
from churn.drops.snapshots import ACTIONS_TABLE, FEATURE_TABLES, LABELS_TABLE, NotLoaded, build_snapshots
from churn.drops.validation import validate
from churn.outcome import DONE, UNCHANGED
from churn.postgres.database import connect
from churn.synthetic.generate import write_drops
from tests.database_dump import dump, dump_of_drops
from tests.handmade_drops import read_values, take_in, validated_now, write_drop

D31, F29, M31 = date(2024, 1, 31), date(2024, 2, 29), date(2024, 3, 31)
CUSTOMERS = [f"{number:04d}" for number in range(60)]
SOURCES = dict(zip(FEATURE_TABLES, ((SUBSCRIPTIONS, USERS), (USAGE,), (PAYMENTS,), (SUPPORT,)), strict=True))


def with_months(landing, months, as_of=D31):
    values = {"months_active": str(months), "skips_7d": str(months)}
    return write_drop(landing, as_of, {user: values for user in CUSTOMERS}, [(user, months == 1) for user in CUSTOMERS])


def rows_of(database_url, table, as_of):
    with connect(database_url) as connection:
        query = sql.SQL("SELECT * FROM {} WHERE as_of = %s ORDER BY user_id").format(sql.Identifier("snapshots", table))
        cursor = connection.execute(query, [as_of])
        names = [column.name for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor]


def labels_of(database_url):
    with connect(database_url) as connection:
        query = "SELECT as_of, drop_as_of, user_id, churn_label FROM snapshots.labels_snapshots"
        return set(connection.execute(query).fetchall())


def label_dates(database_url):
    with connect(database_url) as connection:
        return dict(connection.execute("SELECT as_of, label_dates FROM snapshots.builds").fetchall())


def expected_rows(drop, table, event_timestamp):
    """Return the rows of the CSV files, joined by customer."""
    files = [{row["user_id"]: row for row in read_values(drop, file)} for file in SOURCES[table]]
    rows = [
        {"as_of": drop.as_of, "event_timestamp": event_timestamp}
        | {k: v for file in files for k, v in file[user].items()}
        for user in sorted(files[0])
    ]
    return rows


@pytest.mark.parametrize("table", FEATURE_TABLES)
@pytest.mark.parametrize("zone", ["UTC", "Pacific/Auckland"])
def test_a_snapshot_holds_the_values_of_the_files_from_the_next_midnight_in_utc_on(
    table, zone, landing, archive, database_url
):
    with connect(database_url) as connection:
        database = sql.Identifier(connection.info.dbname)
        connection.execute(sql.SQL("ALTER DATABASE {} SET timezone TO {}").format(database, sql.Literal(zone)))
    write_drops(landing, customers=100, months=1, seed=3, start=D31)
    drop = find_drop(landing, D31)
    take_in(drop, database_url, archive)
    expected = expected_rows(drop, table, datetime(2024, 2, 1, tzinfo=UTC))
    assert rows_of(database_url, table, D31) == expected


def test_the_outcome_says_how_many_rows_each_table_has(landing, archive, database_url):
    drop = write_drop(landing, D31, CUSTOMERS, [("0001", True), ("0002", True)], [("0001", "call")])
    load(validate(drop, database_url, archive), database_url, archive)
    outcome = build_snapshots(D31, database_url)
    assert outcome.outcome == DONE
    assert outcome.figures == {**dict.fromkeys(FEATURE_TABLES, 60), LABELS_TABLE: 2, ACTIONS_TABLE: 1}


def test_a_build_says_which_dates_its_drop_labels(landing, archive, database_url):
    take_in(write_drop(landing, D31, ["a"]), database_url, archive)
    late = [("a", True, M31), ("a", False, D31), ("b", False, D31), ("b", False, date(2024, 1, 15))]
    take_in(write_drop(landing, M31, ["a", "b"], late), database_url, archive)
    assert label_dates(database_url) == {D31: [], M31: [date(2024, 1, 15), D31, M31]}
    take_in(write_drop(landing, M31, ["a", "b"], [("a", False)]), database_url, archive)
    assert label_dates(database_url) == {D31: [], M31: [M31]}


def test_the_real_drops_keep_every_row_and_every_null(real_drops, archive, database_url):
    for as_of in (D31, F29):
        drop = Drop(as_of, real_drops / as_of.isoformat())
        load(validate(drop, database_url, archive), database_url, archive)
        assert build_snapshots(as_of, database_url).figures == {
            **dict.fromkeys([*FEATURE_TABLES, LABELS_TABLE], 7043),
            ACTIONS_TABLE: 0,
        }
        profiles = rows_of(database_url, FEATURE_TABLES[0], as_of)
        assert sum(row["plan_stream_tv"] is None for row in profiles) == 1526
        assert all((row["plan_stream_tv"] is None) == (row["net_service"] == "No") for row in profiles)
    customer = next(row for row in rows_of(database_url, FEATURE_TABLES[0], D31) if row["user_id"] == "7892-POOKP")
    assert (customer["months_active"], customer["monthly_fee"]) == (28, 104.8)
    assert customer["net_service"] == "Fiber optic"


def test_a_date_that_is_not_loaded_is_an_error_that_says_so(database_url):
    with pytest.raises(NotLoaded, match="no drop of 2024-01-31 is loaded: run the task load first"):
        build_snapshots(D31, database_url)


# --- repetition and correction -----------------------------------------------------------------------------------


def test_building_again_is_unchanged_and_writes_nothing(landing, archive, database_url):
    take_in(with_months(landing, 1), database_url, archive)
    before = dump(database_url)
    again = build_snapshots(D31, database_url)
    assert (again.outcome, again.figures[LABELS_TABLE]) == (UNCHANGED, 60)
    assert dump(database_url) == before


def test_changed_code_builds_again(landing, archive, database_url, monkeypatch):
    take_in(with_months(landing, 1), database_url, archive)
    before = dump_of_drops(database_url)
    monkeypatch.setattr(snapshots, "step_digest", lambda step: "other code")
    assert build_snapshots(D31, database_url).outcome == DONE
    assert build_snapshots(D31, database_url).outcome == UNCHANGED
    assert dump_of_drops(database_url) == before


def test_a_corrected_drop_replaces_the_snapshots_of_its_date_and_of_no_other(landing, archive, database_url):
    for as_of in (D31, F29):
        take_in(with_months(landing, 1, as_of), database_url, archive)
    february = [rows_of(database_url, table, F29) for table in FEATURE_TABLES]
    corrected = write_drop(landing, D31, {user: {"months_active": "2"} for user in CUSTOMERS[1:]})
    take_in(corrected, database_url, archive)
    for table in FEATURE_TABLES:
        assert [row["user_id"] for row in rows_of(database_url, table, D31)] == CUSTOMERS[1:]
    assert {row["months_active"] for row in rows_of(database_url, FEATURE_TABLES[0], D31)} == {2}
    assert [rows_of(database_url, table, F29) for table in FEATURE_TABLES] == february
    assert {drop_as_of for _, drop_as_of, _, _ in labels_of(database_url)} == {F29}


def test_labels_are_kept_by_date_and_drop_even_for_departed_customers(landing, archive, database_url):
    take_in(write_drop(landing, D31, ["a", "b"], [("a", False), ("b", True)]), database_url, archive)
    late = [("a", True, D31), ("gone", True, D31), ("a", False, F29)]
    take_in(write_drop(landing, F29, ["a", "c"], late), database_url, archive)
    assert labels_of(database_url) == {
        (D31, D31, "a", False),
        (D31, D31, "b", True),
        (D31, F29, "a", True),
        (D31, F29, "gone", True),
        (F29, F29, "a", False),
    }


# --- the law: the drops, and nothing else ------------------------------------------------------------------------


def test_snapshots_do_not_depend_on_order_or_number_of_runs(tmp_path, archive, database_url):
    accepted = []
    for number, as_of in enumerate((D31, F29, M31), 1):
        labels = [(user, True, D31) for user in CUSTOMERS[:number]]
        actions = [(user, f"call {number}", D31) for user in CUSTOMERS[:number]]
        customers = {user: {"months_active": str(number)} for user in CUSTOMERS[: -number or None]}
        drop = write_drop(tmp_path / "landing", as_of, customers, labels, actions)
        accepted.append(validate(drop, database_url, archive))
    wrong = validate(with_months(tmp_path / "wrong", 99), database_url, archive)
    found = []
    for order in permutations(accepted):
        # An order in which a wrong January came before the right one, and every run was repeated.
        for drop in (wrong, *order, *reversed(order)):
            load(validated_now(drop), database_url, archive)
            build_snapshots(drop.as_of, database_url)
        found.append(dump_of_drops(database_url))
    assert found[0]
    assert all(content == found[0] for content in found)


# --- readers at the same time ------------------------------------------------------------------------------------

SEEN = """
    SELECT count(*), min(months_active), max(months_active), min(skips_7d), max(skips_7d),
           count(churn_label) FILTER (WHERE churn_label)
    FROM snapshots.subscriptions_profile_snapshots s
    JOIN snapshots.usage_agg_30d_snapshots u USING (event_timestamp, user_id)
    JOIN snapshots.labels_snapshots l ON l.drop_as_of = s.as_of AND l.user_id = s.user_id
    WHERE event_timestamp = '2024-02-01 00:00+00'
"""
OLD, NEW = (60, 1, 1, 1, 1, 60), (60, 2, 2, 2, 2, 0)


def test_a_repeatable_read_reader_sees_the_old_rows_to_the_end(landing, archive, database_url):
    take_in(with_months(landing, 1), database_url, archive)
    with connect(database_url) as reader:
        reader.isolation_level = IsolationLevel.REPEATABLE_READ
        assert reader.execute(SEEN).fetchone() == OLD
        take_in(with_months(landing, 2), database_url, archive)
        assert reader.execute(SEEN).fetchone() == OLD
        reader.commit()
        assert reader.execute(SEEN).fetchone() == NEW


def test_a_read_committed_reader_sees_the_old_rows_or_the_new_ones(landing, archive, database_url):
    accepted = [validate(with_months(landing, months), database_url, archive) for months in (1, 2)]
    load(accepted[0], database_url, archive)
    build_snapshots(D31, database_url)
    done, seen = threading.Event(), []

    def read():
        with connect(database_url, autocommit=True) as reader:
            while not done.is_set():
                seen.append(reader.execute(SEEN).fetchone())
            seen.append(reader.execute(SEEN).fetchone())

    with ThreadPoolExecutor() as pool:
        readers = [pool.submit(read) for _ in range(2)]
        try:
            for number in range(1, 10):
                load(validated_now(accepted[number % 2]), database_url, archive)
                build_snapshots(D31, database_url)
        finally:
            done.set()
        for reader in readers:
            reader.result()
    assert set(seen) == {OLD, NEW}


def test_a_date_reads_only_the_partition_of_its_month(landing, archive, database_url):
    for as_of in (D31, F29, M31):
        take_in(with_months(landing, 1, as_of), database_url, archive)
    with connect(database_url) as connection:
        for table in FEATURE_TABLES:
            query = sql.SQL("EXPLAIN SELECT * FROM {} WHERE event_timestamp = '2024-03-01 00:00+00'")
            plan = "\n".join(row[0] for row in connection.execute(query.format(sql.Identifier("snapshots", table))))
            assert f"{table}_2024_03" in plan
            assert f"{table}_2024_02" not in plan
            assert f"{table}_2024_04" not in plan
