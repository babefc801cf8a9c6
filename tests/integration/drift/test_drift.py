"""An AS_OF is held against what its version was trained on, and against an earlier AS_OF."""

from datetime import date, timedelta

import psycopg
import pyarrow as pa
import pytest
from mlflow import MlflowClient

from churn.drift import reading, step
from churn.drift.findings import alert_of, began, drifted_columns, drifted_now, findings
from churn.drift.reading import SCORE
from churn.drift.reference import Profile, profile_of
from churn.drift.rule import TOO_FEW
from churn.drift.step import InputsChanged, NothingToCompare, compare_columns
from churn.drops.withdrawal import withdraw
from churn.features.store import apply_definitions
from churn.outcome import DONE, UNCHANGED
from churn.postgres.database import connect
from tests.conftest import FEBRUARY, JANUARY
from tests.handmade_drops import take_in, write_drop

MARCH = date(2024, 3, 31)


def half_as_much_again(texts):
    return [str(float(text) * 1.5) for text in texts]


def read(world, function, *arguments):
    with connect(world.database_url) as connection:
        return function(connection, *arguments)


def test_true_months_do_not_drift_and_every_feature_and_the_scores_are_compared(world):
    first, second = world.compare(JANUARY), world.run(FEBRUARY)
    assert [(each.outcome, each.figures["references"], each.figures["drifted"]) for each in (first, second)] == [
        (DONE, ["its training data"], []),
        (DONE, ["its training data", str(JANUARY)], []),
    ]
    rows = read(world, findings, FEBRUARY)
    assert {(row.reference, row.reference_as_of) for row in rows} == {("version", None), ("before", JANUARY)}
    columns = [{row.column_name for row in rows if row.reference == name} for name in ("version", "before")]
    assert columns[0] == columns[1]
    assert (len(columns[0]), SCORE in columns[0]) == (16, True)
    assert read(world, alert_of, FEBRUARY) is None
    assert read(world, drifted_now) == []


def test_comparing_again_changes_nothing(world):
    world.compare(JANUARY)
    before = world.query("SELECT * FROM drift.columns")
    assert [world.compare(JANUARY).outcome for _ in range(2)] == [UNCHANGED] * 2
    assert world.query("SELECT * FROM drift.columns") == before


def test_the_reference_of_a_version_is_what_it_was_trained_on_and_is_frozen(world):
    world.compare(JANUARY)
    (frozen,) = world.query("SELECT * FROM drift.version_references")
    assert frozen["learned_from"] == [JANUARY]
    labelled = world.query(
        "SELECT watch_hours_30d AS hours"
        " FROM snapshots.usage_agg_30d_snapshots JOIN snapshots.labels_snapshots USING (user_id, as_of)"
    )
    hours = Profile.from_json(frozen["profiles"]["watch_hours_30d"])
    assert hours == profile_of(pa.array([row["hours"] for row in labelled]))
    world.edit(JANUARY, "usage_agg_30d.csv", "watch_hours_30d", half_as_much_again)
    outcome = world.run(JANUARY)
    assert (outcome.outcome, outcome.figures["revision"]) == (DONE, 2)
    assert "watch_hours_30d" in outcome.figures["drifted"]
    assert world.query("SELECT * FROM drift.version_references") == [frozen]


def test_a_drift_alerts_once_and_ends_with_the_corrected_drop(world):
    world.compare(JANUARY)
    original = (world.landing / str(FEBRUARY) / "usage_agg_30d.csv").read_bytes()
    for month in (FEBRUARY, MARCH):
        world.edit(month, "usage_agg_30d.csv", "watch_hours_30d", half_as_much_again)
        world.run(month)
    assert {row.column_name for row in read(world, drifted_now)} >= {"watch_hours_30d"}
    alert = read(world, alert_of, FEBRUARY)
    assert alert.title.endswith(f"began to drift at {FEBRUARY}")
    assert "- watch_hours_30d: drift: against 2024-01-31: PSI " in alert.body
    assert f"make withdraw AS_OF={FEBRUARY}" in alert.body
    assert "watch_hours_30d" not in {row.column_name for row in read(world, began, MARCH)}
    (world.landing / str(FEBRUARY) / "usage_agg_30d.csv").write_bytes(original)
    assert "watch_hours_30d" not in world.run(FEBRUARY).figures["drifted"]
    assert len(world.query("SELECT DISTINCT revision FROM drift.columns WHERE as_of = %s", FEBRUARY)) == 2
    assert {row.revision for row in read(world, findings, FEBRUARY)} == {2}


def test_new_texts_and_more_nulls_are_findings_of_their_own(world):
    world.compare(JANUARY)
    world.edit(
        FEBRUARY,
        "subscriptions.csv",
        "net_service",
        lambda texts: ["Satellite" if place % 33 == 0 else text for place, text in enumerate(texts)],
    )
    world.edit(
        FEBRUARY,
        "support_agg_90d.csv",
        "ticket_avg_resolution_hrs_90d",
        lambda texts: [None if place % 3 == 0 else text for place, text in enumerate(texts)],
    )
    world.run(FEBRUARY)
    found = {(row.column_name, row.reference): row for row in read(world, findings, FEBRUARY) if row.flagged}
    for reference in ("version", "before"):
        assert found["net_service", reference].finding == "new category"
        assert "'Satellite'" in found["net_service", reference].detail
        assert found["ticket_avg_resolution_hrs_90d", reference].finding == "null spike"


def test_a_flagged_column_has_both_distributions_and_the_others_have_none(world):
    world.compare(JANUARY)
    world.edit(FEBRUARY, "usage_agg_30d.csv", "watch_hours_30d", half_as_much_again)
    world.run(FEBRUARY)
    rows = read(world, findings, FEBRUARY)
    assert {row.flagged for row in rows} == {True, False}
    assert {row.distribution is not None for row in rows if row.flagged} == {True}
    assert {row.distribution for row in rows if not row.flagged} == {None}
    (found,) = [row.distribution for row in rows if (row.column_name, row.reference) == ("watch_hours_30d", "before")]
    assert found["reference"] == pytest.approx([0.1] * 10, abs=0.01)
    assert found["now"][-1] > 0.2
    bound = float(found["bins"][0].removeprefix("up to "))
    shares = world.query(
        "SELECT avg((watch_hours_30d <= %s)::int)::float AS share, as_of FROM snapshots.usage_agg_30d_snapshots"
        " GROUP BY as_of ORDER BY as_of",
        bound,
    )
    first = [found["reference"][0], found["now"][0]]
    assert [row["share"] for row in shares] == pytest.approx(first, abs=0.005)
    flagged = [row for row in rows if row.flagged]
    assert read(world, drifted_columns) == {
        name: sum(row.reference == name for row in flagged) for name in ("version", "before")
    }


def test_a_distribution_is_kept_of_flagged_findings_alone(world):
    world.compare(JANUARY)
    kept = (
        "INSERT INTO drift.columns SELECT (row).* FROM (SELECT jsonb_populate_record(found, %s) AS row"
        " FROM drift.columns found LIMIT 1) other"
    )
    with pytest.raises(psycopg.errors.CheckViolation):
        world.query(kept, '{"revision": 9, "distribution": {}}')


def test_findings_of_a_withdrawn_date_are_kept_and_no_longer_current(world):
    world.compare(JANUARY)
    world.run(FEBRUARY)
    kept = world.query("SELECT * FROM drift.columns")
    withdraw(FEBRUARY, "ada", "the fees are in cents", world.database_url)
    assert read(world, findings, FEBRUARY) == []
    assert {row["as_of"] for row in world.query("SELECT as_of FROM drift.current")} == {JANUARY}
    assert world.query("SELECT * FROM drift.columns") == kept
    with pytest.raises(NothingToCompare, match="there is no snapshot of 2024-02-29"):
        world.compare(FEBRUARY)


def test_scores_of_different_versions_are_not_compared(world):
    world.load(FEBRUARY)
    world.score(FEBRUARY)
    with connect(world.database_url) as connection:
        connection.execute("UPDATE scores.runs SET model_version = 9 WHERE as_of = %s", [FEBRUARY])
    outcome = world.compare(FEBRUARY)
    assert outcome.figures["references"] == [str(JANUARY)]
    assert "version 9 was deleted from MLflow" in outcome.reason
    assert SCORE not in {row.column_name for row in read(world, findings, FEBRUARY)}


def test_a_version_whose_training_drop_changed_before_the_first_comparison_has_no_reference(world):
    world.edit(JANUARY, "usage_agg_30d.csv", "watch_hours_30d", half_as_much_again)
    outcome = world.run(JANUARY)
    assert outcome.outcome == UNCHANGED
    assert "the drop of 2024-01-31 is not the one that version 1 was trained on" in outcome.reason
    assert world.query("SELECT FROM drift.version_references") == []


def test_of_many_customers_the_same_sample_is_compared_on_both_sides(world, monkeypatch):
    monkeypatch.setattr(reading, "SAMPLE", 2000)
    world.run(FEBRUARY)
    sizes = {(row.rows, row.reference_rows) for row in read(world, findings, FEBRUARY) if row.column_name != SCORE}
    assert all(1800 < size < 2200 for pair in sizes for size in pair)
    with connect(world.database_url) as connection:
        asked = connection.execute(
            "SELECT count(*) FROM snapshots.subscriptions_profile_snapshots WHERE as_of = %s"
            " AND substring(sha256(convert_to(%s || ':' || user_id, 'UTF8')) FOR 8) < %s",
            [FEBRUARY, reading.SALT, reading.sampled_below(5982)],
        ).fetchone()
    assert {size for size, _ in sizes} == set(asked)


def test_a_snapshot_that_changes_meanwhile_leaves_no_findings(world, monkeypatch):
    judge = step.judge

    def changed_meanwhile(*arguments):
        world.edit(JANUARY, "usage_agg_30d.csv", "watch_hours_30d", half_as_much_again)
        world.load(JANUARY)
        return judge(*arguments)

    monkeypatch.setattr(step, "judge", changed_meanwhile)
    with pytest.raises(InputsChanged, match="run the task again"):
        world.compare(JANUARY)
    assert world.query("SELECT FROM drift.columns") == []


@pytest.mark.parametrize("table", ["drift.columns", "drift.version_references"])
def test_findings_and_references_are_append_only(world, table):
    world.compare(JANUARY)
    for statement in (f"DELETE FROM {table}", f"TRUNCATE {table}", f"UPDATE {table} SET model_version = 2"):
        with pytest.raises(psycopg.errors.RaiseException, match="is append-only"):
            world.query(statement)


def test_daily_drops_are_held_against_the_same_weekday(database_url, mlflow_uri, tmp_path):
    assert MlflowClient().search_registered_models() == []
    apply_definitions(database_url)
    against = []
    for day in [JANUARY + timedelta(days=days) for days in (0, 1, 2, 7, 8, 16)]:
        take_in(write_drop(tmp_path / "landing", day, "abc"), database_url, tmp_path / "archive")
        against.append(compare_columns(day, database_url).figures.get("references"))
    days = ["2024-01-31", "2024-02-01", "2024-01-31", "2024-02-01", "2024-02-02"]
    assert against == [None, *([each] for each in days)]
    with connect(database_url) as connection:
        last = findings(connection, JANUARY + timedelta(days=16))
    assert {(row.reference, row.finding, row.flagged) for row in last} == {("week before", TOO_FEW, False)}
    assert last[0].detail == "3 rows against 3 of 2024-02-02: 1,000 are needed on both sides"
