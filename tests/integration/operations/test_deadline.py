"""The deadline: which AS_OFs are reported, when, and with which state."""

import os
import re
import shutil
from datetime import UTC, date, datetime, timedelta

import pytest

from churn.drops import watch
from churn.drops.landing import find_drop
from churn.drops.loading import load
from churn.drops.snapshots import build_snapshots
from churn.drops.validation import DropHeld, validate
from churn.drops.withdrawal import withdraw
from churn.features.materialization import materialize
from churn.features.store import apply_definitions
from churn.operations import late
from churn.operations.deadline import GRACE, TOLD_FOR, DeadlineMissed, check_deadline, find_missing
from churn.operations.late import find_late
from churn.outcome import DONE
from churn.postgres.database import connect, execute
from churn.training.sources import drops_of
from churn.training.uses import DROPS, to_tag
from tests.board_decisions import a_decision, append_decisions
from tests.conftest import mlflow_at
from tests.file_rights import rights_count
from tests.handmade_drops import take_in, validated_now, write_drop
from tests.made_lists import write_list
from tests.made_outcomes import insert_verdict

D31, F29 = date(2024, 1, 31), date(2024, 2, 29)
LABELS = [("a", True)]


@pytest.fixture
def landing(tmp_path, monkeypatch):
    """A landing directory where drops without manifest.json and _SUCCESS count at once."""
    monkeypatch.setattr(watch, "QUIET_SECONDS", -1)
    directory = tmp_path / "landing"
    directory.mkdir()
    return directory


def later(hours=3):
    """The time in `hours`."""
    return datetime.now(UTC) + timedelta(hours=hours)


def late_at(landing, database_url, now):
    return find_late(landing, database_url, now - TOLD_FOR, now - GRACE)


def states(landing, database_url):
    return [(late.as_of, late.state) for late in late_at(landing, database_url, later())]


def decide(database_url, as_of, version=1, run_id=""):
    append_decisions(database_url, [a_decision(0, as_of=as_of, candidate_version=version, run_id=run_id)])


def made_online(landing, archive, database_url, as_of=D31, labels=LABELS):
    take_in(write_drop(landing, as_of, ["a"], labels), database_url, archive)
    apply_definitions(database_url)
    materialize(as_of, database_url)


@pytest.fixture(autouse=True)
def registry(mlflow_uri):
    """An empty registered model, of which every test may ask."""
    from mlflow import MlflowClient

    client = MlflowClient()
    client.create_registered_model("streamflow_churn")
    return client


def register(registry, database_url, as_of=D31):
    """A version of `as_of` tagged as trained on the current drops."""
    tags = {"as_of": as_of.isoformat(), DROPS: drops_of_now(database_url, as_of)}
    return int(registry.create_model_version("streamflow_churn", "/none", tags=tags).version)


def drops_of_now(database_url, as_of=D31):
    with connect(database_url) as connection:
        return to_tag(drops_of(connection, [as_of])[as_of])


# --- how far it has come -----------------------------------------------------------------------------------------


def test_without_any_drop_nothing_is_late(landing, database_url):
    assert check_deadline(landing, database_url, now=later()).outcome == DONE


def test_a_drop_that_was_not_loaded_is_late_and_so_is_one_that_never_became_complete(landing, database_url):
    write_drop(landing, D31, ["a"])
    (write_drop(landing, F29, ["a"]).path / "users.csv").unlink()
    assert states(landing, database_url) == [(D31, "landed"), (F29, "incomplete")]


def test_a_drop_of_a_future_date_is_reported_with_advice(landing, database_url):
    write_drop(landing, date(2124, 2, 29), ["a"])
    with pytest.raises(DeadlineMissed, match=r"after today since .*: 2124-02-29; .*rename its directory"):
        check_deadline(landing, database_url, now=later())


def test_a_drop_that_was_withdrawn_is_not_late_though_its_directory_is_there(landing, archive, database_url):
    take_in(write_drop(landing, D31, ["a"], LABELS), database_url, archive)
    withdraw(D31, "ada", "a test", database_url)
    assert states(landing, database_url) == []


def test_a_drop_removed_during_the_check_does_not_hide_the_others(landing, database_url, monkeypatch, caplog):
    caplog.set_level("INFO")
    for as_of in (D31, F29):
        (write_drop(landing, as_of, ["a"]).path / "users.csv").unlink()
    whole = late.is_complete

    def and_then_it_is_moved(drop):
        found = whole(drop)
        if drop.as_of == D31:
            drop.path.rename(landing.parent / "moved")
        return found

    monkeypatch.setattr(late, "is_complete", and_then_it_is_moved)
    assert states(landing, database_url) == [(F29, "incomplete")]
    assert "2024-01-31 was moved away during the check" in caplog.text


def test_neither_a_withdrawn_drop_nor_one_after_today_counts_as_the_newest(landing, archive, database_url):
    take_in(write_drop(landing, F29, ["a"], LABELS), database_url, archive)
    withdraw(F29, "ada", "a test", database_url)
    write_drop(landing, D31, ["a"])
    write_drop(landing, date(2124, 2, 29), ["a"])
    found = find_missing(landing, database_url, 1, datetime(2024, 3, 5, tzinfo=UTC))
    assert found == "the newest drop is of 2024-01-31, and one is expected every 1 days: ask whoever sends them"


@pytest.mark.parametrize("name", [".", "users.csv"])
def test_an_unreadable_drop_is_reported_and_does_not_hide_the_others(reachable, landing, database_url, caplog, name):
    (write_drop(landing, D31, ["a"]).path / name).chmod(0)
    write_drop(landing, F29, ["a"])
    with rights_count():
        assert states(landing, database_url) == [(D31, "unreadable"), (F29, "landed")]
        with pytest.raises(DeadlineMissed, match=r"unreadable since .*: 2024-01-31; landed .*chmod"):
            check_deadline(landing, database_url, every_days=31, now=later())
    assert "2024-01-31 cannot be read: [Errno 13] Permission denied" in caplog.text


def test_an_unreadable_correction_is_reported_despite_an_earlier_decision(reachable, landing, archive, database_url):
    take_in(write_drop(landing, D31, ["a"], LABELS), database_url, archive)
    decide(database_url, D31)
    (write_drop(landing, D31, ["a", "b"], LABELS).path / "users.csv").chmod(0)
    with rights_count():
        assert states(landing, database_url) == [(D31, "unreadable")]


def test_a_held_drop_is_not_late_since_its_hold_has_alerted(landing, archive, database_url):
    drop = write_drop(landing, D31, ["a"], LABELS)
    take_in(drop, database_url, archive)
    decide(database_url, D31)
    held = write_drop(landing, F29, ["b"])
    assert states(landing, database_url) == [(F29, "landed")]
    with pytest.raises(DropHeld):
        validate(held, database_url, archive)
    assert states(landing, database_url) == []
    assert check_deadline(landing, database_url, now=later()).reason.endswith(
        "but 2024-02-29: held for a person, which was alerted"
    )


def test_a_drop_that_was_loaded_may_be_taken_out_of_the_landing_directory(landing, archive, database_url):
    drop = write_drop(landing, D31, ["a"], LABELS)
    take_in(drop, database_url, archive)
    decide(database_url, D31)
    (drop.path / "users.csv").unlink()
    assert states(landing, database_url) == []


def test_a_late_drop_is_reported_with_its_last_step(landing, archive, database_url, registry):
    drop = write_drop(landing, D31, ["a"], LABELS)
    load(validate(drop, database_url, archive), database_url, archive)
    told = states(landing, database_url)
    build_snapshots(D31, database_url)
    told += states(landing, database_url)
    apply_definitions(database_url)
    materialize(D31, database_url)
    told += states(landing, database_url)
    version = register(registry, database_url)
    told += states(landing, database_url)
    decide(database_url, D31, version)
    told += states(landing, database_url)
    assert told == [(D31, "loaded"), (D31, "snapshotted"), (D31, "materialized"), (D31, "trained")]


def test_a_date_older_than_the_served_one_needs_a_decision_too(landing, archive, database_url, registry):
    made_online(landing, archive, database_url, F29)
    made_online(landing, archive, database_url, D31)
    decide(database_url, F29)
    assert states(landing, database_url) == [(D31, "materialized")]


def test_a_drop_without_trainable_labels_is_done_when_it_is_online(landing, archive, database_url):
    take_in(write_drop(landing, D31, ["a"]), database_url, archive)
    assert states(landing, database_url) == [(D31, "snapshotted")]
    apply_definitions(database_url)
    materialize(D31, database_url)
    assert states(landing, database_url) == []


def test_a_decided_date_stays_done_when_retention_deletes_its_snapshot(landing, archive, database_url):
    take_in(write_drop(landing, D31, ["a"], LABELS), database_url, archive)
    decide(database_url, D31)
    with connect(database_url) as connection:
        connection.execute("DELETE FROM snapshots.builds")
    assert states(landing, database_url) == []


# --- corrections -------------------------------------------------------------------------------------------------


def corrected(landing, archive, database_url, registry):
    """January, decided on, then corrected and online again; the decided version."""
    made_online(landing, archive, database_url)
    version = register(registry, database_url)
    decide(database_url, D31, version)
    made_online(landing, archive, database_url, labels=[("a", False)])
    return version


def test_a_corrected_drop_needs_a_decision_of_its_own(landing, archive, database_url, registry):
    corrected(landing, archive, database_url, registry)
    assert states(landing, database_url) == [(D31, "materialized")]
    decide(database_url, D31, register(registry, database_url))
    assert states(landing, database_url) == []


def test_a_correction_that_changes_no_training_row_needs_none(landing, archive, database_url, registry):
    version = corrected(landing, archive, database_url, registry)
    # As train does where it finds the data unchanged.
    registry.set_model_version_tag("streamflow_churn", str(version), DROPS, drops_of_now(database_url))
    assert states(landing, database_url) == []


def test_a_date_deleted_by_retention_is_not_late(landing, archive, database_url, registry):
    version = corrected(landing, archive, database_url, registry)
    registry.set_model_version_tag("streamflow_churn", str(version), DROPS, drops_of_now(database_url))
    registry.delete_model_version("streamflow_churn", str(version))
    assert states(landing, database_url) == []


def test_an_unloaded_change_is_late_despite_an_earlier_decision(landing, archive, database_url):
    take_in(write_drop(landing, D31, ["a"], LABELS), database_url, archive)
    decide(database_url, D31)
    write_drop(landing, D31, ["a", "b"], LABELS)
    assert states(landing, database_url) == [(D31, "landed")]


# --- the list ----------------------------------------------------------------------------------------------------


@pytest.fixture
def decided(landing, archive, database_url, registry):
    """January, decided on by a version that is in Production, and not scored."""
    made_online(landing, archive, database_url)
    version = register(registry, database_url)
    decide(database_url, D31, version)
    to_production(registry, version)
    return version


def to_production(registry, version):
    registry.transition_model_version_stage("streamflow_churn", str(version), "Production")


def test_a_decided_drop_is_late_until_it_is_scored(decided, landing, database_url, tmp_path):
    assert states(landing, database_url) == [(D31, "decided")]
    with pytest.raises(DeadlineMissed, match=r"decided means that it is not scored: look at the runs of churn_score"):
        check_deadline(landing, database_url, now=later())
    write_list(database_url, tmp_path / "scores", D31)
    assert states(landing, database_url) == []


def test_a_drop_that_needs_no_decision_needs_a_list(decided, landing, archive, database_url, tmp_path):
    write_list(database_url, tmp_path / "scores", D31)
    made_online(landing, archive, database_url, F29, labels=None)
    decide(database_url, F29)
    assert states(landing, database_url) == [(F29, "decided")]


def test_the_list_of_an_earlier_snapshot_or_of_a_withdrawn_drop_does_not_count(
    decided, landing, archive, database_url, tmp_path, registry
):
    write_list(database_url, tmp_path / "scores", D31)
    take_in(write_drop(landing, D31, ["a", "b"], LABELS), database_url, archive)
    decide(database_url, D31)
    assert states(landing, database_url) == [(D31, "decided")]
    write_list(database_url, tmp_path / "scores", D31)
    assert states(landing, database_url) == []
    with connect(database_url) as connection:
        execute(connection, "scores/mark_withdrawn", {"as_of": D31})
    assert states(landing, database_url) == [(D31, "decided")]


def test_a_date_that_no_version_may_score_is_not_late(decided, landing, archive, database_url, registry):
    to_production(registry, register(registry, database_url, F29))
    registry.transition_model_version_stage("streamflow_churn", str(decided), "Archived")
    assert states(landing, database_url) == []


def test_a_list_or_a_snapshot_that_retention_deleted_is_not_late(decided, landing, database_url, tmp_path):
    write_list(database_url, tmp_path / "scores", D31)
    with connect(database_url) as connection:
        connection.execute("UPDATE scores.runs SET expired_at = now()")
    assert states(landing, database_url) == []
    with connect(database_url) as connection:
        connection.execute("TRUNCATE scores.runs")
        execute(connection, "retention/mark_snapshot", {"as_of": D31})
    assert states(landing, database_url) == []


def test_a_drop_from_before_the_upgrade_to_lists_needs_none(decided, landing, database_url):
    with connect(database_url) as connection:
        connection.execute("UPDATE churn_migrations SET applied_at = now() WHERE name = '0012_scores'")
    assert states(landing, database_url) == []


def test_labels_of_a_scored_date_are_late_until_they_are_judged(decided, landing, database_url, tmp_path):
    write_list(database_url, tmp_path / "scores", D31, decided)
    with connect(database_url) as connection:
        # write_list() names a run, and the registered version has none.
        connection.execute("UPDATE scores.runs SET model_run_id = ''")
    assert states(landing, database_url) == [(D31, "scored")]
    insert_verdict(database_url, decided, "", "as promised", D31)
    assert states(landing, database_url) == []


def test_labels_whose_version_was_deleted_need_no_judgement(decided, landing, database_url, tmp_path):
    write_list(database_url, tmp_path / "scores", D31, decided + 1)
    assert states(landing, database_url) == []


def test_an_unscored_drop_is_late_while_mlflow_is_down(decided, landing, database_url, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with mlflow_at("http://127.0.0.1:1"):
        assert states(landing, database_url) == [(D31, "decided (MLflow cannot be asked)")]


# --- when --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("age", "told"),
    [(GRACE - timedelta(minutes=1), 0), (GRACE + timedelta(minutes=1), 1), (TOLD_FOR - timedelta(minutes=1), 1),
     (TOLD_FOR + timedelta(minutes=1), 0)],
    ids=["too early to say", "late", "late for days", "told for a week"],
)  # fmt: skip
@pytest.mark.parametrize("is_loaded", [False, True], ids=["landed", "loaded"])
def test_a_late_drop_is_reported_from_two_hours_to_a_week_after_arrival(
    landing, archive, database_url, is_loaded, age, told
):
    drop = write_drop(landing, D31, ["a"])
    if is_loaded:
        load(validated_now(validate(drop, database_url, archive)), database_url, archive)
    assert len(late_at(landing, database_url, datetime.now(UTC) + age)) == told


def test_a_renamed_drop_arrives_at_the_time_of_the_rename(landing, tmp_path, database_url):
    drop = write_drop(tmp_path / "elsewhere", D31, ["a"])
    before = datetime.now(UTC)
    os.rename(drop.path, landing / D31.isoformat())
    (late,) = late_at(landing, database_url, later())
    assert before - timedelta(seconds=1) <= late.since <= datetime.now(UTC)


# --- what is said ------------------------------------------------------------------------------------------------


def test_late_drops_are_grouped_by_state_with_advice(landing, archive, database_url):
    take_in(write_drop(landing, D31, ["a"]), database_url, archive)
    for day in (date(2024, 2, 28), F29):
        write_drop(landing, day, ["a"])
    with pytest.raises(DeadlineMissed) as missed:
        check_deadline(landing, database_url, now=later())
    landed, snapshotted, *advice = str(missed.value).split("; ")
    assert re.fullmatch(r"landed since 20.* UTC: 2024-02-28, 2024-02-29", landed)
    assert re.fullmatch(r"snapshotted since 20.* UTC: 2024-01-31", snapshotted)
    assert [each.partition(":")[0] for each in advice] == [
        "landed means that it is not loaded",
        "snapshotted means that its features are not online",
    ]


def test_an_alert_has_room_for_every_date_of_a_month_and_a_missing_drop(landing, database_url):
    days = [date(2024, 1, day) for day in range(1, 32)]
    for day in days:
        write_drop(landing, day, ["a"])
    with pytest.raises(DeadlineMissed) as missed:
        check_deadline(landing, database_url, every_days=1, now=later())
    told = f"DeadlineMissed: {missed.value}"[:600]
    assert told.startswith("DeadlineMissed: the newest drop is of 2024-01-31, and one is expected every 1 days")
    assert [day for day in days if str(day) not in told] == []


def test_late_dates_are_reported_while_mlflow_is_down(landing, archive, database_url, monkeypatch):
    made_online(landing, archive, database_url, D31)
    made_online(landing, archive, database_url, F29)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with mlflow_at("http://127.0.0.1:1"), pytest.raises(DeadlineMissed) as missed:
        check_deadline(landing, database_url, now=later())
    assert "2024-01-31, 2024-02-29; materialized (MLflow cannot be asked) means that" in str(missed.value)


@pytest.mark.parametrize(
    ("today", "every", "missed"),
    [(1, 1, False), (2, 1, True), (31, 31, False), (32, 31, True), (400, None, False)],
    ids=["yesterday's is there", "yesterday's is not", "a month ago", "longer than a month", "nobody promised any"],
)
def test_a_missing_promised_drop_is_reported(landing, archive, database_url, today, every, missed):
    take_in(write_drop(landing, D31, ["a"]), database_url, archive)
    shutil.rmtree(find_drop(landing, D31).path)
    at = datetime(2024, 1, 31, 6, tzinfo=UTC) + timedelta(days=today)
    if missed:
        with pytest.raises(DeadlineMissed, match=f"newest drop is of 2024-01-31, and one is expected every {every} d"):
            check_deadline(landing, database_url, every_days=every, now=at)
    else:
        assert check_deadline(landing, database_url, every_days=every, now=at).outcome == DONE


def test_an_unreadable_drop_does_not_count_as_the_promised_one(reachable, landing, database_url):
    (write_drop(landing, D31, ["a"]).path / "users.csv").chmod(0)
    at = datetime(2024, 2, 1, tzinfo=UTC)
    with rights_count(), pytest.raises(DeadlineMissed, match="there is no drop"):
        check_deadline(landing, database_url, every_days=1, now=at)


def test_a_missing_first_promised_drop_is_reported(landing, database_url):
    with pytest.raises(DeadlineMissed, match="there is no drop, and one is expected every 1 days"):
        check_deadline(landing, database_url, every_days=1)


# --- versions that learned from erased customers -------------------------------------------------------------------


def in_production_since_an_erasure(registry, database_url, days, *, learned=True):
    """A version in Production with a row in erasure.versions of that many days ago."""
    run_id = registry.create_run("0").info.run_id
    version = registry.create_model_version("streamflow_churn", "/none", run_id=run_id).version
    registry.transition_model_version_stage("streamflow_churn", version, "Production")
    with connect(database_url) as connection:
        connection.execute(
            "INSERT INTO erasure.requests (request, who, why, customers) VALUES ('r', 'ada', 'asked', 1);"
            f" INSERT INTO erasure.versions (version, run_id, request, learned, erased_at)"
            f" VALUES ({version}, '{run_id}', 'r', {learned}, now() - interval '{days} days')"
        )
    return version


@pytest.mark.parametrize(("days", "setting", "alerted"), [(29, "", False), (31, "", True), (31, "60", False)])
def test_a_version_in_production_that_is_not_replaced_in_time_is_alerted(
    registry, landing, database_url, monkeypatch, days, setting, alerted
):
    monkeypatch.setenv("CHURN_REPLACE_DAYS", setting)
    version = in_production_since_an_erasure(registry, database_url, days)
    if not alerted:
        assert check_deadline(landing, database_url).outcome == DONE
        return
    with pytest.raises(DeadlineMissed, match=rf"^version {version} in Production learned .*: run the newest AS_OF"):
        check_deadline(landing, database_url)


def test_a_version_that_was_only_graded_on_the_erased_is_not_alerted(registry, landing, database_url):
    in_production_since_an_erasure(registry, database_url, 31, learned=False)
    assert check_deadline(landing, database_url).outcome == DONE


def test_a_replaced_version_is_not_alerted(registry, landing, database_url):
    version = in_production_since_an_erasure(registry, database_url, 31)
    registry.transition_model_version_stage("streamflow_churn", version, "Archived")
    assert check_deadline(landing, database_url).outcome == DONE


def test_while_mlflow_is_down_it_is_reported_that_production_is_unknown(registry, landing, database_url, monkeypatch):
    in_production_since_an_erasure(registry, database_url, 31)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with mlflow_at("http://127.0.0.1:1"), pytest.raises(DeadlineMissed, match="is unknown: check that MLflow runs"):
        check_deadline(landing, database_url)


# --- requests to erase customers -----------------------------------------------------------------------------------


def asked(database_url, request, days, ended=False):
    """A request on record, asked so many days ago."""
    with connect(database_url) as connection:
        connection.execute(
            "INSERT INTO erasure.requests (request, asked_at, who, why, customers, ended_at)"
            " VALUES (%s, now() - make_interval(days => %s), 'ada', 'asked', 1, CASE WHEN %s THEN now() END)",
            (request, days, ended),
        )


@pytest.mark.parametrize(("days", "ended"), [(6, False), (8, True)], ids=["it is young", "it ended"])
def test_a_request_that_is_young_or_ended_is_not_alerted(landing, database_url, days, ended):
    asked(database_url, "a", days, ended)
    assert check_deadline(landing, database_url).outcome == DONE


def test_a_request_that_does_not_end_is_alerted_with_its_name_and_what_to_do(landing, database_url):
    asked(database_url, "a", 8)
    day = f"{datetime.now(UTC) - timedelta(days=8):%Y-%m-%d}"
    with pytest.raises(
        DeadlineMissed, match=rf"not ended after 7 days: a of {day}: clear the red task .*; if .*, make erase again"
    ):
        check_deadline(landing, database_url)


def test_of_many_requests_the_oldest_are_named_and_late_drops_too(landing, database_url):
    for number in range(5):
        asked(database_url, f"r{number}", 8 + number)
    write_drop(landing, D31, ["a"])
    with pytest.raises(DeadlineMissed, match=r": r4 of .*, r3 of .*, r2 of \S+ and 2 more: .*; landed since"):
        check_deadline(landing, database_url, now=later())
