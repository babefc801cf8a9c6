"""One AS_OF is served online: the newest materialized, completely, and the previous one until then."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from itertools import permutations
from threading import Barrier

import psycopg
import pytest
from feast import FeatureStore

from churn.features import materialization
from churn.features.build import IncompleteBuild
from churn.features.materialization import NoSnapshot, materialize
from churn.features.store import FEATURE_SERVICE, STORE_LOCK, apply_definitions, read_online
from churn.outcome import DONE, OLDER, UNCHANGED
from churn.postgres.database import connect, execute, lock_session
from tests.handmade_drops import take_in, write_drop
from tests.integration.online_stores import IN_POSTGRES
from tests.opened_store import opened_store

D31, F29, M31 = date(2024, 1, 31), date(2024, 2, 29), date(2024, 3, 31)
VIEWS = ("subs_profile_fv", "usage_agg_30d_fv", "payments_agg_90d_fv", "support_agg_90d_fv")
ONE_EACH = dict.fromkeys(VIEWS, 1)
AT_ONCE = 4


@pytest.fixture
def snapshots(tmp_path, database_url, online_store):
    """A function that builds the snapshots of a date, with customers of that many months."""
    online_store.empty()
    apply_definitions(database_url)

    def make(as_of, months, users=("a", "b", "c")):
        values = {"months_active": str(months), "support_tickets_90d": str(months)}
        take_in(
            write_drop(tmp_path / "landing", as_of, dict.fromkeys(users, values)), database_url, tmp_path / "archive"
        )

    return make


def served(database_url, users=("a", "b", "c")):
    """Return {customer: (AS_OF, months)} of the served customers."""
    with opened_store(database_url) as store:
        found = read_online(store, store.get_feature_service(FEATURE_SERVICE), list(users))
    return {user: (f.as_of, f.values["months_active"]) for user, f in zip(users, found, strict=True) if not f.missing}


def builds(database_url):
    with connect(database_url) as connection:
        return connection.execute("SELECT as_of, state FROM online.builds ORDER BY build").fetchall()


def test_the_newest_as_of_is_served_and_an_older_one_is_a_recorded_no_op(snapshots, database_url, online_store):
    snapshots(D31, 1)
    snapshots(F29, 2)
    first = materialize(D31, database_url)
    assert (first.outcome, first.figures) == (DONE, dict.fromkeys(VIEWS, 3))
    assert served(database_url) == dict.fromkeys("abc", (D31, 1))
    assert materialize(F29, database_url).outcome == DONE
    again = materialize(D31, database_url)
    assert (again.outcome, again.reason) == (OLDER, "2024-02-29 is served and is newer than 2024-01-31")
    assert served(database_url) == dict.fromkeys("abc", (F29, 2))
    assert builds(database_url) == [(D31, "published"), (F29, "published"), (D31, "older")]
    assert online_store.builds_left(database_url) == ONE_EACH


def test_the_served_as_of_does_not_depend_on_the_order_of_runs(snapshots, database_url, online_store):
    for months, as_of in enumerate((D31, F29, M31), 1):
        snapshots(as_of, months)
    for order in list(permutations((D31, F29, M31)))[::3]:
        online_store.serve_nothing(database_url)
        for as_of in order:
            materialize(as_of, database_url)
        assert served(database_url) == dict.fromkeys("abc", (M31, 3))


def test_a_store_that_lost_its_build_is_not_given_a_date_without_snapshot(snapshots, database_url, online_store):
    for months, as_of in enumerate((D31, F29, M31), 1):
        snapshots(as_of, months)
        materialize(as_of, database_url)
    with connect(database_url) as connection:
        execute(connection, "retention/mark_snapshot", {"as_of": M31})
    online_store.serve_nothing(database_url)
    assert materialize(D31, database_url).outcome == OLDER
    assert served(database_url) == dict.fromkeys("abc", (F29, 2))


def test_a_corrected_drop_of_the_served_as_of_replaces_it(snapshots, database_url):
    snapshots(F29, 2)
    materialize(F29, database_url)
    snapshots(F29, 3, users=("a", "c", "d"))
    assert materialize(F29, database_url).outcome == DONE
    assert served(database_url, "abcd") == dict.fromkeys("acd", (F29, 3))


def test_a_corrected_drop_of_an_older_as_of_changes_nothing(snapshots, database_url):
    snapshots(D31, 1)
    snapshots(F29, 2)
    materialize(F29, database_url)
    snapshots(D31, 9)
    assert materialize(D31, database_url).outcome == OLDER
    assert served(database_url) == dict.fromkeys("abc", (F29, 2))


def test_a_customer_who_left_is_unknown(snapshots, database_url):
    snapshots(D31, 1)
    snapshots(F29, 2, users=("a", "c"))
    materialize(D31, database_url)
    materialize(F29, database_url)
    assert served(database_url) == dict.fromkeys("ac", (F29, 2))


def test_materializing_again_is_unchanged_and_writes_nothing(snapshots, database_url):
    snapshots(D31, 1)
    materialize(D31, database_url)
    before = builds(database_url)
    again = materialize(D31, database_url)
    assert (again.outcome, again.figures) == (UNCHANGED, dict.fromkeys(VIEWS, 3))
    assert builds(database_url) == before


def test_changed_code_materializes_again(snapshots, database_url, monkeypatch, online_store):
    snapshots(D31, 1)
    materialize(D31, database_url)
    monkeypatch.setattr(materialization, "step_digest", lambda step: "other code")
    assert materialize(D31, database_url).outcome == DONE
    assert materialize(D31, database_url).outcome == UNCHANGED
    assert online_store.builds_left(database_url) == ONE_EACH


def test_applying_the_definitions_again_is_unchanged(snapshots, database_url):
    assert apply_definitions(database_url).outcome == UNCHANGED


def test_a_date_without_a_snapshot_is_an_error_that_says_what_to_do(snapshots, database_url):
    with pytest.raises(NoSnapshot, match="there is no snapshot of 2024-01-31: run churn_snapshot for it first"):
        materialize(D31, database_url)


# --- failures ----------------------------------------------------------------------------------------------------


def write_and(then):
    """Feast's materialize(), followed by `then`."""
    write = FeatureStore.materialize

    def written(store, *arguments, **named):
        write(store, *arguments, **named)
        then()

    return written


def lose_a_row(online_store, database_url):
    online_store.lose_a_row(database_url, "usage_agg_30d_fv", "b")


def run_out_of_disk():
    raise psycopg.errors.DiskFull("could not extend file")


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        (lose_a_row, "usage_agg_30d_fv has 2 rows of 2024-02-29 and its snapshot 3: the previous build is"),
        (lambda *_: run_out_of_disk(), "could not extend file"),
    ],
    ids=["a row lost", "disk full"],
)
def test_a_failed_materialization_keeps_the_served_build_and_can_be_retried(
    failure, error, snapshots, database_url, monkeypatch, online_store
):
    snapshots(D31, 1)
    snapshots(F29, 2)
    materialize(D31, database_url)
    with monkeypatch.context() as patched:
        patched.setattr(FeatureStore, "materialize", write_and(lambda: failure(online_store, database_url)))
        with pytest.raises(Exception, match=error) as raised:
            materialize(F29, database_url)
    assert (failure is lose_a_row) == isinstance(raised.value, IncompleteBuild)
    assert served(database_url) == dict.fromkeys("abc", (D31, 1))
    assert materialize(F29, database_url).outcome == DONE
    assert served(database_url) == dict.fromkeys("abc", (F29, 2))
    assert online_store.builds_left(database_url) == ONE_EACH
    assert builds(database_url) == [(D31, "published"), (F29, "published")]


def test_a_snapshot_that_is_rebuilt_while_it_is_written_is_not_served_as_a_mix(snapshots, database_url, monkeypatch):
    snapshots(D31, 1)
    materialize(D31, database_url)
    snapshots(F29, 2)
    with monkeypatch.context() as patched:
        patched.setattr(FeatureStore, "materialize", write_and(lambda: snapshots(F29, 3)))
        with pytest.raises(IncompleteBuild, match="rebuilt while"):
            materialize(F29, database_url)
    assert served(database_url) == dict.fromkeys("abc", (D31, 1))
    materialize(F29, database_url)
    assert served(database_url) == dict.fromkeys("abc", (F29, 3))


def test_a_failed_first_materialization_serves_nothing(snapshots, database_url, monkeypatch, online_store):
    snapshots(D31, 1)
    with monkeypatch.context() as patched:
        patched.setattr(FeatureStore, "materialize", write_and(lambda: lose_a_row(online_store, database_url)))
        with pytest.raises(IncompleteBuild):
            materialize(D31, database_url)
    assert served(database_url) == {}


# --- at the same time --------------------------------------------------------------------------------------------


def test_concurrent_first_runs_create_the_registry_once(unapplied_database_url):
    """Feast alone would fail for all but one, at CREATE TABLE."""
    together = Barrier(AT_ONCE)

    def apply():
        together.wait()
        return apply_definitions(unapplied_database_url).outcome

    with ThreadPoolExecutor(AT_ONCE) as pool:
        outcomes = [run.result() for run in [pool.submit(apply) for _ in range(AT_ONCE)]]
    assert sorted(outcomes) == [DONE] + [UNCHANGED] * (AT_ONCE - 1)


def test_concurrent_materializations_serve_the_newest(snapshots, database_url, online_store):
    dates = (D31, F29, M31)
    for months, as_of in enumerate(dates, 1):
        snapshots(as_of, months)
    with ThreadPoolExecutor() as pool:
        outcomes = [run.result().outcome for run in [pool.submit(materialize, d, database_url) for d in dates]]
    assert outcomes[-1] == DONE
    assert set(outcomes) <= {DONE, OLDER}
    assert served(database_url) == dict.fromkeys("abc", (M31, 3))
    assert online_store.builds_left(database_url) == ONE_EACH


def test_a_materialization_waits_for_another_and_continues_when_it_dies(snapshots, database_url):
    snapshots(D31, 1)
    other = connect(database_url, autocommit=True)
    lock_session(other, STORE_LOCK)
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(materialize, D31, database_url)
        while not other.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone()[0]:
            assert not waiting.done()
            time.sleep(0.01)
        other.close()
        assert waiting.result().outcome == DONE


@IN_POSTGRES
def test_a_build_with_a_long_reader_is_dropped_by_the_next_materialization(online_store, snapshots, database_url):
    for months, as_of in enumerate((D31, F29, M31), 1):
        snapshots(as_of, months)
    materialize(D31, database_url)
    with connect(database_url) as reader:
        reader.execute("SELECT count(*) FROM online.usage_agg_30d_fv")
        assert materialize(F29, database_url).outcome == DONE
        assert served(database_url) == dict.fromkeys("abc", (F29, 2))
        assert online_store.builds_left(database_url) == {**ONE_EACH, "usage_agg_30d_fv": 2}
    materialize(M31, database_url)
    assert online_store.builds_left(database_url) == ONE_EACH
