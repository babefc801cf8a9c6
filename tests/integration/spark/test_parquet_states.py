"""A Parquet snapshot is replaced whole: after a re-run, a correction, a kill, a withdrawal or an erasure, each date has
one build, that of its drop."""

from datetime import date

import psycopg
import pytest

from churn.drops.storage import storage_at
from churn.drops.withdrawal import withdraw
from churn.erasure.archive import erase_archive
from churn.erasure.parquet import erase_parquet
from churn.erasure.request import bury, open_request, required_directory, write_ids
from churn.erasure.rows import erase_rows
from churn.features.store import FEATURE_SERVICES, open_offline_store, open_store
from churn.outcome import DONE, UNCHANGED
from churn.settings import SettingError
from churn.spark import parquet_snapshots
from churn.spark.manifests import MANIFEST, folder_of, read_manifest
from churn.spark.parquet_snapshots import SnapshotDiffers, write_parquet
from churn.spark.removal import remove_gone
from churn.spark.session import SparkMissing
from churn.spark.views import ParquetMissing
from churn.training.training_set import build_training_set
from tests.handmade_drops import take_in, write_drop
from tests.integration.erasure.erased_chain import contents

JANUARY, FEBRUARY = date(2024, 1, 31), date(2024, 2, 29)
USERS = [f"customer-{number}" for number in range(6)]
GONE = "customer-1"


@pytest.fixture
def world(snapshots, labels_of_a_day, pipeline):
    """Writes a drop and takes it in; each customer is labelled."""
    return World(pipeline, snapshots)


class World:
    def __init__(self, pipeline, snapshots):
        self.pipeline, self.url, self.snapshots = pipeline, pipeline.database_url, snapshots

    def arrives(self, day, users=USERS):
        labels = [(user, number % 2 == 0) for number, user in enumerate(users)]
        take_in(write_drop(self.pipeline.landing, day, users, labels), self.url, self.pipeline.archive)

    def write(self, day):
        return write_parquet(day, self.url, self.pipeline.archive, self.snapshots)

    def manifest(self, day):
        return read_manifest(storage_at(self.snapshots), day)

    def builds(self, day):
        return sorted(each.name for each in (self.snapshots / folder_of(day)).glob("build=*"))

    def rows(self, day):
        with psycopg.connect(self.url) as connection:
            found = connection.execute("SELECT rows, drop_digest FROM snapshots.builds WHERE as_of = %s", [day])
            return found.fetchone()


def test_the_same_drop_is_unchanged_and_a_correction_replaces_it(world):
    world.arrives(JANUARY)
    assert world.write(JANUARY).outcome == DONE
    before = world.builds(JANUARY)
    assert world.write(JANUARY).outcome == UNCHANGED
    assert world.builds(JANUARY) == before
    world.arrives(JANUARY, USERS[:5])
    assert world.write(JANUARY).outcome == DONE
    assert world.builds(JANUARY) != before
    manifest = world.manifest(JANUARY)
    assert (manifest.rows, manifest.drop_digest) == world.rows(JANUARY)
    assert world.builds(JANUARY) == [f"build={manifest.build}"]


def test_a_lost_file_is_written_again(world):
    world.arrives(JANUARY)
    world.write(JANUARY)
    next((world.snapshots / folder_of(JANUARY)).rglob("*.parquet")).unlink()
    assert world.write(JANUARY).outcome == DONE


def test_a_kill_before_the_manifest_leaves_the_old_build_and_the_next_run_removes_what_it_left(world, monkeypatch):
    world.arrives(JANUARY)
    world.write(JANUARY)
    before = world.manifest(JANUARY)
    world.arrives(JANUARY, USERS[:5])
    with monkeypatch.context() as killed:
        killed.setattr(parquet_snapshots, "publish", killed_here)
        with pytest.raises(KeyboardInterrupt):
            world.write(JANUARY)
    assert world.manifest(JANUARY) == before
    assert len(world.builds(JANUARY)) == 2
    assert world.write(JANUARY).outcome == DONE
    assert world.builds(JANUARY) == [f"build={world.manifest(JANUARY).build}"]


def killed_here(*_):
    raise KeyboardInterrupt


def test_other_rows_than_in_postgres_are_not_published(world):
    world.arrives(JANUARY)
    with psycopg.connect(world.url) as connection:
        connection.execute("""UPDATE snapshots.builds SET rows = rows || '{"labels_snapshots": 7}'""")
    with pytest.raises(SnapshotDiffers, match="clear the task snapshot"):
        world.write(JANUARY)
    assert world.manifest(JANUARY) is None
    assert world.builds(JANUARY) == []


def test_a_join_names_the_date_that_has_no_parquet_or_one_of_another_drop(world):
    world.arrives(JANUARY)
    store = open_offline_store(world.url)
    with pytest.raises(ParquetMissing, match="of 2024-01-31 is missing: run the task parquet"):
        build_training_set(store, FEATURE_SERVICES, JANUARY, world.url)
    world.write(JANUARY)
    world.arrives(JANUARY, USERS[:5])
    with pytest.raises(ParquetMissing, match="of 2024-01-31 is of another drop"):
        build_training_set(store, FEATURE_SERVICES, JANUARY, world.url)


def test_a_withdrawn_and_an_expired_date_have_no_parquet(world):
    for day, users in ((JANUARY, USERS), (FEBRUARY, USERS[:5])):
        world.arrives(day, users)
        world.write(day)
    assert remove_gone(world.url, world.snapshots).outcome == UNCHANGED
    leave_behind(world.snapshots, JANUARY)
    withdraw(JANUARY, "ada", "the fees are in cents", world.url)
    assert remove_gone(world.url, world.snapshots, dry_run=True).figures == {"dates": ["2024-01-31"]}
    assert remove_gone(world.url, world.snapshots).figures == {"dates": ["2024-01-31"]}
    files = [path for path in world.snapshots.rglob("*") if path.is_file()]
    assert {path.relative_to(world.snapshots).parts[0] for path in files} == {folder_of(FEBRUARY)}
    with psycopg.connect(world.url) as connection:
        connection.execute("UPDATE snapshots.builds SET expired_at = now()")
    remove_gone(world.url, world.snapshots)
    assert [path for path in world.snapshots.rglob("*") if path.is_file()] == []


def test_a_dry_run_of_retention_names_what_the_same_run_would_delete(world):
    for day in (JANUARY, FEBRUARY):
        world.arrives(day)
        world.write(day)
    files = {path for path in world.snapshots.rglob("*") if path.is_file()}
    expiring = [str(JANUARY), "2023-12-31"]
    assert remove_gone(world.url, world.snapshots, dry_run=True, expiring=expiring).figures == {"dates": [str(JANUARY)]}
    # What expire_snapshots left after all is kept.
    assert remove_gone(world.url, world.snapshots, expiring=expiring).outcome == UNCHANGED
    assert {path for path in world.snapshots.rglob("*") if path.is_file()} == files


def test_an_erasure_does_not_write_a_date_again_that_was_withdrawn_meanwhile(world, tmp_path, monkeypatch):
    monkeypatch.setenv("CHURN_ERASURE_DIR", str(tmp_path / "erasure"))
    world.arrives(JANUARY)
    world.write(JANUARY)
    request = write_ids([GONE], required_directory())
    open_request(request, "ada", "she asked for it", world.url)
    bury(request, world.url)
    withdraw(JANUARY, "ada", "the fees are in cents", world.url)
    assert erase_parquet(request, frozenset({GONE}), world.url, world.snapshots).outcome == UNCHANGED
    assert [path for path in world.snapshots.rglob("*") if path.is_file()] == []


def test_an_erased_customer_is_in_no_file_and_the_snapshot_is_still_that_of_its_drop(world, tmp_path, monkeypatch):
    monkeypatch.setenv("CHURN_ERASURE_DIR", str(tmp_path / "erasure"))
    for day, users in ((JANUARY, USERS), (FEBRUARY, [user for user in USERS if user != GONE])):
        world.arrives(day, users)
        world.write(day)
    untouched = world.manifest(FEBRUARY)
    leave_behind(world.snapshots, JANUARY)
    request = write_ids([GONE], required_directory())
    open_request(request, "ada", "she asked for it", world.url)
    bury(request, world.url)
    asked = (request, frozenset({GONE}), world.url)
    erase_archive(*asked, world.pipeline.archive)
    erase_rows(*asked)
    done = erase_parquet(*asked, world.snapshots)
    assert (done.outcome, done.figures) == (DONE, {"looked_at": 2, "rewritten": 1, "rows": 5})
    assert [name for name, content in contents(world.snapshots) if GONE.encode() in content] == []
    assert [path for path in world.snapshots.rglob("*") if path.is_file() and GONE.encode() in path.read_bytes()] == []
    assert world.manifest(FEBRUARY) == untouched
    manifest = world.manifest(JANUARY)
    assert (manifest.rows, manifest.drop_digest) == world.rows(JANUARY)
    assert world.builds(JANUARY) == [f"build={manifest.build}"]
    assert erase_parquet(*asked, world.snapshots).outcome == UNCHANGED
    assert world.write(JANUARY).outcome == UNCHANGED
    sets = [
        build_training_set(opened(world.url), FEATURE_SERVICES, FEBRUARY, world.url)
        for opened in (open_store, open_offline_store)
    ]
    assert sets[0].digest == sets[1].digest
    assert GONE not in sets[1].table["user_id"].to_pylist()


def leave_behind(snapshots, day):
    """What killed runs leave: a build without a manifest, and scores on their way."""
    build = next((snapshots / folder_of(day)).glob("build=*"))
    for left in (snapshots / folder_of(day) / "build=0", snapshots / "scored" / folder_of(day)):
        left.mkdir(parents=True)
        (left / "part.parquet").write_bytes(next(build.rglob("*.parquet")).read_bytes())


def test_a_manifest_that_cannot_be_read_counts_as_none(world):
    world.arrives(JANUARY)
    world.write(JANUARY)
    (world.snapshots / folder_of(JANUARY) / MANIFEST).write_text("[]")
    assert world.manifest(JANUARY) is None
    assert world.write(JANUARY).outcome == DONE


def test_spark_needs_a_place_for_its_snapshots(world, monkeypatch):
    monkeypatch.delenv("SNAPSHOTS_URL")
    with pytest.raises(SettingError, match="SNAPSHOTS_URL is not set"):
        open_offline_store(world.url)


def test_an_object_store_that_spark_cannot_write_to_is_refused_at_once(world, object_store):
    """Hadoop's jars for S3 are not installed here."""
    world.arrives(JANUARY)
    with pytest.raises(SparkMissing, match="Spark does not know s3a:// of SNAPSHOTS_URL: name Hadoop's jars"):
        write_parquet(JANUARY, world.url, world.pipeline.archive, f"{object_store}/snapshots")
    assert storage_at(f"{object_store}/snapshots").sizes() == {}
