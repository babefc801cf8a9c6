"""A proof that a compiled pipeline answers as the pipeline does: it holds, and it notices what goes wrong elsewhere."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from compiled_models import GOLDEN, RECIPES, SERVICE, THRESHOLD, TYPES, customers, fitted
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.pipeline import Pipeline

from churn.scoring.check import ALLOWED, Proof, prove
from churn.scoring.classifiers import Compute
from churn.scoring.compiled import CompiledScorer, compile_pipeline
from churn.scoring.proof_rows import numbers_around, proof_rows, whole_around

recipes = pytest.mark.parametrize("recipe", RECIPES, ids=lambda each: str(RECIPES[each]))


@pytest.fixture
def forest() -> Pipeline:
    return fitted("random forest")


@pytest.fixture
def boosted() -> Pipeline:
    return fitted("boosted trees")


def prove_wrong(pipeline: Pipeline, scorer: CompiledScorer, probability: Compute) -> Proof:
    """Return the proof of a scorer with another way to its probabilities."""
    wrong = replace(scorer, classifier=replace(scorer.classifier, probability=probability))
    return prove(wrong, pipeline, SERVICE, GOLDEN, THRESHOLD)


@recipes
def test_a_proof_holds_and_tries_thousands_of_rows(recipe):
    pipeline = fitted(*recipe)
    scorer = compile_pipeline(pipeline, SERVICE)
    proof = prove(scorer, pipeline, SERVICE, GOLDEN, THRESHOLD)
    assert proof.holds, proof
    assert proof.rows > (2000 if scorer.classifier.trees else 500)
    assert proof.largest_difference <= 1e-12


def test_a_proof_tries_every_null_unknown_texts_and_both_sides_of_splits(boosted):
    scorer = compile_pipeline(boosted, SERVICE)
    rows = proof_rows(scorer, GOLDEN, TYPES)
    assert all(any(row[name] is None for row in rows) for name in TYPES)
    assert {"unseen", "", "dsl"} <= {row["net_service"] for row in rows}
    trees = scorer.classifier.trees
    asked = trees.inner & (trees.feature == scorer.encoder.numbers.index("watch_hours_30d"))
    tried = {row["watch_hours_30d"] for row in rows}
    for threshold in (trees.threshold[asked].min(), trees.threshold[asked].max()):
        assert {threshold, np.nextafter(threshold, np.inf), np.nextafter(threshold, -np.inf)} <= tried


def test_a_proof_tries_whole_numbers_where_online_features_are_whole(forest):
    rows = proof_rows(compile_pipeline(forest, SERVICE), GOLDEN, TYPES)
    assert {type(row["months_active"]) for row in rows} == {int, type(None)}


def test_the_same_scorer_is_proved_on_the_same_rows(forest):
    scorer = compile_pipeline(forest, SERVICE)
    assert proof_rows(scorer, GOLDEN, TYPES) == proof_rows(scorer, GOLDEN, TYPES)


def test_a_proof_notices_a_forest_that_compares_in_double_precision(forest):
    scorer = compile_pipeline(forest, SERVICE)
    trees = scorer.classifier.trees
    columns = scorer.encoder.encode(GOLDEN)
    assert trees.sums(columns) / trees.count == pytest.approx(scorer.probabilities(GOLDEN), abs=1e-12)
    assert not prove_wrong(forest, scorer, lambda columns: trees.sums(columns) / trees.count).holds


@pytest.mark.parametrize(
    "change",
    [lambda threshold: threshold.astype(np.float32).astype(float), lambda threshold: np.nextafter(threshold, -np.inf)],
    ids=["single precision", "less than"],
)
def test_a_proof_notices_boosted_trees_that_compare_otherwise(boosted, change):
    scorer = compile_pipeline(boosted, SERVICE)
    trees = replace(scorer.classifier.trees, threshold=change(scorer.classifier.trees.threshold))
    others = customers(5, seed=6)
    assert expit(trees.sums(scorer.encoder.encode(others))) == pytest.approx(scorer.probabilities(others), abs=1e-12)
    assert not prove_wrong(boosted, scorer, lambda columns: expit(trees.sums(columns))).holds


@recipes
@pytest.mark.parametrize("wrong", ["NULL is False", "unknown is the first category", "another median"])
def test_a_proof_notices_wrong_columns(recipe, wrong):
    pipeline = fitted(*recipe)
    scorer = compile_pipeline(pipeline, SERVICE)
    *booleans, text = scorer.encoder.codes
    changes: dict[str, Any] = {
        "NULL is False": {"codes": (*(replace(each, unknown=(0.0,)) for each in booleans), text)},
        "unknown is the first category": {"codes": (*booleans, replace(text, unknown=(1.0, 0.0, 0.0)))},
        "another median": {"medians": scorer.encoder.medians + 40},
    }
    broken = replace(scorer, encoder=replace(scorer.encoder, **changes[wrong]))
    assert not prove(broken, pipeline, SERVICE, GOLDEN, THRESHOLD).holds


def test_a_proof_counts_labels_that_differ_however_little_probabilities_do(forest):
    scorer = compile_pipeline(forest, SERVICE)
    probability = scorer.classifier.probability
    lower = replace(scorer.classifier, probability=lambda columns: np.nextafter(probability(columns), 0))
    threshold = scorer.probabilities(GOLDEN[:1]).item()
    proof = prove(replace(scorer, classifier=lower), forest, SERVICE, GOLDEN, threshold)
    assert proof.largest_difference < ALLOWED
    assert proof.different_labels > 0
    assert not proof.holds


def test_no_number_is_a_difference(forest):
    scorer = compile_pipeline(forest, SERVICE)
    assert not prove_wrong(forest, scorer, lambda columns: np.full(len(columns), np.nan)).holds


@given(st.floats(-1e6, 1e6))
def test_whole_numbers_around_a_threshold_are_on_both_sides_of_it(threshold):
    around = whole_around(threshold)
    assert min(around) < threshold < max(around)
    assert (int(threshold) in around) if threshold.is_integer() else (len(around) == 2)


@given(st.floats(-1e6, 1e6, width=64))
def test_numbers_around_a_threshold_are_on_both_sides_in_both_precisions(threshold):
    around = numbers_around(threshold)
    assert {np.nextafter(threshold, -np.inf), threshold, np.nextafter(threshold, np.inf)} <= set(around)
    assert min(around) < threshold < max(around)
    assert len(set(np.array(around, dtype=np.float32).tolist())) >= 3
