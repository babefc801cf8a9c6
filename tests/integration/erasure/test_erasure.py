"""After an erasure nothing holds the customer, and nothing else has changed but what follows from it."""

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import mlflow
import psycopg
import pytest
from mlflow import MlflowClient
from psycopg.conninfo import conninfo_to_dict

from churn.drops.landing import find_drop
from churn.drops.loading import load
from churn.drops.snapshots import build_snapshots
from churn.drops.tombstones import KEY, KeyMissing
from churn.drops.validation import validate
from churn.drops.watch import find_pending
from churn.erasure.customer import held
from churn.features.lookup import OnlineLookup
from churn.features.materialization import materialize
from churn.features.store import FEATURE_SERVICE, open_store
from churn.outcome import UNCHANGED
from churn.registry.client import find_versions
from churn.reproduction.reproduce import NotReproducible, reproduce
from churn.scores.scoring_step import score_customers
from tests.conftest import database_copy, tracking
from tests.integration.erasure.erased_chain import (
    MARKED,
    SHARE,
    contents,
    correct,
    files_with,
    rows_of,
    run_chain,
    tables_with,
    write_home,
)


@pytest.fixture(scope="module")
def stores(postgres_url, churn_template, mlflow_template, tmp_path_factory):
    """A chain of two dates with a correction, late labels, predictions, versions, lists; the customer erased at its
    end."""
    home = write_home(tmp_path_factory.mktemp("erased") / "home", customers=1200, months=3, seed=5)
    with (
        pytest.MonkeyPatch.context() as environment,
        database_copy(postgres_url, churn_template) as url,
        tracking(postgres_url, mlflow_template, home.path / "mlflow"),
    ):
        environment.setenv("CHURN_ERASURE_DIR", str(home.path / "erasure"))
        run_chain(home, url)
        yield Erased(home.stores(url), home.dates, home.path)


class Erased:
    """The stores before and after the erasure."""

    def __init__(self, stores, dates, home):
        self.stores, self.dates, self.home = stores, dates, home
        self.held = held(MARKED, stores.database_url, stores.landing, stores.archive)
        self.before = rows_of(stores.database_url)
        self.files_before = dict(contents(home))
        self.done = stores.erase(MARKED)
        self.after = rows_of(stores.database_url)


def test_the_customer_was_everywhere_before(stores):
    assert {"raw.users", "raw.labels", "snapshots.labels_snapshots", "scores.customers", "predictions.answered"} <= set(
        stores.held["database"]
    )
    assert any(table.startswith("online.") for table in stores.held["database"])
    assert stores.held["archive"]
    assert stores.held["landing directory"]
    assert stores.held["models"]
    assert {name.split("/")[0] for name in stores.files_before if MARKED.encode() in stores.files_before[name]} == {
        "landing", "sent", "archive", "scores", "mlflow"
    }  # fmt: skip


def test_nothing_holds_the_customer_after(stores):
    assert tables_with(stores.stores.database_url) == []
    assert [name for name in files_with(stores.home) if not name.startswith("sent/")] == []
    assert tables_with(mlflow.get_tracking_uri().replace("postgresql+psycopg2", "postgresql")) == []
    left = held(MARKED, stores.stores.database_url, stores.stores.landing, stores.stores.archive)
    assert (left["database"], left["archive"], left["landing directory"], left["models"]) == ({}, [], [], [])
    assert left["erased"]["why"] == "she asked for it"


def test_the_files_of_the_database_do_not_hold_the_customer_either(stores):
    url = stores.stores.database_url
    with psycopg.connect(url) as connection:
        oid = connection.execute("SELECT oid FROM pg_database WHERE datname = current_database()").fetchone()[0]
    directory = Path(conninfo_to_dict(url)["host"]) / "base" / str(oid)
    files = [path for path in directory.iterdir() if path.is_file()]
    assert len(files) > 100
    assert [path.name for path in files if MARKED.encode() in path.read_bytes()] == []


COUNTED = {
    "raw.revisions",
    "snapshots.builds",
    "online.builds",
    "scores.runs",
    "erasure.requests",
    "erasure.tombstones",
    "erasure.places",
    "erasure.rewrites",
    "erasure.versions",
}
"""Tables whose rows hold counts, digests or the record of the erasure."""


def test_every_other_row_of_the_database_stays(stores):
    assert {table for table in stores.before if stores.before[table] != stores.after[table]} >= {"raw.users"}
    for table, rows in stores.before.items():
        if table not in COUNTED:
            left = {row: count for row, count in rows.items() if MARKED not in row}
            assert left == dict(stores.after[table]), table


def test_counts_are_those_of_the_rows(stores):
    with psycopg.connect(stores.stores.database_url) as connection:
        lists = connection.execute(
            "SELECT runs.rows, runs.expected_churners, count(*), sum(churn_probability) FROM scores.runs "
            "JOIN scores.customers USING (as_of, revision) GROUP BY runs.as_of, runs.revision"
        ).fetchall()
        snapshots = connection.execute(
            "SELECT (builds.rows ->> 'subscriptions_profile_snapshots')::int, count(*) FROM snapshots.builds "
            "JOIN snapshots.subscriptions_profile_snapshots USING (as_of) GROUP BY builds.as_of"
        ).fetchall()
    assert lists
    assert all(rows == count and expected == pytest.approx(total) for rows, expected, count, total in lists)
    assert snapshots
    assert all(rows == count for rows, count in snapshots)


def test_every_other_line_of_the_files_stays(stores):
    after = dict(contents(stores.home))
    for name, content in stores.files_before.items():
        if name.startswith("landing/") and MARKED.encode() in content:
            expected = b"".join(line for line in content.splitlines(True) if MARKED.encode() not in line)
            assert after[name] == expected
        elif name.startswith(("landing/", "sent/")):
            assert after[name] == content
    for name, content in after.items():
        if name.endswith("manifest.json") and name.startswith("scores/"):
            found = json.loads(content)
            with psycopg.connect(stores.stores.database_url) as connection:
                rows, sha256 = connection.execute(
                    "SELECT rows, sha256 FROM scores.runs WHERE as_of = %s AND revision = %s",
                    (found["as_of"], found["revision"]),
                ).fetchone()
            assert (found["rows"], found["files"]["scores.parquet"]["sha256"]) == (rows, sha256)


def test_no_chain_starts_and_a_rerun_is_unchanged(stores):
    url, of = stores.stores.database_url, stores.stores
    assert find_pending(of.landing, url) == []
    newest = stores.dates[-1]
    drop = validate(find_drop(of.landing, newest), url, of.archive)
    assert load(drop, url, of.archive).outcome == UNCHANGED
    assert build_snapshots(newest, url).outcome == UNCHANGED
    assert materialize(newest, url).outcome == UNCHANGED
    assert score_customers(newest, url, str(of.lists), SHARE).outcome == UNCHANGED


def test_a_second_erasure_finds_nothing(stores):
    again = stores.stores.erase(MARKED)
    assert {name for name, outcome in again.items() if outcome.outcome != UNCHANGED} <= {"sweep", "end", "supersede"}


def test_the_customer_is_unknown_online(stores):
    store = open_store(stores.stores.database_url)
    lookup = OnlineLookup(store, store.get_feature_service(FEATURE_SERVICE))
    (found,) = lookup.read([MARKED])
    assert (found.values, found.as_of) == ({}, None)


def test_versions_that_learned_from_the_customer_say_so_and_are_not_reproduced(stores):
    tagged = [each for each in find_versions(MlflowClient(), {}) if "trained_on_erased" in each.tags]
    assert tagged
    assert tagged[0].tags["trained_on_erased"] == datetime.now(UTC).date().isoformat()
    with pytest.raises(NotReproducible, match="erased"):
        reproduce(tagged[0].version, stores.stores.database_url, stores.stores.archive, print)


def test_the_same_drop_landed_again_is_loaded_without_the_customer(stores):
    url, of, day = stores.stores.database_url, stores.stores, stores.dates[0]
    shutil.rmtree(of.landing / str(day))
    shutil.copytree(stores.home / "sent" / str(day), of.landing / str(day))
    drop = validate(find_drop(of.landing, day), url, of.archive)
    assert drop.erased_rows >= 5
    assert load(drop, url, of.archive).outcome == UNCHANGED
    assert find_pending(of.landing, url) == []
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT erased_rows FROM raw.drops WHERE as_of = %s", (day,)).fetchone()[0] >= 5
    assert files_with(of.archive) == []
    assert tables_with(url) == []


def test_a_correction_with_the_customer_is_loaded_without_them(stores):
    url, of, day = stores.stores.database_url, stores.stores, stores.dates[1]
    shutil.rmtree(of.landing / str(day))
    shutil.copytree(stores.home / "sent" / str(day), of.landing / str(day))
    correct(of.landing / str(day))
    drop = validate(find_drop(of.landing, day), url, of.archive)
    assert load(drop, url, of.archive).outcome == "DONE"
    build_snapshots(day, url)
    assert files_with(of.archive) == []
    assert tables_with(url) == []


def test_without_the_key_nothing_is_loaded(stores, tmp_path, monkeypatch):
    monkeypatch.setenv("CHURN_ERASURE_DIR", str(tmp_path))
    assert not (tmp_path / KEY).exists()
    with pytest.raises(KeyMissing, match="customers were erased"):
        validate(find_drop(stores.stores.landing, stores.dates[1]), stores.stores.database_url, stores.stores.archive)
