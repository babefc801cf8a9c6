"""A compiled pipeline answers as the pipeline does, and what is not known to the bit is refused."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import skops.io
from feast.types import Bool, Float64, Int64, String
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.pipeline import Pipeline

from churn.registry.model_file import TRUSTED_TYPES
from churn.scoring.check import rows_to_prove
from churn.scoring.compiled import CompiledScorer, NotCompilable, compile_pipeline
from churn.scoring.explanation import explain
from churn.scoring.frame import to_frame
from churn.scoring.scorer import PipelineScorer, score_online
from tests.compiled_models import GOLDEN, RECIPES, SERVICE, TYPES, customers, fitted
from tests.conftest import THOROUGH

whole = st.integers(-(2**40), 2**40)
VALUES = {
    Int64: whole | st.integers(-5, 80),
    Float64: st.floats(-1e6, 1e6) | whole.map(float),
    Bool: st.booleans(),
    String: st.sampled_from(["DSL", "Fiber optic", "No"]) | st.text(max_size=3),
}
ARROW = {Int64: pa.int64(), Float64: pa.float64(), Bool: pa.bool_(), String: pa.string()}
online_rows = st.fixed_dictionaries({name: st.none() | VALUES[dtype] for name, dtype in TYPES.items()})

Both = tuple[Pipeline, CompiledScorer]


@pytest.fixture(scope="module", params=RECIPES.items(), ids=lambda each: str(each[1]))
def both(request) -> Both:
    """A fitted pipeline, and it compiled as serving gets it: saved and restored. No test changes them."""
    pipeline = fitted(*request.param[0])
    restored = skops.io.loads(skops.io.dumps(pipeline), trusted=list(TRUSTED_TYPES))
    return pipeline, compile_pipeline(restored, SERVICE)


def pipeline_scores(pipeline: Pipeline) -> Callable[[Any], np.ndarray]:
    return lambda rows: score_online(pipeline, rows, SERVICE)


@pytest.fixture
def forest() -> Pipeline:
    return fitted("random forest")


def test_a_classifier_is_given_the_columns_that_the_pipeline_gives_it(both):
    pipeline, scorer = both
    rows = rows_to_prove(scorer, GOLDEN, TYPES)
    assert np.array_equal(scorer.encoder.encode(rows), pipeline[:-1].transform(to_frame(rows, SERVICE)))


def test_probabilities_are_those_of_the_pipeline(both):
    pipeline, scorer = both
    rows = customers(300, seed=4)
    expected = score_online(pipeline, rows, SERVICE)
    assert scorer.probabilities(rows) == pytest.approx(expected, rel=0, abs=1e-12)


def test_the_result_of_a_row_does_not_depend_on_its_batch_to_the_bit(both):
    scorer = both[1]
    rows = customers(100, seed=4)
    alone = np.concatenate([scorer.probabilities([row]) for row in rows])

    # Beyond a few thousand rows more are the same again, in more memory.
    @given(st.integers(1, 100_000 if THOROUGH else 5_000), st.integers(0, 2**32 - 1))
    @example(1, 0)
    @example(100_000 if THOROUGH else 20_000, 0)
    @settings(max_examples=100 if THOROUGH else 8)
    def same(size: int, seed: int) -> None:
        drawn = np.random.default_rng(seed).integers(0, len(rows), size)
        together = scorer.probabilities([rows[index] for index in drawn.tolist()])
        assert together.tobytes() == alone[drawn].tobytes()

    same()


@pytest.mark.parametrize("family", ["boosted trees", "random forest"])
@pytest.mark.parametrize("calibrated", [False, True])
def test_trees_add_up_to_the_last_bit_of_the_pipeline(family, calibrated):
    pipeline, rows = fitted(family, calibrated), customers(200, seed=5)
    assert np.array_equal(
        compile_pipeline(pipeline, SERVICE).probabilities(rows), score_online(pipeline, rows, SERVICE)
    )


def test_probabilities_are_those_of_the_pipeline_whatever_the_features(both):
    pipeline, scorer = both

    @given(st.lists(online_rows, min_size=1, max_size=20))
    @settings(max_examples=200 if THOROUGH else 25)
    def same(rows: list[dict[str, Any]]) -> None:
        expected = score_online(pipeline, rows, SERVICE)
        assert scorer.probabilities(rows) == pytest.approx(expected, rel=0, abs=1e-9)

    same()


def test_the_explanation_is_that_of_the_pipeline(both):
    pipeline, scorer = both
    row, background = GOLDEN[0], GOLDEN[1:9]
    found = {each.feature: each.effect for each in explain(scorer, [row], background)[0]}
    expected = {each.feature: each.effect for each in explain(PipelineScorer(pipeline, SERVICE), [row], background)[0]}
    assert found == pytest.approx(expected, rel=0, abs=1e-12)
    assert any(effect != 0 for effect in found.values())


@given(rows=st.lists(online_rows, min_size=1, max_size=20))
@settings(max_examples=100 if THOROUGH else 25)
def test_a_table_is_scored_as_its_rows_are_to_the_bit(both, rows):
    _, scorer = both
    table = pa.table({name: pa.array([row[name] for row in rows], ARROW[dtype]) for name, dtype in TYPES.items()})
    assert np.array_equal(scorer.probabilities_of(table), scorer.probabilities(rows))


def test_no_customers_have_no_probabilities(both):
    assert both[1].probabilities([]).shape == (0,)


def test_an_infinite_number_is_refused_as_by_the_pipeline(both):
    row = {**GOLDEN[0], "watch_hours_30d": float("inf")}
    for probabilities in (both[1].probabilities, pipeline_scores(both[0])):
        with pytest.raises(ValueError, match="infinit"):
            probabilities([row])


def test_a_number_beyond_single_precision_is_refused_by_a_forest_as_by_the_pipeline(forest):
    row = {**GOLDEN[0], "watch_hours_30d": 1e39}
    scorer = compile_pipeline(forest, SERVICE)
    with np.errstate(over="ignore"):
        for probabilities in (scorer.probabilities, pipeline_scores(forest)):
            with pytest.raises(ValueError, match="too large"):
                probabilities([row])


def test_a_row_that_lacks_a_feature_is_an_error(both):
    with pytest.raises(KeyError, match="net_service"):
        both[1].probabilities([{name: value for name, value in GOLDEN[0].items() if name != "net_service"}])


class _OtherForest(RandomForestClassifier):
    """A forest that may compute anything."""


def _refitted(pipeline: Pipeline, classifier: Any) -> Pipeline:
    rows = customers(200, seed=7)
    columns = pipeline[:-1].transform(to_frame(rows, SERVICE))
    classifier.fit(columns, np.arange(len(rows)) % 2 == 0)
    pipeline.steps[-1] = ("classifier", classifier)
    return pipeline


def _with_labels(pipeline: Pipeline) -> Pipeline:
    pipeline[-1].classes_ = np.array(["stays", "leaves"])
    return pipeline


def _never_seen(pipeline: Pipeline) -> Pipeline:
    pipeline[0].named_transformers_["numbers"].statistics_[2] = np.nan
    return pipeline


def _setting(step: str, name: str, value: Any) -> Callable[[Pipeline], Pipeline]:
    def change(pipeline: Pipeline) -> Pipeline:
        setattr(pipeline[0].named_transformers_[step], name, value)
        return pipeline

    return change


def _one_step_more(pipeline: Pipeline) -> Pipeline:
    pipeline.steps.insert(1, ("more", "passthrough"))
    return pipeline


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda pipeline: _refitted(pipeline, ExtraTreesClassifier(2)), "ExtraTreesClassifier"),
        (lambda pipeline: _refitted(pipeline, _OtherForest(2)), "_OtherForest"),
        (_with_labels, "labels"),
        (_never_seen, "without a value"),
        (_setting("numbers", "strategy", "constant"), "strategy"),
        (_setting("booleans", "unknown_value", -2), "unknown_value"),
        (_setting("texts", "handle_unknown", "infrequent_if_exist"), "handle_unknown"),
        (_one_step_more, "steps"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_what_is_not_known_is_refused(forest, change, why):
    with pytest.raises(NotCompilable, match=why):
        compile_pipeline(change(forest), SERVICE)


def _of_other_columns(pipeline: Pipeline) -> Pipeline:
    name, function, _ = pipeline[1].transformers_[0]
    pipeline[1].transformers_[0] = (name, function, slice(0, 2))
    return pipeline


def _by_another_function(pipeline: Pipeline) -> Pipeline:
    pipeline[1].named_transformers_["counts"].func = np.sqrt
    return pipeline


@pytest.mark.parametrize(("change", "why"), [(_of_other_columns, "other columns"), (_by_another_function, "func")])
def test_counts_that_are_not_all_taken_by_their_arcsinh_are_refused(change, why):
    with pytest.raises(NotCompilable, match=why):
        compile_pipeline(change(fitted("logistic regression")), SERVICE)


def test_a_pipeline_from_before_counts_were_taken_by_their_arcsinh_is_compiled():
    pipeline = fitted("logistic regression")
    del pipeline.steps[1]
    expected = score_online(pipeline, GOLDEN, SERVICE)
    assert compile_pipeline(pipeline, SERVICE).probabilities(GOLDEN) == pytest.approx(expected, abs=1e-12)


def test_a_mean_of_calibrated_classifiers_is_refused():
    pipeline = fitted("logistic regression", calibrated=True)
    pipeline[-1].calibrated_classifiers_ *= 2
    with pytest.raises(NotCompilable, match="a mean of calibrated classifiers"):
        compile_pipeline(pipeline, SERVICE)


def test_a_service_without_a_feature_of_the_pipeline_is_refused(forest):
    lacking = deepcopy(SERVICE)
    lacking.feature_view_projections.pop()
    with pytest.raises(NotCompilable, match="support_tickets_90d"):
        compile_pipeline(forest, lacking)
