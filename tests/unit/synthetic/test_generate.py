import csv
import hashlib
import json
import subprocess
import sys
import threading
from datetime import date, timedelta
from functools import cache
from math import gcd
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import churn.synthetic.generate
from churn.synthetic.drops import ScenarioError, simulate
from churn.synthetic.generate import main, write_drops
from churn.synthetic.observations import ID_DIGITS, ID_LETTERS, ID_STRIDE, user_ids

# As in the design, written out: the contract's own list must not be its own witness.
HEADERS = {
    "users.csv": "user_id,signup_date,user_gender,user_is_senior,has_family,has_dependents",
    "subscriptions.csv": "user_id,months_active,plan_stream_tv,plan_stream_movies,contract_type,"
    "paperless_billing,monthly_fee,total_paid,net_service",
    "usage_agg_30d.csv": "user_id,watch_hours_30d,avg_session_mins_7d,unique_devices_30d,skips_7d,rebuffer_events_7d",
    "payments_agg_90d.csv": "user_id,failed_payments_90d",
    "support_agg_90d.csv": "user_id,support_tickets_90d,ticket_avg_resolution_hrs_90d",
    "labels.csv": "user_id,churn_label",
}
NUMBERS = [
    *("months_active", "monthly_fee", "watch_hours_30d", "avg_session_mins_7d", "unique_devices_30d"),
    *("skips_7d", "rebuffer_events_7d", "failed_payments_90d", "support_tickets_90d"),
    "ticket_avg_resolution_hrs_90d",
]
FACTS = ["paperless_billing", "plan_stream_tv", "plan_stream_movies"]
SEED = 11
INCLUDE = Path(churn.synthetic.generate.__file__).parents[2]


def frame(drop):
    tables = [table.to_pandas().set_index("user_id") for table in drop.tables.values()]
    return pd.concat(tables, axis=1)


@cache
def months(churn_drift=0.0, customers=7000):
    drops = simulate(customers=customers, months=6, seed=SEED, churn_drift=churn_drift)
    return [frame(drop) for drop in drops]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return write_drops(tmp_path_factory.mktemp("drops"), customers=2000, months=3, seed=SEED)


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def contents(paths):
    return {path.name: {file.name: file.read_bytes() for file in path.iterdir()} for path in paths}


def features(customers):
    """The features of churn_v1, as numbers."""
    numbers = customers[NUMBERS].fillna(customers[NUMBERS].mean())
    facts = customers[FACTS].astype("Float64").fillna(-1).astype(float)
    return pd.concat([numbers, facts, pd.get_dummies(customers["net_service"], dtype=float)], axis=1)


def is_cohort(customers):
    """Half of the customers, the same ones in every month."""
    return customers.index.str[-1].map(ord) % 2 == 0


def auc(trained_on, graded_on, model=None):
    model = model or make_pipeline(StandardScaler(), LogisticRegression())
    learners, cohort = trained_on[~is_cohort(trained_on)], graded_on[is_cohort(graded_on)]
    model.fit(features(learners), learners["churn_label"])
    return roc_auc_score(cohort["churn_label"], model.predict_proba(features(cohort))[:, 1])


def test_the_same_arguments_write_the_same_bytes(tmp_path, written):
    again = write_drops(tmp_path, customers=2000, months=3, seed=SEED)
    assert contents(again) == contents(written)


def test_a_seed_writes_these_bytes_on_every_machine(tmp_path):
    # Changes with the model of the customers, and then only the line below is to be written anew.
    *_, last = write_drops(tmp_path, customers=500, months=2, seed=1)
    everything = b"".join((last / name).read_bytes() for name in HEADERS)
    assert hashlib.sha256(everything).hexdigest()[:16] == "631f30c883a9e58d"


def test_another_seed_gives_other_customers():
    one, other = (next(simulate(customers=100, months=1, seed=seed)) for seed in (1, 2))
    assert not set(frame(one).index) & set(frame(other).index)


@given(
    scenario=st.fixed_dictionaries({
        "customers": st.integers(1, 300),
        "seed": st.integers(0, 2**32),
        "daily": st.booleans(),
        "churn_drift": st.floats(0, 1),
        "late_labels": st.integers(0, 2),
    }),
    few=st.integers(1, 3),
    more=st.integers(1, 3),
)  # fmt: skip
@settings(max_examples=20, deadline=None)
def test_a_drop_does_not_depend_on_the_number_of_later_drops(scenario, few, more):
    short = list(simulate(months=few, **scenario))
    assert short == list(simulate(months=few + more, **scenario))[:few]


def test_a_drop_has_the_files_and_columns_of_the_contract(written):
    for drop in written:
        headers = {path.name: path.read_text().split("\n", 1)[0] for path in drop.glob("*.csv")}
        assert headers == HEADERS


def test_the_files_of_a_drop_hold_the_same_customers_each_once(written):
    for drop in written:
        ids = [[row["user_id"] for row in rows_of(drop / name)] for name in HEADERS]
        assert len(set(ids[0])) == len(ids[0])
        assert all(sorted(others) == sorted(ids[0]) for others in ids)


def test_streaming_plans_are_empty_exactly_where_there_is_no_internet_service(written):
    for row in rows_of(written[-1] / "subscriptions.csv"):
        for plan in ("plan_stream_tv", "plan_stream_movies"):
            assert (row[plan] == "") == (row["net_service"] == "No")


def test_total_paid_is_empty_exactly_before_the_first_bill(written):
    rows = rows_of(written[-1] / "subscriptions.csv")
    assert all((row["total_paid"] == "") == (row["months_active"] == "0") for row in rows)
    assert 0 < sum(row["total_paid"] == "" for row in rows) < len(rows) / 10


def test_resolution_time_is_sometimes_empty(written):
    rows = rows_of(written[-1] / "support_agg_90d.csv")
    empty = [row for row in rows if row["ticket_avg_resolution_hrs_90d"] == ""]
    assert 0 < len(empty) < len(rows) / 4
    assert all(row["support_tickets_90d"] == "0" for row in empty)


def test_nothing_else_is_empty(written):
    nullable = {"plan_stream_tv", "plan_stream_movies", "total_paid", "ticket_avg_resolution_hrs_90d"}
    for name in HEADERS:
        for row in rows_of(written[-1] / name):
            assert all(value for column, value in row.items() if column not in nullable)


def test_booleans_are_written_as_true_and_false(written):
    booleans = {
        "users.csv": "user_is_senior",
        "subscriptions.csv": "paperless_billing",
        "labels.csv": "churn_label",
    }
    for name, column in booleans.items():
        assert {row[column] for row in rows_of(written[0] / name)} == {"True", "False"}


def test_user_ids_look_like_the_real_ones():
    assert months()[-1].index.str.fullmatch(r"\d{4}-[A-Z]{5}").all()


def test_no_two_customers_share_an_id():
    assert gcd(ID_STRIDE, ID_DIGITS * ID_LETTERS) == 1
    assert len(np.unique(user_ids(np.arange(300_000), SEED))) == 300_000


def test_marginals_are_near_those_of_the_real_drops():
    # The right-hand sides are those of 2024-01-31.
    customers = months()[0]
    assert customers["net_service"].value_counts(normalize=True)["No"] == pytest.approx(0.217, abs=0.02)
    assert (customers["contract_type"] == "Month-to-month").mean() == pytest.approx(0.550, abs=0.03)
    assert customers["months_active"].mean() == pytest.approx(32.4, abs=1.5)
    assert customers["monthly_fee"].mean() == pytest.approx(64.8, abs=1.5)
    assert customers["watch_hours_30d"].mean() == pytest.approx(29.6, abs=0.5)
    assert customers["watch_hours_30d"].std() == pytest.approx(6.75, abs=0.4)


def test_the_population_stays_within_half_a_percent():
    assert len(months()[0]) == 7000
    assert all(abs(len(customers) - 7000) <= 35 for customers in months())


def test_only_labelled_leavers_are_gone_and_some_come_back():
    for before, after in zip(months(), months()[1:], strict=False):
        gone = ~before.index.isin(after.index)
        assert before[gone]["churn_label"].all()
        assert 0.2 < gone.sum() / before["churn_label"].sum() < 0.36


def test_departed_ids_never_return_and_new_ids_are_new():
    seen, last = set(), set()
    for customers in months():
        present = set(customers.index)
        assert not (present - last) & seen
        if last:
            assert (customers.loc[list(present - last), "months_active"] <= 1).all()
        seen, last = seen | present, present


def test_months_active_grows_by_one_each_month():
    for before, after in zip(months(), months()[1:], strict=False):
        both = before.index.intersection(after.index)
        assert (after.loc[both, "months_active"] - before.loc[both, "months_active"] == 1).all()


def test_signup_date_and_plan_of_a_customer_stay():
    first, last = months()[0], months()[-1]
    both = first.index.intersection(last.index)
    same = ["signup_date", "user_gender", "net_service", "monthly_fee", "paperless_billing"]
    pd.testing.assert_frame_equal(first.loc[both, same], last.loc[both, same])


def test_usage_wanders():
    first, second, *_, last = months()
    one_month = first["watch_hours_30d"].corr(second["watch_hours_30d"])
    five_months = first["watch_hours_30d"].corr(last["watch_hours_30d"])
    assert 0.8 < one_month < 0.97
    assert five_months < one_month - 0.1


@pytest.mark.parametrize("month", range(6))
def test_about_26_percent_leave_each_month(month):
    assert months()[month]["churn_label"].mean() == pytest.approx(0.26, abs=0.025)


@pytest.mark.parametrize("month", range(6))
def test_a_linear_model_reaches_an_auc_of_about_083_each_month(month):
    # 3,500 customers a side: the AUC itself has a standard error of 0.008.
    assert auc(months()[month], months()[month]) == pytest.approx(0.83, abs=0.025)


def test_a_tree_model_reaches_an_auc_of_about_083():
    trees = HistGradientBoostingClassifier(max_iter=60, learning_rate=0.08, max_leaf_nodes=8, random_state=0)
    assert auc(months()[3], months()[3], trees) == pytest.approx(0.83, abs=0.03)


def test_without_drift_an_old_model_stays_as_good():
    assert auc(months()[0], months()[5]) == pytest.approx(auc(months()[5], months()[5]), abs=0.02)


def test_with_drift_an_old_model_gets_worse_month_by_month():
    drifting = months(churn_drift=0.15)
    own, after_three, after_five = (auc(drifting[0], drifting[month]) for month in (0, 3, 5))
    assert own > after_three + 0.02
    assert after_three > after_five + 0.05


def test_with_drift_a_new_model_is_as_good_as_ever():
    last = months(churn_drift=0.15)[5]
    assert auc(last, last) == pytest.approx(0.83, abs=0.04)


def test_drift_changes_nothing_in_the_first_drop():
    pd.testing.assert_frame_equal(months(churn_drift=0.15)[0], months()[0])


def test_late_labels_are_those_of_the_earlier_drop_with_its_as_of():
    scenario = {"customers": 1000, "months": 4, "seed": SEED}
    own, late = list(simulate(**scenario)), list(simulate(**scenario, late_labels=2))
    assert ["labels" in drop.tables for drop in late] == [False, False, True, True]
    for drop, earlier in zip(late[2:], own, strict=False):
        labels = drop.tables["labels"]
        assert set(labels["as_of"].to_pylist()) == {earlier.as_of}
        assert labels.drop(["as_of"]) == earlier.tables["labels"]


def test_late_labels_include_customers_who_are_gone():
    *_, last = simulate(customers=1000, months=2, seed=SEED, late_labels=1)
    labels, customers = (set(last.tables[name]["user_id"].to_pylist()) for name in ("labels", "users"))
    assert labels - customers


def test_a_drop_of_late_labels_names_their_date_in_the_file(tmp_path):
    first, second = write_drops(tmp_path, customers=50, months=2, seed=SEED, late_labels=1)
    assert not (first / "labels.csv").exists()
    assert {row["as_of"] for row in rows_of(second / "labels.csv")} == {first.name}


def test_as_of_goes_from_month_end_to_month_end(written):
    assert [path.name for path in written] == ["2024-01-31", "2024-02-29", "2024-03-31"]


def test_daily_drops_go_by_days_and_change_little():
    start = date(2024, 2, 27)
    drops = list(simulate(customers=3000, months=4, seed=SEED, start=start, daily=True))
    assert [drop.as_of for drop in drops] == [start + timedelta(days=day) for day in range(4)]
    for before, after in zip(map(frame, drops), map(frame, drops[1:]), strict=False):
        assert (~before.index.isin(after.index)).mean() < 0.01
        both = before.index.intersection(after.index)
        assert (after.loc[both, "months_active"] - before.loc[both, "months_active"]).isin([0, 1]).all()


def test_a_month_of_daily_drops_brings_each_customer_one_bill():
    drops = simulate(customers=300, months=30, seed=SEED, start=date(2024, 4, 10), daily=True)
    bills = pd.concat([frame(drop)["months_active"] for drop in drops], axis=1).dropna()
    assert (bills.iloc[:, -1] - bills.iloc[:, 0]).isin([0, 1]).all()
    assert (bills.iloc[:, -1] - bills.iloc[:, 0]).mean() > 0.9


def test_the_manifest_matches_the_files(written):
    for drop in written:
        manifest = json.loads((drop / "manifest.json").read_text())
        assert set(manifest) == set(HEADERS)
        for name, stated in manifest.items():
            data = (drop / name).read_bytes()
            assert stated == {"sha256": hashlib.sha256(data).hexdigest(), "rows": data.count(b"\n") - 1}


def test_a_reader_never_sees_half_a_drop(tmp_path):
    halves, done = [], threading.Event()

    def look():
        while not done.is_set():
            for drop in tmp_path.glob("2*"):
                if {path.name for path in drop.iterdir()} != {*HEADERS, "manifest.json"}:
                    halves.append(drop)

    reader = threading.Thread(target=look)
    reader.start()
    try:
        write_drops(tmp_path, customers=5000, months=3, seed=SEED)
    finally:
        done.set()
        reader.join()
    assert not halves
    assert len(list(tmp_path.iterdir())) == 3


def test_rewriting_the_same_drops_changes_nothing(tmp_path):
    (first,) = write_drops(tmp_path, customers=50, months=1, seed=SEED)
    inode = first.stat().st_ino
    write_drops(tmp_path, customers=50, months=1, seed=SEED)
    assert first.stat().st_ino == inode


def test_an_existing_different_drop_is_not_overwritten(tmp_path):
    written = write_drops(tmp_path, customers=50, months=1, seed=SEED)
    before = contents(written)
    with pytest.raises(ScenarioError, match=r"2024-01-31 holds another drop: remove it"):
        write_drops(tmp_path, customers=50, months=1, seed=SEED + 1)
    assert contents(written) == before
    assert list(tmp_path.iterdir()) == written


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"customers": 0}, "customers must be at least 1, got 0"),
        ({"months": 0}, "months must be at least 1, got 0"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"late_labels": -1}, "late_labels must be at least 0, got -1"),
        ({"start": date(2024, 1, 30)}, "2024-01-30 is not a month end: say 2024-01-31"),
    ],
)
def test_an_impossible_scenario_is_refused(wrong, message):
    with pytest.raises(ScenarioError, match=message):
        simulate(**{"customers": 10, "months": 1, "seed": 1} | wrong)


def test_the_command_writes_the_same_drops_and_reports_progress(tmp_path):
    arguments = "--customers 100 --months 2 --seed 3 --start 2024-05-31 --late-labels 1 --churn-drift 0.1"
    command = [sys.executable, "-m", "churn.synthetic.generate", "--out", tmp_path / "command", *arguments.split()]
    run = subprocess.run(command, cwd=INCLUDE, capture_output=True, text=True, check=True)
    function = write_drops(
        tmp_path / "function",
        customers=100, months=2, seed=3, start=date(2024, 5, 31), late_labels=1, churn_drift=0.1,
    )  # fmt: skip
    assert contents(sorted((tmp_path / "command").iterdir())) == contents(function)
    assert "2024-05-31 (1 of 2): 100 customers" in run.stderr
    assert "2024-06-30 (2 of 2)" in run.stderr


def test_the_command_says_what_is_wrong_with_its_arguments(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(f"--out {tmp_path} --customers 100 --months 2 --seed 3 --start 2024-05-15".split())
    assert "start 2024-05-15 is not a month end: say 2024-05-31" in capsys.readouterr().err


# --- daily drops with a real horizon ------------------------------------------------------------------------------

HORIZON = 28


@pytest.fixture(scope="module")
def days():
    """Seventy daily drops, by AS_OF."""
    drops = simulate(customers=2000, months=70, seed=4, daily=True, label_days=HORIZON)
    return {drop.as_of: drop.tables for drop in drops}


def customers_of(tables):
    return set(tables["users"]["user_id"].to_pylist())


def test_the_labels_of_a_day_come_when_their_horizon_is_over_and_name_its_customers(days):
    first = min(days)
    late = {as_of: tables["labels"] for as_of, tables in days.items() if "labels" in tables}
    assert min(late) == first + timedelta(days=HORIZON)
    assert len(late) == len(days) - HORIZON
    for as_of, labels in late.items():
        of = as_of - timedelta(days=HORIZON)
        assert set(labels["as_of"].to_pylist()) == {of}
        assert set(labels["user_id"].to_pylist()) == customers_of(days[of])


def test_who_is_gone_within_the_horizon_is_a_leaver_and_a_later_leaver_is_not_yet(days):
    first = min(days)
    left = leavers(days[first + timedelta(days=HORIZON)])
    gone = customers_of(days[first]) - customers_of(days[first + timedelta(days=HORIZON)])
    later = customers_of(days[first]) - gone - customers_of(days[max(days)])
    assert gone
    assert gone <= left
    assert later - left, "all who leave later were called leavers"


def test_a_label_covers_every_day_of_its_horizon(days):
    dates = sorted(days)
    for offset in (1, HORIZON):
        gone = customers_of(days[dates[offset - 1]]) - customers_of(days[dates[offset]])
        assert gone & customers_of(days[dates[0]]) <= leavers(days[dates[HORIZON]])


def test_the_churn_rate_of_a_horizon_stays_that_of_a_month(days):
    rates = [np.mean(tables["labels"]["churn_label"].to_numpy()) for tables in days.values() if "labels" in tables]
    assert all(0.22 < rate < 0.31 for rate in rates)


def test_a_drop_with_a_horizon_does_not_depend_on_later_drops(days):
    few = simulate(customers=2000, months=35, seed=4, daily=True, label_days=HORIZON)
    assert {drop.as_of: drop.tables for drop in few} == {day: days[day] for day in sorted(days)[:35]}


@pytest.mark.parametrize("odd", [{"daily": False}, {"daily": True, "late_labels": 1}])
def test_a_horizon_is_for_daily_drops_without_another_delay(odd):
    with pytest.raises(ScenarioError, match="label_days are for daily drops"):
        simulate(customers=10, months=2, seed=1, label_days=HORIZON, **odd)


def leavers(tables):
    labels = tables["labels"]
    return set(labels["user_id"].filter(labels["churn_label"]).to_pylist())
