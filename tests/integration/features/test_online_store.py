"""The online store returns the values of the snapshot, of one AS_OF at a time, and survives dropped connections."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from functools import partial

import psycopg
import pytest
from feast import Entity, FeatureView, Field, ValueType
from feast.infra.offline_stores.contrib.postgres_offline_store.postgres_source import PostgreSQLSource
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.types import Array, Float64, Int64, String
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg_pool import ConnectionPool

from churn.drops.contract import PAYMENTS, SUBSCRIPTIONS, SUPPORT, USAGE
from churn.drops.landing import find_drop
from churn.features import reader as online_reader
from churn.features.column_types import UnsupportedView
from churn.features.lookup import OnlineLookup
from churn.features.materialization import materialize
from churn.features.reader import OnlineReader
from churn.features.store import FEATURE_SERVICE, apply_definitions, read_online
from churn.postgres.database import connect
from churn.synthetic.generate import write_drops
from tests.handmade_drops import read_values, take_in, write_drop
from tests.integration.online_stores import IN_POSTGRES
from tests.opened_store import opened_store

D1, D31 = date(2024, 1, 1), date(2024, 1, 31)
FEATURES = {
    "months_active": int,
    "monthly_fee": float,
    "paperless_billing": bool,
    "plan_stream_tv": bool,
    "plan_stream_movies": bool,
    "net_service": str,
    "contract_type": str,
    "watch_hours_30d": float,
    "avg_session_mins_7d": float,
    "unique_devices_30d": int,
    "skips_7d": int,
    "rebuffer_events_7d": int,
    "failed_payments_90d": int,
    "support_tickets_90d": int,
    "ticket_avg_resolution_hrs_90d": float,
}
"""Those of churn_v2 with their types, written out: the feature service must not be its own witness."""


@pytest.fixture(scope="module")
def drop(tmp_path_factory):
    landing = tmp_path_factory.mktemp("landing")
    write_drops(landing, customers=200, months=1, seed=5, start=D31)
    return find_drop(landing, D31)


@pytest.fixture(scope="module")
def served_url(online_store, shared_database_url, drop, tmp_path_factory):
    """A database with the drop served."""
    take_in(drop, shared_database_url, tmp_path_factory.mktemp("archive"))
    apply_definitions(shared_database_url)
    materialize(D31, shared_database_url)
    return shared_database_url


@pytest.fixture(scope="module")
def store(served_url):
    # Some tests here wait for it to run out.
    with opened_store(served_url, patience_seconds=3.0) as store:
        yield store


@pytest.fixture(scope="module")
def service(store):
    return store.get_feature_service(FEATURE_SERVICE)


@pytest.fixture(scope="module", params=["by Feast", "by the lookup"])
def read(request, store, service):
    """Read the features of users by both paths, which must agree."""
    return partial(read_online, store, service) if request.param == "by Feast" else OnlineLookup(store, service).read


@pytest.fixture(scope="module")
def expected(drop):
    """The features of each customer in the CSV files."""
    customers = {}
    for file in (SUBSCRIPTIONS, USAGE, PAYMENTS, SUPPORT):
        for row in read_values(drop, file):
            customers.setdefault(row["user_id"], {}).update(row)
    return {user: {name: row[name] for name in FEATURES} for user, row in customers.items()}


# --- values ------------------------------------------------------------------------------------------------------


def test_every_customer_has_the_values_of_the_drop_and_null_where_it_has_none(read, expected):
    found = read(list(expected))
    assert [customer.values for customer in found] == list(expected.values())
    assert {customer.as_of for customer in found} == {D31}
    assert {customer.missing for customer in found} == {()}
    assert any(customer.values["plan_stream_tv"] is None for customer in found)


def test_a_customer_who_is_read_alone_has_the_same_values(read, expected):
    for user in list(expected)[:20]:
        assert [customer.values for customer in read([user])] == [expected[user]]


def test_features_come_in_the_order_of_the_service_and_of_the_types_declared(read, expected):
    for customer in read(list(expected)):
        assert list(customer.values) == list(FEATURES)
        assert all(type(v) is FEATURES[name] for name, v in customer.values.items() if v is not None)


@IN_POSTGRES
def test_the_tables_have_columns_of_the_types_declared(online_store, served_url):
    postgres = {int: "bigint", float: "double precision", bool: "boolean", str: "text"}
    with connect(served_url) as connection:
        columns = connection.execute(
            "SELECT column_name, data_type FROM information_schema.columns"
            " WHERE table_schema = 'online' AND table_name LIKE '%_fv'"
        ).fetchall()
    assert {name: type_ for name, type_ in columns if name in FEATURES} == {n: postgres[t] for n, t in FEATURES.items()}


def test_a_customer_in_no_view_is_unknown(read):
    (stranger,) = read(["999999"])
    assert (stranger.values, stranger.missing, stranger.as_of) == ({}, tuple(FEATURES), None)


def test_rows_keep_the_request_order_with_unknown_and_repeated_customers(read, expected):
    first, second, *_ = expected
    asked = [second, "999999", first, "", second, "'; --"]
    found = read(asked)
    assert [customer.values for customer in found] == [expected.get(user, {}) for user in asked]


def test_one_view_can_be_read_alone_and_some_of_its_features(store, expected):
    user = next(iter(expected))
    found = store.get_online_features(["usage_agg_30d_fv:skips_7d"], [{"user_id": user}]).to_dict()
    assert found == {"user_id": [user], "skips_7d": [expected[user]["skips_7d"]]}
    view = store.get_feature_view("usage_agg_30d_fv")
    key = EntityKey(join_keys=["user_id"], entity_values=[Value(string_val=user)])
    ((timestamp, values),) = store._get_provider().online_read(store.config, view, [key])
    assert timestamp == datetime(2024, 2, 1, tzinfo=UTC)
    assert set(values) == {field.name for field in view.features}


def test_nothing_is_known_before_the_first_materialization(own_online_store, database_url):
    apply_definitions(database_url)
    with opened_store(database_url) as store:
        (customer,) = read_online(store, store.get_feature_service(FEATURE_SERVICE), ["a"])
    assert customer.missing == tuple(FEATURES)


# --- one AS_OF at a time -----------------------------------------------------------------------------------------

DAY_FEATURES = ("months_active", "skips_7d", "failed_payments_90d", "support_tickets_90d")  # one of each view


@pytest.mark.parametrize("asked", [["a", "b", "c"], ["a"]], ids=["three customers", "one customer"])
def test_a_read_is_of_one_as_of_while_others_are_published(own_online_store, tmp_path, database_url, asked):
    users, days = ["a", "b", "c"], [D1 + timedelta(days=number) for number in range(4)]
    for number, day in enumerate(days, 1):
        values = dict.fromkeys(DAY_FEATURES, str(number))
        take_in(write_drop(tmp_path / "landing", day, dict.fromkeys(users, values)), database_url, tmp_path / "archive")
    apply_definitions(database_url)
    materialize(days[0], database_url)
    done, seen = threading.Event(), set()

    def read(store, service):
        last = False
        while not last:
            last = done.is_set()
            found = read_online(store, service, asked)
            assert all(customer.missing == () for customer in found)
            seen.add(frozenset((c.as_of, *(c.values[name] for name in DAY_FEATURES)) for c in found))

    with opened_store(database_url) as store, ThreadPoolExecutor() as pool:
        service = store.get_feature_service(FEATURE_SERVICE)
        readers = [pool.submit(read, store, service) for _ in range(2)]
        try:
            for day in days[1:]:
                materialize(day, database_url)
        finally:
            done.set()
        for reader in readers:
            reader.result()
    allowed = {frozenset({(day, number, number, number, number)}) for number, day in enumerate(days, 1)}
    assert seen <= allowed
    assert len(seen) > 1


@IN_POSTGRES
def test_a_miss_in_a_new_build_is_retried(online_store, store, service, expected, monkeypatch):
    execute, asked = OnlineReader._execute, []

    def planned_too_early(*arguments):
        rows = execute(*arguments)
        asked.append(rows)
        # The first read sees a build whose tables it does not know.
        return rows if len(asked) > 1 else [(*(None,) * (len(row) - 1), -1) for row in rows]

    monkeypatch.setattr(OnlineReader, "_execute", planned_too_early)
    user = next(iter(expected))
    assert OnlineLookup(store, service).read([user])[0].values == expected[user]
    assert len(asked) == 2


# --- connections -------------------------------------------------------------------------------------------------


def drop_connections(database_url):
    """Make the server drop every connection to the database."""
    name = [conninfo_to_dict(database_url)["dbname"]]
    with server_of(database_url) as server:
        while server.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", name
        ).rowcount:
            time.sleep(0.01)


def server_of(database_url):
    """Connect to another database of the same server."""
    return connect(make_conninfo(database_url, dbname="postgres"), autocommit=True)


@IN_POSTGRES
def test_dropped_connections_are_replaced_again_and_again_without_failing_a_read(
    online_store, served_url, store, service, expected
):
    user = next(iter(expected))
    # More often than the pool has connections: a slot that leaked each time would show.
    for _ in range(store.config.online_store.max_connections + 2):
        drop_connections(served_url)
        assert read_online(store, service, [user])[0].values == expected[user]
    assert store.get_feature_service(FEATURE_SERVICE, allow_cache=False) == service


@IN_POSTGRES
def test_every_connection_of_the_pool_may_have_been_dropped(online_store, served_url, store, service, expected):
    users = list(expected)[:40]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            found = pool.map(lambda user: read_online(store, service, [user])[0].values, users)
            assert list(found) == [expected[user] for user in users]
            drop_connections(served_url)


@IN_POSTGRES
def test_reads_fail_while_the_database_refuses_and_work_at_once_when_it_does_not(
    online_store, served_url, store, service, expected
):
    user = next(iter(expected))
    assert read_online(store, service, [user])[0].values == expected[user]
    name = sql.Identifier(conninfo_to_dict(served_url)["dbname"])
    with server_of(served_url) as server:
        server.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(name))
        drop_connections(served_url)
        for _ in range(3):
            with pytest.raises(psycopg.OperationalError):
                read_online(store, service, [user])
        server.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(name))
    assert read_online(store, service, [user])[0].values == expected[user]


@IN_POSTGRES
def test_reads_of_a_hanging_server_time_out_and_recover(online_store, served_url, read, expected):
    user = next(iter(expected))
    with connect(served_url) as connection:
        # A lock that a read waits for, as it would wait for a server that was stopped.
        connection.execute("LOCK TABLE online.payments_agg_90d_fv IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(psycopg.OperationalError, match="no answer within"):
            read([user])
    assert read([user])[0].values == expected[user]


@IN_POSTGRES
def test_a_read_has_one_deadline_for_all_its_waits(online_store, served_url, service, monkeypatch):
    limits = []

    def noting(wait):
        return lambda *arguments: limits.append(arguments[-1]) or wait(*arguments)

    with opened_store(served_url) as store:
        whole = store.config.online_store.connection_timeout_seconds = 60.0
        lookup = OnlineLookup(store, service)
        for owner, name in ((psycopg.Connection, "wait"), (ConnectionPool, "connection")):
            monkeypatch.setattr(owner, name, noting(getattr(owner, name)))
        lookup.read(["999999"])
        monkeypatch.undo()
    # In a build that was not seen before a stranger is asked for twice, over a connection that is waited for.
    assert len(limits) >= 4
    # Each gets what those before it have left.
    assert limits == sorted(limits, reverse=True)
    assert all(0 < limit < whole for limit in limits)


@IN_POSTGRES
def test_a_read_soon_after_a_failed_one_has_a_third_of_the_time(
    online_store, served_url, service, expected, monkeypatch
):
    user, limits = next(iter(expected)), []
    waited_for = ConnectionPool.connection
    monkeypatch.setattr(
        ConnectionPool, "connection", lambda pool, limit: limits.append(limit) or waited_for(pool, limit)
    )
    with opened_store(served_url, patience_seconds=3.0) as store:
        lookup = OnlineLookup(store, service)
        lookup.read([user])
        with connect(served_url) as connection:
            connection.execute("LOCK TABLE online.payments_agg_90d_fv IN ACCESS EXCLUSIVE MODE")
            for _ in range(2):
                with pytest.raises(psycopg.OperationalError, match="no answer within"):
                    lookup.read([user])
            monkeypatch.setattr(online_reader, "monotonic", lambda: time.monotonic() + 9.0)
        lookup.read([user])
    assert [round(limit, 1) for limit in limits] == [3.0, 3.0, 1.0, 3.0]


# --- writing and tables ------------------------------------------------------------------------------------------


def row(user, timestamp):
    key = EntityKey(join_keys=["user_id"], entity_values=[Value(string_val=user)])
    return key, {"failed_payments_90d": Value(int64_val=1)}, timestamp, None


def test_rows_of_several_as_ofs_are_refused_with_what_to_do(store):
    view = store.get_feature_view("payments_agg_90d_fv")
    rows = [row("a", datetime(2024, 2, day, tzinfo=UTC)) for day in (1, 2)]
    with pytest.raises(ValueError, match=r"rows of 2 event timestamps.*materialize one AS_OF at a time"):
        store._get_provider().online_write_batch(store.config, view, rows, None)


def test_rows_that_no_materialization_asked_for_are_refused_with_what_to_do(store):
    view = store.get_feature_view("payments_agg_90d_fv")
    with pytest.raises(RuntimeError, match=r"no build of 2024-01-31 is being written: materialize through"):
        store._get_provider().online_write_batch(store.config, view, [row("a", datetime(2024, 2, 1, tzinfo=UTC))], None)


def view_of(field, *, join_keys=("user_id",)):
    entities = [Entity(name=key, join_keys=[key], value_type=ValueType.STRING) for key in join_keys]
    keys = [Field(name=key, dtype=String) for key in join_keys]
    source = PostgreSQLSource(name="s", table="snapshots.payments_agg_90d_snapshots", timestamp_field="event_timestamp")
    return FeatureView(name="later_fv", entities=entities, schema=[*keys, field], source=source)


def update(store, view):
    online_store = store._get_provider().online_store
    online_store.update(store.config, [], [view], [], [], partial=True)


def test_a_type_or_a_key_that_the_store_cannot_hold_is_refused_by_name(store):
    with pytest.raises(UnsupportedView, match=r"later_fv.tags is of type .*: this store holds .*Int64"):
        update(store, view_of(Field(name="tags", dtype=Array(Float64))))
    with pytest.raises(UnsupportedView, match=r"later_fv has the join keys .*: this store takes one"):
        update(store, view_of(Field(name="n", dtype=Int64), join_keys=("user_id", "device_id")))


@IN_POSTGRES
def test_a_view_gains_a_column_and_keeps_its_rows_and_another_update_changes_nothing(
    online_store, store, served_url, expected
):
    view = store.get_feature_view("payments_agg_90d_fv")
    view.features.append(Field(name="gained", dtype=Float64))
    for _ in range(2):
        update(store, view)
        with connect(served_url) as connection:
            rows = connection.execute("SELECT user_id, failed_payments_90d, gained FROM online.payments_agg_90d_fv")
            assert {user: (n, gained) for user, n, gained in rows} == {
                user: (values["failed_payments_90d"], None) for user, values in expected.items()
            }
