"""A training set at D: labels as delivered by the drops up to D, with the features of their own dates."""

from datetime import date, timedelta

import pandas as pd
import pyarrow as pa
import pytest
from feast.types import Bool, Float64, Int64, String
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql

from churn.as_of import event_timestamp
from churn.drops.contract import LABELS, PAYMENTS, SUBSCRIPTIONS, SUPPORT, USAGE
from churn.drops.landing import Drop, list_drops
from churn.features.materialization import materialize
from churn.features.store import FEATURE_SERVICE, FEATURE_SERVICES, apply_definitions, feature_types, read_online
from churn.postgres.database import connect
from churn.postgres.partitions import month
from churn.scoring.frame import to_frame
from churn.synthetic.generate import write_drops
from churn.training.cohort import SALT, in_cohort, positions
from churn.training.digest import digest_of
from churn.training.sample import Sample
from churn.training.sources import drops_of, labelled_dates
from churn.training.training_set import NothingToLearn, build_training_set
from tests.handmade_drops import read_values, take_in, write_drop
from tests.opened_store import opened_store

pytestmark = pytest.mark.usefixtures("labels_of_a_day")

D31, F29, M31 = date(2024, 1, 31), date(2024, 2, 29), date(2024, 3, 31)
ARROW_TYPES = {Int64: pa.int64(), Float64: pa.float64(), Bool: pa.bool_(), String: pa.string()}


@pytest.fixture
def url(database_url):
    """A database with the definitions applied."""
    apply_definitions(database_url)
    return database_url


def training_set(url, as_of):
    with opened_store(url) as store:
        return build_training_set(store, FEATURE_SERVICES, as_of, url)


def labels_at(url, as_of):
    """Return {(customer, labelled date): (label, months_active)} known at `as_of`."""
    table = training_set(url, as_of).table
    rows = table.select(["user_id", "as_of", "churn_label", "months_active"]).to_pylist()
    assert len({(row["user_id"], row["as_of"]) for row in rows}) == len(rows)
    return {(row["user_id"], row["as_of"]): (row["churn_label"], row["months_active"]) for row in rows}


def months(number, *users):
    return {user: {"months_active": str(number)} for user in users}


# --- labels ------------------------------------------------------------------------------------------------------


def test_labels_are_the_latest_delivered_up_to_the_as_of(landing, archive, url):
    take_in(write_drop(landing, D31, months(1, "a", "b"), [("a", False), ("b", False)]), url, archive)
    take_in(write_drop(landing, F29, months(2, "a", "b"), [("a", True, D31), ("a", False, F29)]), url, archive)
    take_in(write_drop(landing, M31, months(3, "a", "b"), [("b", True, F29), ("a", True, F29)]), url, archive)
    january = {("a", D31): (False, 1), ("b", D31): (False, 1)}
    assert labels_at(url, D31) == january
    february = january | {("a", D31): (True, 1), ("a", F29): (False, 2)}
    assert labels_at(url, F29) == february
    assert labels_at(url, M31) == february | {("a", F29): (True, 2), ("b", F29): (True, 2)}


def test_a_label_delivered_later_does_not_count_before(landing, archive, url):
    take_in(write_drop(landing, D31, months(1, "a")), url, archive)
    take_in(write_drop(landing, F29, months(2, "a"), [("a", True, D31)]), url, archive)
    with pytest.raises(NothingToLearn, match=r"no date up to 2024-01-31 has both labels and a snapshot: load a drop"):
        training_set(url, D31)
    assert labels_at(url, F29) == {("a", D31): (True, 1)}


def test_a_label_of_a_customer_without_a_snapshot_of_that_date_has_no_row(landing, archive, url):
    take_in(write_drop(landing, D31, months(1, "a")), url, archive)
    late = [("a", True, D31), ("stranger", True, D31), ("a", True, date(2024, 1, 15))]
    take_in(write_drop(landing, F29, months(2, "a", "stranger"), late), url, archive)
    assert labels_at(url, F29) == {("a", D31): (True, 1)}


def test_a_date_whose_labels_are_all_of_customers_without_a_snapshot_of_it_is_not_a_labelled_date(
    landing, archive, url
):
    # They came while there was no snapshot: later they are refused.
    take_in(write_drop(landing, F29, months(2, "a", "stranger"), [("stranger", True, D31)]), url, archive)
    take_in(write_drop(landing, D31, months(1, "a")), url, archive)
    with pytest.raises(NothingToLearn):
        training_set(url, F29)
    take_in(write_drop(landing, M31, months(3, "a"), [("a", True)]), url, archive)
    with connect(url) as connection:
        assert labelled_dates(connection, M31, limit=2) == [M31]


def test_the_last_six_labelled_dates_count(landing, archive, url):
    days = [D31 + timedelta(days=number) for number in range(9)]
    for number, day in enumerate(days):
        labels = [("a", True)] if number != 4 else None
        take_in(write_drop(landing, day, months(number, "a"), labels), url, archive)
    with connect(url) as connection:
        assert labelled_dates(connection, days[-1]) == [days[n] for n in (2, 3, 5, 6, 7, 8)]
        assert labelled_dates(connection, days[4]) == days[:4]
        assert labelled_dates(connection, D31 - timedelta(days=1)) == []
    assert training_set(url, days[-1]).dates == [days[n] for n in (2, 3, 5, 6, 7, 8)]


# {drop: the dates that it labels, its own and earlier ones}
BUILDS = st.dictionaries(st.integers(0, 14), st.sets(st.integers(0, 14), max_size=4), max_size=12).map(
    lambda builds: {drop: {day for day in labels if day <= drop} for drop, labels in builds.items()}
)


@given(builds=BUILDS)
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_drops_of_a_training_set_are_those_of_its_labelled_dates_and_those_that_labelled_them(
    builds, shared_database_url
):
    def window(as_of):
        known = set().union(*(labels for drop, labels in builds.items() if drop <= as_of))
        return sorted(known & builds.keys())[-6:]

    def made_of(as_of):
        dates = set(window(as_of))
        return {drop for drop, labels in builds.items() if drop <= as_of and (drop in dates or labels & dates)}

    def day(number):
        return D31 + timedelta(days=number)

    with connect(shared_database_url) as connection:
        for drop, labels in builds.items():
            _build(connection, day(drop), f"content of {drop}", [day(label) for label in labels])
        found = drops_of(connection, map(day, range(16)))
        dates = [labelled_dates(connection, day(as_of)) for as_of in range(16)]
        connection.rollback()
    assert found == {day(n): {day(drop): f"content of {drop}" for drop in made_of(n)} for n in range(16)}
    assert dates == [[day(labelled) for labelled in window(n)] for n in range(16)]


def _build(connection, drop, digest, labels):
    """Build the snapshots of a drop with one customer that labels these dates."""
    connection.execute(
        "INSERT INTO snapshots.builds (as_of, drop_digest, code_digest, rows, label_dates)"
        " VALUES (%s, %s, '', '{}', %s)",
        [drop, digest, labels],
    )
    known_from = event_timestamp(drop)
    with month(connection, "snapshots.subscriptions_profile_snapshots", known_from.date()):
        pass
    connection.execute(
        "INSERT INTO snapshots.subscriptions_profile_snapshots"
        " VALUES ('a', %s, %s, '2020-01-01', '', true, true, true, 1, '', 1, 1, true, NULL, NULL, '')",
        [drop, known_from],
    )
    with month(connection, "snapshots.labels_snapshots", drop):
        pass
    for label in labels:
        connection.execute("INSERT INTO snapshots.labels_snapshots VALUES ('a', %s, %s, true)", [label, drop])


# --- features ----------------------------------------------------------------------------------------------------


def test_a_departed_customer_does_not_get_the_features_of_the_day_before(landing, archive, url):
    next_day = D31 + timedelta(days=1)
    take_in(write_drop(landing, D31, months(1, "a", "left"), [("a", False), ("left", True)]), url, archive)
    take_in(write_drop(landing, next_day, months(2, "a"), [("a", False)]), url, archive)
    # The label of the day on which they were gone already comes the day after.
    late = [("left", True, next_day), ("a", False, next_day)]
    take_in(write_drop(landing, next_day + timedelta(days=1), months(3, "a"), late), url, archive)
    found = labels_at(url, next_day + timedelta(days=1))
    assert found == {("a", D31): (False, 1), ("left", D31): (True, 1), ("a", next_day): (False, 2)}
    # Feast itself, asked for that day, finds nothing of the day before.
    asked = pd.DataFrame({"user_id": ["a", "left"], "event_timestamp": [event_timestamp(next_day)] * 2})
    with opened_store(url) as store:
        job = store.get_historical_features(entity_df=asked, features=store.get_feature_service(FEATURE_SERVICE))
        rows = {row["user_id"]: row for row in job.to_arrow().to_pylist()}
    assert rows["a"]["months_active"] == 2
    assert {rows["left"][name] for name in rows["left"] if name not in {"user_id", "event_timestamp"}} == {None}


def test_rows_hold_the_values_of_their_own_drop_with_every_null_in_the_types_declared(landing, archive, url):
    write_drops(landing, customers=150, months=2, seed=7, start=D31)
    for drop in list_drops(landing):
        take_in(drop, url, archive)
    found = training_set(url, F29)
    types = feature_types(found.service)
    assert found.table.schema.names == ["user_id", "as_of", "churn_label", *types]
    assert {name: found.table.schema.field(name).type for name in types} == {
        n: ARROW_TYPES[t] for n, t in types.items()
    }
    expected = []
    for drop in list_drops(landing):
        customers = {}
        for file in (SUBSCRIPTIONS, USAGE, PAYMENTS, SUPPORT, LABELS):
            for row in read_values(drop, file):
                customers.setdefault(row["user_id"], {"as_of": drop.as_of}).update(row)
        expected += [{name: customers[user][name] for name in found.table.schema.names} for user in sorted(customers)]
    assert found.table.to_pylist() == expected
    assert found.table["plan_stream_tv"].null_count > 0


def test_the_real_drops_have_a_row_for_every_label(real_drops, archive, url):
    for as_of in (D31, F29):
        take_in(Drop(as_of, real_drops / as_of.isoformat()), url, archive)
    found = training_set(url, F29)
    assert found.dates == [D31, F29]
    assert found.on(D31).sum() == found.on(F29).sum() == 7043
    assert found.table["plan_stream_tv"].null_count == 2 * 1526
    assert 0.18 < found.cohort.mean() < 0.22


def test_a_model_gets_the_same_from_the_training_set_and_from_the_online_store(landing, archive, url):
    write_drops(landing, customers=150, months=1, seed=7, start=D31)
    take_in(list_drops(landing)[0], url, archive)
    materialize(D31, url)
    found = training_set(url, D31)
    rows = found.on(D31)
    with opened_store(url) as store:
        online = read_online(store, found.service, found.users(rows).to_pylist())
    frame = to_frame([customer.values for customer in online], found.service)
    pd.testing.assert_frame_equal(frame, found.features(rows))
    assert {type(value) for value in frame["plan_stream_tv"]} == {bool, type(None)}


def test_one_row_online_has_the_types_of_a_column_without_null(landing, archive, url):
    take_in(write_drop(landing, D31, {"a": {"plan_stream_tv": "", "net_service": "No"}}, [("a", True)]), url, archive)
    found = training_set(url, D31)
    frame = found.features(found.on(D31))
    assert frame["plan_stream_tv"].tolist() == [None]
    assert frame["months_active"].dtype == "int64"
    assert frame["net_service"].tolist() == ["No"]


def test_rows_can_be_picked_by_date_and_by_gate_cohort(landing, archive, url):
    users = [f"{number:03d}" for number in range(50)]
    for number, as_of in enumerate((D31, F29), 1):
        labels = [(user, int(user) % 2 == 0) for user in users]
        take_in(write_drop(landing, as_of, months(number, *users), labels), url, archive)
    found = training_set(url, F29)
    assert found.cohort.tolist() == in_cohort(users * 2).tolist()
    rows = found.on(F29) & ~found.cohort
    assert found.users(rows).to_pylist() == [user for user in users if not in_cohort([user])[0]]
    assert found.labels(rows).tolist() == [int(user) % 2 == 0 for user in found.users(rows).to_pylist()]
    assert set(found.features(rows)["months_active"]) == {2}


# --- the digest --------------------------------------------------------------------------------------------------


def test_the_digest_depends_on_the_drops_up_to_its_as_of_and_not_on_order_repetition_or_later_drops(
    landing, archive, url, shared_database_url
):
    write_drops(landing, customers=80, months=3, seed=7, start=D31, late_labels=1)
    in_order = {}
    for drop in list_drops(landing):
        take_in(drop, url, archive)
        if drop.as_of > D31:
            in_order[drop.as_of] = training_set(url, drop.as_of).digest
    assert training_set(url, F29).digest == in_order[F29]
    # Backwards, each first with a wrong content and then corrected.
    apply_definitions(shared_database_url)
    for drop in reversed(list_drops(landing)):
        take_in(write_drop(landing.parent / "wrong", drop.as_of, ["a"], [("a", True)]), shared_database_url, archive)
        take_in(drop, shared_database_url, archive)
    assert {as_of: training_set(shared_database_url, as_of).digest for as_of in in_order} == in_order
    assert len(set(in_order.values())) == 2


def test_the_digest_changes_with_one_value_up_to_its_as_of(landing, archive, url):
    take_in(write_drop(landing, D31, months(1, "a", "b"), [("a", True)]), url, archive)
    before = training_set(url, D31).digest
    take_in(write_drop(landing, D31, months(1, "a", "b", "c"), [("a", True)]), url, archive)
    assert training_set(url, D31).digest == before
    take_in(write_drop(landing, D31, months(2, "a", "b", "c"), [("a", True)]), url, archive)
    assert training_set(url, D31).digest != before


def test_a_null_has_another_digest_than_any_value():
    digests = {digest_of(pa.table({"x": pa.array(values, pa.string())})) for values in ([None], [""], ["null"], ['""'])}
    assert len(digests) == 4
    assert digest_of(pa.table({"x": [1]})) != digest_of(pa.table({"y": [1]}))


def test_the_digest_does_not_depend_on_the_memory_layout():
    whole = pa.table({"x": [1, 2, 3]})
    assert digest_of(pa.concat_tables([whole.slice(0, 1), whole.slice(1)])) == digest_of(whole)


def test_the_digest_of_the_cohort_by_service_is_that_of_the_rows_with_its_features(landing, archive, url):
    users = [f"customer {number}" for number in range(30)]
    take_in(write_drop(landing, D31, users, [(each, False) for each in users]), url, archive)
    found = training_set(url, D31)
    assert 0 < found.cohort.sum() < len(users)
    for service in (*found.others, found.service):
        assert found.cohort_digest(D31, service) == found.of(service).cohort_digest(D31)
    assert len({found.cohort_digest(D31, each) for each in (*found.others, None)}) == len(found.others) + 1


def test_postgres_and_python_draw_the_same_customers(database_url):
    users = [f"{number:04d}-ÄBC" for number in range(5_000)]
    position = positions(users, SALT)
    sample = Sample(cohorts=0.3, others=0.1)
    wanted = (position < 0.06) | ((position >= 0.20) & (position < 0.215)) | ((position >= 0.25) & (position < 0.325))
    query = sql.SQL("SELECT user_id FROM unnest(%s::text[]) AS customers (user_id) WHERE {}")
    with connect(database_url) as connection:
        found = connection.execute(query.format(sample.condition("customers")), [users]).fetchall()
    assert [user for (user,) in found] == [user for user, drawn in zip(users, wanted, strict=True) if drawn]
    assert 0 < len(found) < len(users)
