"""The pictures of a decision, drawn from handmade scores."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest

from churn import statistics
from churn.report.importance import importance_of
from churn.report.page import said
from churn.report.pictures import POINTS, Graded, draw_scores, thin, wilson
from churn.report.pictures_of_checks import draw_differences, draw_importance, draw_slices
from churn.report.plotting import DARK

INTERVAL = {"value": -0.01, "low": -0.04, "high": 0.02}
SVG = "{http://www.w3.org/2000/svg}"


def graded(rows=1400, **changed):
    random = np.random.default_rng(3)
    truth = random.beta(1.6, 4, rows)
    labels = random.random(rows) < truth
    scores = {
        "candidate": np.clip(truth + random.normal(0, 0.08, rows), 0, 1),
        "Production": np.clip(truth + random.normal(0, 0.12, rows), 0, 1),
        "anchor": np.clip(truth + random.normal(0, 0.2, rows), 0, 1),
    }
    names = {who: f"{who} (version {place + 1})" for place, who in enumerate(scores)}
    made = {"where": "The gate cohort", "labels": labels, "scores": scores, "names": names, "threshold": 0.4}
    return Graded(**(made | changed))


def slices(*harmed):
    names = ("net_service=Fiber optic", "net_service=No", "tenure below 12 months", "senior")
    return [
        {"name": name, "rows": 300, "churned": 80, "difference": INTERVAL, "harmed": name in harmed} for name in names
    ]


def text_of(picture):
    return " ".join(each.text or "" for each in ET.fromstring(picture.svg).iter(f"{SVG}text"))


@pytest.fixture(scope="module")
def pictures():
    return {each.name: each for each in draw_scores(graded())}


def test_every_kind_of_picture_is_drawn(pictures):
    assert list(pictures) == ["roc", "precision_recall", "calibration", "scores"]


def test_the_same_scores_give_the_same_bytes(pictures):
    assert {each.name: each.svg for each in draw_scores(graded())} == {n: p.svg for n, p in pictures.items()}


def test_a_picture_of_many_rows_is_not_larger_than_one_of_few(pictures):
    for picture in draw_scores(graded(rows=40_000)):
        assert len(picture.svg) < 40_000
        assert len(picture.svg) < 2 * len(pictures[picture.name].svg)


def test_a_picture_names_the_versions_and_labels_its_axes(pictures):
    said = text_of(pictures["roc"])
    assert "candidate (version 1): AUC 0." in said
    assert "Production (version 2): AUC 0." in said
    assert "customers who left, found (share)" in said


def test_without_production_the_candidate_is_drawn_alone():
    alone = graded()
    alone = graded(scores={"candidate": alone.scores["candidate"]})
    pictures = draw_scores(alone)
    assert len(pictures) == 4
    assert "Production" not in "".join(map(text_of, pictures))


def test_one_class_gives_no_curves_and_no_rows_give_no_picture():
    assert [each.name for each in draw_scores(graded(labels=np.zeros(1400, dtype=bool)))] == ["calibration", "scores"]
    nobody = np.empty(0)
    assert draw_scores(graded(labels=nobody.astype(bool), scores={"candidate": nobody})) == []


def test_a_name_from_the_data_is_text_and_neither_markup_nor_formula():
    name = "<script>$x^2$ & more"
    [first, *rest] = slices()
    picture = draw_slices([{**first, "name": name}, *rest], 0.05, "The gate cohort")
    assert name in text_of(picture)
    assert "<script" not in picture.svg


def test_a_harmed_slice_is_marked_and_named_in_the_title():
    picture = draw_slices(slices("senior"), 0.05, "The gate cohort")
    assert picture.title == "Slices: harmed senior"
    assert text_of(picture).split().count("harmed") == 2
    assert "nobody harmed" in draw_slices(slices(), 0.05, "The gate cohort").title


def test_uncompared_slices_have_no_picture():
    assert draw_slices([{**each, "difference": None} for each in slices()], 0.05, "The gate cohort") is None


def test_the_difference_is_shown_with_its_interval_and_the_margin():
    given = graded()
    difference = statistics.auc_difference(given.labels, given.scores["candidate"], given.scores["Production"])
    low, high = difference.interval()
    said = text_of(draw_differences({"Production (version 2)": difference}, 0.02, 0.95, "The gate cohort"))
    assert f"{difference.value:+.4f}  ({low:+.4f} to {high:+.4f})" in said
    assert "margin -0.02" in said
    assert "one-sided 95% lower bound" in said


def test_a_picture_on_a_page_uses_css_variables_and_unique_ids(pictures):
    roc, other = pictures["roc"].inline, pictures["precision_recall"].inline
    assert roc.startswith("<svg")
    for colour in DARK:
        assert roc.count(colour) == roc.count(f"var(--c{colour[1:]},{colour})")
    ids = [{each.get("id") for each in ET.fromstring(svg).iter() if each.get("id")} for svg in (roc, other)]
    assert not ids[0] & ids[1]


def test_every_reference_in_a_picture_resolves(pictures):
    root = ET.fromstring(pictures["scores"].inline)
    ids = {each.get("id") for each in root.iter()}
    used = {each.get("{http://www.w3.org/1999/xlink}href") for each in root.iter(f"{SVG}use")} - {None}
    clipped = {each.get("clip-path") for each in root.iter()} - {None}
    assert used
    assert {name[1:] for name in used} <= ids
    assert {name[len("url(#") : -1] for name in clipped} <= ids


def test_a_thinned_curve_keeps_its_ends():
    assert thin(5).tolist() == [0, 1, 2, 3, 4]
    kept = thin(40_001)
    assert (len(kept), kept[0], kept[-1]) == (POINTS, 0, 40_000)


def test_wilsons_interval_holds_the_share_and_stays_within_0_and_1():
    share, rows = np.array([0.0, 0.5, 1.0]), np.array([5, 20, 5])
    low, high = wilson(share, rows)
    assert (low <= share).all()
    assert (share <= high).all()
    assert low.min() >= 0
    assert high.max() <= 1
    assert high[0] == pytest.approx(0.4345, abs=1e-4)  # 0 of 5


def test_importance_finds_the_feature_that_matters_and_is_the_same_every_time():
    import pandas as pd
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    random = np.random.default_rng(1)
    features = pd.DataFrame(random.normal(size=(5000, 3)), columns=["noise", "cause", "more_noise"])
    labels = features["cause"].to_numpy() + random.normal(size=5000) > 0
    pipeline = make_pipeline(LogisticRegression()).fit(features, labels)
    found = importance_of(pipeline, features, labels)
    assert found.rows == 2000
    assert found.mean[1] > 10 * abs(found.mean[0])
    assert importance_of(pipeline, features, labels) == found
    assert "most of all cause" in draw_importance(found, "the gate cohort").title
    assert importance_of(pipeline, features, np.ones(5000, dtype=bool)) is None


@pytest.mark.parametrize(
    ("figure", "words"),
    [
        (None, "\N{EN DASH}"),
        ([], "\N{EN DASH}"),
        ({}, "\N{EN DASH}"),
        ({"C": 1.0}, "C 1"),
        (True, "yes"),
        (0, "0"),
        (0.0, "0"),
        (1358, "1,358"),
        (21319.0, "21,319"),
        (0.123456, "0.1235"),
        (1e-06, "1e-06"),
        ({"value": -0.01, "low": -0.04, "high": 0.02}, "-0.010 (-0.040 to +0.020)"),
        ({"value": 0.83, "low": 0.8, "high": 0.86}, "0.830 (0.800 to 0.860)"),
        ([["months_active", "long"]] * 14, "14 entries"),
        ([1, 2.5], "1, 2.5"),
    ],
)
def test_figures_are_formatted_for_people(figure, words):
    assert said(figure) == words
