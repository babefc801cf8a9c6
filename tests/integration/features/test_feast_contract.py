"""Our stores return the same values as Feast's own: a Feast upgrade must not change them unnoticed."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pandas as pd
import pyarrow.compute as pc
import pytest
from feast import FeatureService, FeatureStore
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.repo_config import RepoConfig

from churn.as_of import event_timestamp
from churn.drops.contract import USERS
from churn.drops.landing import find_drop
from churn.features.materialization import materialize
from churn.features.store import FEATURE_SERVICE, FEATURE_SERVICES, apply_definitions, feature_types, load_definitions
from churn.postgres.database import connect
from churn.postgres.database_url import feast_environment
from churn.synthetic.generate import write_drops
from tests.handmade_drops import accept, take_in, write_drop
from tests.opened_store import opened_store

D31, F29 = date(2024, 1, 31), date(2024, 2, 29)
LEAST = {
    "months_active": "0",
    "monthly_fee": "0",
    "plan_stream_tv": "",
    "plan_stream_movies": "",
    "net_service": "No",
    "watch_hours_30d": "5e-324",
    "ticket_avg_resolution_hrs_90d": "",
}
GREATEST = {
    "months_active": "999999999999999999",
    "monthly_fee": "1e38",
    "net_service": "ümläut, \"quoted\", 日本 'x' \\n {} %s",
    "watch_hours_30d": "0.1",
    "skips_7d": "2147483648",
}


@pytest.fixture(scope="module")
def database(online_store, shared_database_url, tmp_path_factory) -> str:
    """January generated, February handwritten with extreme values; February is served."""
    landing, archive = tmp_path_factory.mktemp("landing"), tmp_path_factory.mktemp("archive")
    write_drops(landing, customers=150, months=1, seed=9, start=D31)
    take_in(find_drop(landing, D31), shared_database_url, archive)
    users = _users(landing, D31)
    customers = {user: {} for user in users[:100]} | {
        users[0]: LEAST,
        users[1]: GREATEST,
        "a b'c\\d": {},
        "ключ": LEAST,
    }
    february = write_drop(landing, F29, customers)
    # Most of its columns are constant.
    accept(february)
    take_in(february, shared_database_url, archive)
    apply_definitions(shared_database_url)
    materialize(F29, shared_database_url)
    return shared_database_url


def _users(landing: Path, as_of: date) -> list[str]:
    lines = (landing / as_of.isoformat() / "users.csv").read_text().splitlines()[1:]
    return [line.split(",")[0] for line in lines]


@pytest.fixture(scope="module")
def ours(database):
    with opened_store(database) as store:
        yield store


@pytest.fixture(scope="module")
def stock(database, tmp_path_factory) -> FeatureStore:
    """Feast with its own Postgres stores and local engine, over the same snapshots."""
    variables = feast_environment(database)
    postgres = {
        "type": "postgres",
        "host": variables["CHURN_PGHOST"],
        "port": int(variables["CHURN_PGPORT"]),
        "database": variables["CHURN_PGDATABASE"],
        "user": variables["CHURN_PGUSER"],
        "password": variables["CHURN_PGPASSWORD"],
    }
    with connect(database) as connection:
        connection.execute("DROP SCHEMA IF EXISTS stock CASCADE")
        connection.execute("CREATE SCHEMA stock")
    store = FeatureStore(
        config=RepoConfig(
            project="stock",
            provider="local",
            registry=str(tmp_path_factory.mktemp("stock") / "registry.db"),
            online_store={**postgres, "db_schema": "stock"},
            offline_store={**postgres, "db_schema": "snapshots", "entity_select_mode": "embed_query"},
            entity_key_serialization_version=3,
        )
    )
    store.apply(load_definitions())
    instant = event_timestamp(F29)
    store.materialize(instant, instant)
    return store


@pytest.fixture(scope="module")
def everybody(database) -> list[str]:
    """Every customer of either date, and two unknown ones."""
    with connect(database) as connection:
        found = connection.execute("SELECT DISTINCT user_id FROM snapshots.payments_agg_90d_snapshots").fetchall()
    return [*(user for (user,) in found), "999999", ""]


@pytest.mark.parametrize(
    "service", [each for each in load_definitions() if isinstance(each, FeatureService)], ids=lambda each: each.name
)
def test_no_demographic_column_is_a_feature(service):
    """Gender, age, family and dependants are for the gate's slices: a score must not depend on them."""
    demographic = {column.name for column in USERS.columns} - {"user_id", "signup_date"}
    assert demographic == {"user_gender", "user_is_senior", "has_family", "has_dependents"}
    assert not demographic & feature_types(service).keys()


def test_the_last_feature_service_has_the_views_and_features_of_all():
    services = {each.name: each for each in load_definitions() if isinstance(each, FeatureService)}
    last = services[FEATURE_SERVICES[-1]]
    for name in FEATURE_SERVICES:
        assert feature_types(services[name]).items() <= feature_types(last).items()
        views = [[each.name for each in of.feature_view_projections] for of in (services[name], last)]
        assert views[0] == views[1]


def test_the_features_of_churn_v1_are_those_of_its_first_version():
    (service,) = (each for each in load_definitions() if each.name == "churn_v1")
    assert list(feature_types(service)) == [
        "months_active", "monthly_fee", "paperless_billing", "plan_stream_tv", "plan_stream_movies", "net_service",
        "watch_hours_30d", "avg_session_mins_7d", "unique_devices_30d", "skips_7d", "rebuffer_events_7d",
        "failed_payments_90d", "support_tickets_90d", "ticket_avg_resolution_hrs_90d",
    ]  # fmt: skip


def test_every_value_status_and_timestamp_reads_back_as_from_feasts_own_online_store(ours, stock, everybody):
    rows = [{"user_id": user} for user in everybody]
    answers = [s.get_online_features(s.get_feature_service(FEATURE_SERVICE), rows).proto for s in (ours, stock)]
    assert answers[0] == answers[1]
    assert len(answers[0].results) == 16


def test_the_features_that_a_caller_names_read_back_as_from_feasts_own_online_store(ours, stock, everybody):
    names = ["support_agg_90d_fv:support_tickets_90d", "subs_profile_fv:net_service", "subs_profile_fv:plan_stream_tv"]
    rows = [{"user_id": user} for user in everybody]
    for full in (False, True):
        answers = [s.get_online_features(names, rows, full_feature_names=full).to_dict() for s in (ours, stock)]
        assert answers[0] == answers[1]


def test_one_view_reads_back_row_by_row_as_from_feasts_own_online_store(ours, stock, everybody):
    keys = [EntityKey(join_keys=["user_id"], entity_values=[Value(string_val=user)]) for user in everybody]
    for view in ours.list_feature_views():
        names = [field.name for field in view.features]
        first, second = (s._get_provider().online_read(s.config, view, keys, names) for s in (ours, stock))
        assert first == second


# --- point in time -----------------------------------------------------------------------------------------------

MOMENTS = {
    "at the snapshot's instant": timedelta(0),
    "within the time to live": timedelta(hours=11, minutes=59),
    "at its end": timedelta(hours=12),
    "after it": timedelta(hours=12, microseconds=1),
    "a microsecond before": -timedelta(microseconds=1),
}


def entities(users: list[str], moments: list[datetime]) -> str:
    """An entity query: every customer at every moment, with an extra column."""
    names = ", ".join("'" + user.replace("'", "''") + "'" for user in users)
    at = ", ".join(f"'{moment.isoformat()}'" for moment in moments)
    return (
        f"SELECT user_id, event_timestamp, length(user_id) AS beside FROM unnest(ARRAY[{names}]) AS u (user_id),"
        f" unnest(ARRAY[{at}]::timestamptz[]) AS t (event_timestamp)"
    )


def joined(store, query, **named):
    service = store.get_feature_service(FEATURE_SERVICE)
    table = store.get_historical_features(query, service, **named).to_arrow()
    at = table.schema.get_field_index("event_timestamp")
    if table.schema.field(at).type.tz is None:  # Feast's own says UTC by saying nothing
        table = table.set_column(at, "event_timestamp", pc.assume_timezone(table["event_timestamp"], "UTC"))
    return table


@pytest.mark.parametrize("offset", MOMENTS.values(), ids=MOMENTS)
def test_features_are_joined_point_in_time_as_by_feasts_own_query(ours, stock, everybody, offset):
    query = entities(everybody, [event_timestamp(day) + offset for day in (D31, F29)])
    by = [("user_id", "ascending"), ("event_timestamp", "ascending")]
    first, second = (joined(s, query).sort_by(by) for s in (ours, stock))
    assert first.column_names == second.column_names
    assert first.to_pylist() == second.to_pylist()
    known = sum(value is not None for value in first["months_active"].to_pylist())
    assert (known > 0) == (timedelta(0) <= offset <= timedelta(hours=12))


def test_columns_have_the_types_that_the_feature_service_declares(ours, everybody):
    table = joined(ours, entities(everybody, [event_timestamp(D31)]))
    arrow = {"Int64": "int64", "Float64": "double", "Bool": "bool", "String": "string"}
    types = feature_types(ours.get_feature_service(FEATURE_SERVICE))
    assert {name: str(table.schema.field(name).type) for name in types} == {n: arrow[str(t)] for n, t in types.items()}
    assert str(table.schema.field("event_timestamp").type) == "timestamp[us, tz=UTC]"
    assert set(table["event_timestamp"].to_pylist()) == {datetime(2024, 2, 1, tzinfo=UTC)}


def test_names_with_their_view_and_data_frames_of_entities_work_as_in_feast(ours, stock, everybody):
    query = entities(everybody[:20], [event_timestamp(F29)])
    first, second = (joined(s, query, full_feature_names=True).sort_by("user_id") for s in (ours, stock))
    assert first.to_pylist() == second.to_pylist()
    assert "subs_profile_fv__months_active" in first.column_names
    frame = pd.DataFrame({"user_id": everybody[:20], "event_timestamp": event_timestamp(F29)})
    one, other = (joined(s, frame).sort_by("user_id").to_pylist() for s in (ours, stock))
    assert one == other
