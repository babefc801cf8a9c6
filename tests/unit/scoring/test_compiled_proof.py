"""A proof that a compiled pipeline answers as the pipeline does: it holds, and it notices what goes wrong elsewhere."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.pipeline import Pipeline

from churn.scoring.check import ALLOWED, Proof, prove, rows_to_prove
from churn.scoring.classifiers import Compute
from churn.scoring.compiled import CompiledScorer, compile_pipeline
from tests.compiled_models import GOLDEN, RECIPES, SERVICE, THRESHOLD, TYPES, fitted

recipes = pytest.mark.parametrize("recipe", RECIPES, ids=lambda each: str(RECIPES[each]))


@pytest.fixture
def forest() -> Pipeline:
    return fitted("random forest")


@pytest.fixture
def boosted() -> Pipeline:
    return fitted("boosted trees")


def prove_wrong(pipeline: Pipeline, scorer: CompiledScorer, probability: Compute) -> Proof:
    """Return the proof of a scorer with another way to its probabilities."""
    return prove(replace(scorer, probability=probability), pipeline, SERVICE, GOLDEN, THRESHOLD)


@recipes
def test_a_proof_holds_and_tries_hundreds_of_rows(recipe):
    pipeline = fitted(*recipe)
    scorer = compile_pipeline(pipeline, SERVICE)
    proof = prove(scorer, pipeline, SERVICE, GOLDEN, THRESHOLD)
    assert proof.holds, proof
    assert proof.rows > 500
    assert proof.largest_difference <= 1e-12


def test_a_proof_tries_every_null_and_unknown_texts(boosted):
    rows = rows_to_prove(compile_pipeline(boosted, SERVICE), GOLDEN, TYPES)
    assert all(any(row[name] is None for row in rows) for name in TYPES)
    assert {"unseen", "", "dsl"} <= {row["net_service"] for row in rows}


@recipes
@pytest.mark.parametrize("wrong", ["NULL is False", "unknown is the first category", "another median"])
def test_a_proof_notices_wrong_columns(recipe, wrong):
    pipeline = fitted(*recipe)
    scorer = compile_pipeline(pipeline, SERVICE)
    *booleans, text, other_text = scorer.encoder.codes
    changes: dict[str, Any] = {
        "NULL is False": {"codes": (*(replace(each, unknown=(0.0,)) for each in booleans), text, other_text)},
        "unknown is the first category": {"codes": (*booleans, replace(text, unknown=(1.0, 0.0, 0.0)), other_text)},
        "another median": {"medians": scorer.encoder.medians + 40},
    }
    broken = replace(scorer, encoder=replace(scorer.encoder, **changes[wrong]))
    assert not prove(broken, pipeline, SERVICE, GOLDEN, THRESHOLD).holds


def test_a_proof_counts_labels_that_differ_however_little_probabilities_do(forest):
    scorer = compile_pipeline(forest, SERVICE)
    probability = scorer.probability
    lower = replace(scorer, probability=lambda columns: np.nextafter(probability(columns), 0))
    threshold = scorer.probabilities(GOLDEN[:1]).item()
    proof = prove(lower, forest, SERVICE, GOLDEN, threshold)
    assert proof.largest_difference < ALLOWED
    assert proof.different_labels > 0
    assert not proof.holds


def test_no_number_is_a_difference(forest):
    scorer = compile_pipeline(forest, SERVICE)
    assert not prove_wrong(forest, scorer, lambda columns: np.full(len(columns), np.nan)).holds
