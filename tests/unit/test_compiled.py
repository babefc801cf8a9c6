"""A compiled pipeline answers as the pipeline does, and what is not known to the bit is refused."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import skops.io
from compiled_models import GOLDEN, RECIPES, SERVICE, TYPES, customers, fitted
from feast.types import Bool, Float64, Int64, String
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.isotonic import IsotonicRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from churn.registry.model_file import TRUSTED_TYPES
from churn.scoring.compiled import CompiledScorer, NotCompilable, compile_pipeline
from churn.scoring.explanation import explain
from churn.scoring.proof_rows import proof_rows
from churn.scoring.scorer import score_online
from churn.scoring.trees import BLOCK, Tree, flatten
from churn.training.training_set import to_frame
from tests.conftest import THOROUGH

whole = st.integers(-(2**40), 2**40)
VALUES = {
    Int64: whole | st.integers(-5, 80),
    Float64: st.floats(-1e6, 1e6) | whole.map(float),
    Bool: st.booleans(),
    String: st.sampled_from(["DSL", "Fiber optic", "No"]) | st.text(max_size=3),
}
online_rows = st.fixed_dictionaries({name: st.none() | VALUES[dtype] for name, dtype in TYPES.items()})

Both = tuple[Pipeline, CompiledScorer]


@pytest.fixture(params=RECIPES.items(), ids=lambda each: str(each[1]))
def both(request) -> Both:
    """A fitted pipeline, and it compiled as serving gets it: saved and restored."""
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
    rows = proof_rows(scorer, GOLDEN, TYPES)
    assert np.array_equal(scorer.encoder.encode(rows), pipeline[:-1].transform(to_frame(rows, SERVICE)))


def test_probabilities_are_those_of_the_pipeline_for_one_customer_as_for_more_than_a_block(both):
    pipeline, scorer = both
    rows = customers(2 * BLOCK + 3, seed=4)
    expected = score_online(pipeline, rows, SERVICE)
    assert scorer.probabilities(rows) == pytest.approx(expected, rel=0, abs=1e-12)
    alone = [scorer.probabilities([row]).item() for row in rows]
    assert alone == pytest.approx(expected, rel=0, abs=1e-12)


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
    found = {each.feature: each.effect for each in explain(scorer.probabilities, row, background)}
    expected = {each.feature: each.effect for each in explain(pipeline_scores(pipeline), row, background)}
    assert found == pytest.approx(expected, rel=0, abs=1e-12)
    assert any(effect != 0 for effect in found.values())


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


def _scaled(pipeline: Pipeline) -> Pipeline:
    columns = pipeline[0].transform(to_frame(GOLDEN, SERVICE))
    pipeline.steps[1] = ("scale", StandardScaler().fit(columns))
    return pipeline


def _one_step_more(pipeline: Pipeline) -> Pipeline:
    pipeline.steps.insert(1, ("more", "passthrough"))
    return pipeline


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda pipeline: _refitted(pipeline, ExtraTreesClassifier(2)), "ExtraTreesClassifier"),
        (lambda pipeline: _refitted(pipeline, _OtherForest(2)), "_OtherForest"),
        (lambda pipeline: _refitted(pipeline, HistGradientBoostingClassifier(categorical_features=[9])), "categor"),
        (_with_labels, "labels"),
        (_never_seen, "without a value"),
        (_setting("numbers", "strategy", "constant"), "strategy"),
        (_setting("booleans", "unknown_value", -2), "unknown_value"),
        (_setting("texts", "handle_unknown", "infrequent_if_exist"), "handle_unknown"),
        (_scaled, "scaled"),
        (_one_step_more, "steps"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_what_is_not_known_is_refused(forest, change, why):
    with pytest.raises(NotCompilable, match=why):
        compile_pipeline(change(forest), SERVICE)


@pytest.mark.parametrize(("name", "value"), [("method", "isotonic"), ("ensemble", True)])
def test_another_calibration_is_refused(name, value):
    pipeline = fitted("logistic regression", calibrated=True)
    setattr(pipeline[-1], name, value)
    with pytest.raises(NotCompilable, match=name):
        compile_pipeline(pipeline, SERVICE)


def test_another_calibrator_is_refused():
    pipeline = fitted("logistic regression", calibrated=True)
    pipeline[-1].calibrated_classifiers_[0].calibrators = [IsotonicRegression()]
    with pytest.raises(NotCompilable, match="IsotonicRegression"):
        compile_pipeline(pipeline, SERVICE)


def test_a_service_without_a_feature_of_the_pipeline_is_refused(forest):
    lacking = deepcopy(SERVICE)
    lacking.feature_view_projections.pop()
    with pytest.raises(NotCompilable, match="support_tickets_90d"):
        compile_pipeline(forest, lacking)


@pytest.mark.parametrize(
    ("left", "right", "feature", "why"),
    [
        ([0, -1, -1], [0, -1, -1], 0, "lead back"),
        ([1, -1, -1], [1, -1, -1], 0, "meet"),
        ([1, -1, -1], [3, -1, -1], 0, "lead out"),
        ([1, -1, -1], [2, -1, -1], 2, "other columns"),
    ],
)
def test_what_is_no_tree_is_refused(left, right, feature, why):
    arrays = [np.array(each) for each in (left, right, [feature, 0, 0], [0.5, 0.0, 0.0], [0.0, 1.0, 2.0])]
    with pytest.raises(NotCompilable, match=why):
        flatten([Tree(*arrays)], width=2)
