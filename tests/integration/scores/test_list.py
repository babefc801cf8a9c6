"""The list of the real drops: every customer once, scored as serving does, as rows and as files."""

import csv
import hashlib
import json
import random

import mlflow
import numpy as np
import pyarrow.parquet
import pytest

from churn.board import listing
from churn.outcome import UNCHANGED
from churn.scores.words import in_words
from churn.training.cohort import in_cohort
from serving.app import create_app
from serving.settings import Settings
from tests.conftest import FEBRUARY, JANUARY

CUSTOMERS = 7043
BOTH = pytest.mark.parametrize("as_of", [JANUARY, FEBRUARY], ids=str)


@BOTH
def test_every_customer_is_in_the_list_once_and_ranks_have_no_gap(real, as_of):
    rows = real.current(as_of)
    assert [row["rank"] for row in rows] == list(range(1, CUSTOMERS + 1))
    assert len({row["user_id"] for row in rows}) == CUSTOMERS
    order = [(-row["churn_probability"], row["user_id"].encode()) for row in rows]
    assert order == sorted(order)
    assert [row["decile"] for row in rows] == sorted(row["decile"] for row in rows)


@BOTH
def test_the_file_holds_the_rows_of_the_table(real, as_of):
    rows = real.current(as_of)
    table = pyarrow.parquet.read_table(real.folder(as_of, 1) / "scores.parquet").to_pylist()
    for row in table:
        row["reasons"] = json.loads(row["reasons"]) if row["reasons"] else None
    assert table == rows


@BOTH
def test_the_manifest_and_the_run_describe_the_files(real, as_of):
    folder = real.folder(as_of, 1)
    manifest = json.loads((folder / "manifest.json").read_text())
    (run,) = real.query("SELECT * FROM scores.runs WHERE as_of = %s", as_of)
    found = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in manifest["files"]}
    assert found == {name: entry["sha256"] for name, entry in manifest["files"].items()}
    assert run["sha256"] == found["scores.parquet"]
    assert (manifest["rows"], manifest["model_version"], run["rows"]) == (CUSTOMERS, run["model_version"], CUSTOMERS)
    assert {path.name for path in folder.iterdir()} == {"scores.parquet", "top.csv", "manifest.json"}


@BOTH
def test_probability_threshold_fee_and_revenue_belong_together(real, as_of):
    (run,) = real.query("SELECT * FROM scores.runs WHERE as_of = %s", as_of)
    fees = dict(
        (row["user_id"], row["monthly_fee"])
        for row in real.query("SELECT user_id, monthly_fee FROM raw.subscriptions WHERE as_of = %s", as_of)
    )
    for row in real.current(as_of):
        assert row["prediction"] == (row["churn_probability"] >= run["threshold"])
        assert row["monthly_fee"] == fees[row["user_id"]]
        assert row["revenue_at_risk"] == row["churn_probability"] * row["monthly_fee"]


def test_the_top_decile_of_the_gate_cohort_leaves_at_two_and_a_half_times_the_usual_rate(real):
    rows = real.query(
        "SELECT user_id, churn_probability, churn_label FROM scores.current JOIN snapshots.labels_snapshots"
        " USING (user_id, as_of) WHERE as_of = %s",
        JANUARY,
    )
    cohort = [row for row, is_in in zip(rows, in_cohort(row["user_id"] for row in rows), strict=True) if is_in]
    cohort.sort(key=lambda row: -row["churn_probability"])
    left = np.array([row["churn_label"] for row in cohort])
    lift = left[: len(left) // 10].mean() / left.mean()
    assert lift >= 2.5


def test_the_served_date_is_scored_as_predict_does_to_the_bit_with_the_same_reasons(real):
    app = create_app(Settings(real.database_url, mlflow.get_tracking_uri(), poll_seconds=60))
    from serving import state

    state.of(app).model.poll()
    rows = random.Random(1).sample(real.current(FEBRUARY), 1000)
    client = app.test_client()
    answers = client.post("/predict/batch", json={"user_ids": [row["user_id"] for row in rows]}).json["results"]
    for row, answer in zip(rows, answers, strict=True):
        said = answer["prediction"]
        assert (said["churn_probability"], said["prediction"]) == (row["churn_probability"], row["prediction"])
        assert (said["model"]["version"], said["features_as_of"]) == (row["model_version"], str(FEBRUARY))
    top = [row for row in rows if row["decile"] == 1]
    assert len(top) > 50
    for row in top:
        said = client.post("/predict?explain=true", json={"user_id": row["user_id"]}).json
        assert said["churn_probability"] == row["churn_probability"]
        assert said["explanation"]["effects"][:3] == row["reasons"]


def test_only_the_top_decile_has_reasons(real):
    for row in real.current(JANUARY):
        assert (row["reasons"] is not None) == (row["decile"] == 1)


def test_top_csv_holds_the_treat_arm_of_the_top_decile_as_excel_opens_it(real):
    data = (real.folder(JANUARY, 1) / "top.csv").read_bytes()
    assert data.startswith(b"\xef\xbb\xbf")
    assert data.count(b"\r\n") == data.count(b"\n")
    lines = [*csv.DictReader(data.decode("utf-8-sig").splitlines())]
    wanted = [row for row in real.current(JANUARY) if row["decile"] == 1 and row["arm"] == "treat"]
    assert [(line["user_id"], int(line["rank"])) for line in lines] == [(row["user_id"], row["rank"]) for row in wanted]
    assert [line["reason_1"] for line in lines] == [in_words(row["reasons"][0]) for row in wanted]


@BOTH
def test_the_download_of_the_first_tenth_is_top_csv(real, as_of):
    run = listing.read_list(real.database_url, as_of, 1).run
    downloaded = b"".join(listing.contacts(real.database_url, run, depth=10))
    assert downloaded == (real.folder(as_of, 1) / "top.csv").read_bytes()


def test_scoring_again_changes_nothing(real):
    files = {path: path.read_bytes() for path in real.files.rglob("*") if path.is_file()}
    assert [real.score(JANUARY).outcome for _ in range(3)] == [UNCHANGED] * 3
    assert {path: path.read_bytes() for path in real.files.rglob("*") if path.is_file()} == files
    assert len(real.query("SELECT FROM scores.runs WHERE as_of = %s", JANUARY)) == 1


def test_lost_files_are_published_again_with_the_same_bytes(real):
    folder = real.folder(FEBRUARY, 1)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for path in folder.iterdir():
        path.unlink()
    assert real.score(FEBRUARY).outcome == UNCHANGED
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
