"""What a model file may hold: a pipeline of types that are trusted, whose classes say which column is churn."""

import pickle
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import skops.io
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from churn.registry.model_file import ModelNotLoadable, read_pipeline
from churn.scoring.scorer import score_online
from tests.compiled_models import GOLDEN, RECIPES, SERVICE, fitted

FEATURES = np.random.default_rng(1).random((200, 3))
LABELS = (FEATURES[:, 0] > 0.5) ^ (np.random.default_rng(2).random(200) < 0.1)
TREE = DecisionTreeClassifier(max_depth=4)


class Touch:
    """What makes a file where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "model.skops"


def written(file, model):
    skops.io.dump(model, file)
    return file


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda each: str(RECIPES[each]))
def test_a_pipeline_of_each_family_is_restored_to_the_bit(file, recipe):
    pipeline = fitted(*recipe)
    restored = read_pipeline(written(file, pipeline))
    assert np.array_equal(score_online(restored, GOLDEN, SERVICE), score_online(pipeline, GOLDEN, SERVICE))


@pytest.mark.parametrize("function", [print, partial(print, "x")], ids=["built in", "partial"])
def test_a_function_is_refused_by_name(file, function):
    written(file, make_pipeline(FunctionTransformer(function)))
    with pytest.raises(ModelNotLoadable, match=r"UntrustedTypes.*(print|partial)"):
        read_pipeline(file)


def test_a_pickle_that_calls_itself_a_skops_file_does_not_run(file, tmp_path):
    file.write_bytes(pickle.dumps(Touch(tmp_path / "ran")))
    with pytest.raises(ModelNotLoadable, match="not a zip file"):
        read_pipeline(file)
    assert not (tmp_path / "ran").exists()
    pickle.loads(file.read_bytes())
    assert (tmp_path / "ran").exists()


def test_what_is_no_pipeline_is_refused(file):
    with pytest.raises(ModelNotLoadable, match="a LogisticRegression, not a scikit-learn Pipeline"):
        read_pipeline(written(file, LogisticRegression().fit(FEATURES, LABELS)))


# --- which column is churn ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("labels", [LABELS, LABELS.astype(int), LABELS.astype(np.uint8)], ids=lambda each: each.dtype)
def test_a_pipeline_of_the_classes_false_and_true_or_0_and_1_is_restored(file, labels):
    assert read_pipeline(written(file, make_pipeline(TREE).fit(FEATURES, labels))).steps


@pytest.mark.parametrize(
    ("labels", "shown"),
    [
        (np.where(LABELS, "Churned", "Stayed"), r"\['Churned', 'Stayed'\]"),
        (np.where(LABELS, 1, 2), r"\[1, 2\]"),
        (np.arange(200) % 3, r"\[0, 1, 2\]"),
        (LABELS.astype(float), r"\[0\.0, 1\.0\]"),
        (LABELS.astype(int).astype(str), r"\['0', '1'\]"),
        (np.ones(200, dtype=int), r"\[1\]"),
        (np.where(LABELS, 1, -1), r"\[-1, 1\]"),
    ],
    ids=["words", "1 and 2", "three", "floats", "digits as text", "one", "-1 and 1"],
)
def test_a_pipeline_of_other_classes_is_refused_by_their_names(file, labels, shown):
    pipeline = make_pipeline(TREE).fit(FEATURES, labels)
    with pytest.raises(ModelNotLoadable, match=rf"its classes are {shown}, so which column is churn is not known"):
        read_pipeline(written(file, pipeline))


def test_a_pipeline_whose_classes_are_in_another_order_is_refused(file):
    pipeline = make_pipeline(TREE).fit(FEATURES, LABELS)
    pipeline[-1].classes_ = pipeline[-1].classes_[::-1].copy()
    with pytest.raises(ModelNotLoadable, match=r"its classes are \[True, False\]"):
        read_pipeline(written(file, pipeline))


def test_a_pipeline_that_ends_in_no_classifier_is_refused(file):
    with pytest.raises(ModelNotLoadable, match="it has no classes"):
        read_pipeline(written(file, make_pipeline(StandardScaler()).fit(FEATURES)))
