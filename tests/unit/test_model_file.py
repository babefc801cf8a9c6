"""What a model file may hold: a file of a stranger becomes a pipeline, or is refused, and nothing of it runs."""

import io
import json
import pickle
import subprocess
import sys
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import skops.io
from compiled_models import GOLDEN, RECIPES, SERVICE, fitted
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from churn.registry import model_file
from churn.registry.model_file import TRUSTED_TYPES, ModelNotLoadable, read_pipeline
from churn.scoring.scorer import score_online

FEATURES = np.random.default_rng(1).random((200, 3))
LABELS = (FEATURES[:, 0] > 0.5) ^ (np.random.default_rng(2).random(200) < 0.1)
TREE, FOREST, BOOSTED = (
    DecisionTreeClassifier(max_depth=4),
    RandomForestClassifier(3),
    HistGradientBoostingClassifier(max_iter=3),
)
WORDS = pd.DataFrame({"a": ["x", "y", "z"] * 10, "b": ["p", "q", "r"] * 10})
WHOLE = pd.DataFrame({"a": [1, 5, 3] * 10})
LEFT = np.array([0, 1, 0] * 10)


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


def changed(file, schema=None, nodes=None):
    """Change what a file says of itself, or the nodes of its last tree."""
    with zipfile.ZipFile(file) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    if schema:
        said = json.loads(parts["schema.json"])
        schema(said)
        parts["schema.json"] = json.dumps(said).encode()
    if nodes:
        names = [
            name for name, part in parts.items() if name.endswith(".npy") and np.load(io.BytesIO(part)).dtype.names
        ]
        array, out = np.load(io.BytesIO(parts[names[-1]])).copy(), io.BytesIO()
        np.save(out, nodes(array))
        parts[names[-1]] = out.getvalue()
    with zipfile.ZipFile(file, "w") as archive:
        for name, part in parts.items():
            archive.writestr(name, part)
    return file


def trees(part, found=None):
    """What a file says of its trees."""
    found = [] if found is None else found
    if isinstance(part, dict):
        if part.get("__loader__") == "TreeNode":
            found.append(part)
        for each in part.values():
            trees(each, found)
    elif isinstance(part, list):
        for each in part:
            trees(each, found)
    return found


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda each: str(RECIPES[each]))
def test_a_pipeline_of_each_family_is_restored_to_the_bit(file, recipe):
    pipeline = fitted(*recipe)
    restored = read_pipeline(written(file, pipeline))
    assert np.array_equal(score_online(restored, GOLDEN, SERVICE), score_online(pipeline, GOLDEN, SERVICE))


def test_what_skops_trusts_and_nobody_reviewed_is_refused_by_name(file):
    written(file, make_pipeline(KNeighborsClassifier(algorithm="brute").fit(FEATURES, LABELS)))
    assert skops.io.get_untrusted_types(file=file) == []
    with pytest.raises(ModelNotLoadable, match=r"reviewed list of churn\.model_file: .*KNeighborsClassifier"):
        read_pipeline(file)


@pytest.mark.parametrize("function", [np.exp, print, partial(print, "x")], ids=["of numpy", "built in", "partial"])
def test_a_function_is_refused(file, function):
    written(file, make_pipeline(FunctionTransformer(function)))
    with pytest.raises(ModelNotLoadable, match="reviewed list"):
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


@pytest.mark.parametrize(
    ("model", "field", "value"),
    [
        *((TREE, field, value) for field in ("left_child", "right_child") for value in (0, -2, 10**6)),
        *((TREE, "feature", value) for value in (-2, 3, 10**6)),
        *((BOOSTED, field, value) for field in ("left", "right") for value in (0, 10**6)),
        *((BOOSTED, "feature_idx", value) for value in (-2, 3, 10**6)),
        (BOOSTED, "is_categorical", 1),
    ],
)
def test_trees_that_lead_outside_of_themselves_are_refused(file, model, field, value):
    def lead_outside(nodes):
        inner = nodes["left_child"] != -1 if "left_child" in nodes.dtype.names else nodes["is_leaf"] == 0
        nodes[field][np.flatnonzero(inner)[-1]] = value
        return nodes

    changed(written(file, make_pipeline(model).fit(FEATURES, LABELS)), nodes=lead_outside)
    # skops and scikit-learn restore it: what would ask it anything crashes, or reads what is not its own.
    assert isinstance(skops.io.load(file, trusted=TRUSTED_TYPES), Pipeline)
    with pytest.raises(ModelNotLoadable, match="outside of itself"):
        read_pipeline(file)


@pytest.mark.parametrize("model", [TREE, BOOSTED])
def test_a_tree_without_nodes_is_refused(file, model):
    changed(written(file, make_pipeline(model).fit(FEATURES, LABELS)), nodes=lambda nodes: nodes[:0])
    with pytest.raises(ModelNotLoadable):
        read_pipeline(file)


def test_a_forest_whose_trees_want_more_columns_than_it_has_is_refused(file):
    pipeline = make_pipeline(FOREST).fit(FEATURES, LABELS)
    pipeline[-1].n_features_in_ = 2
    with pytest.raises(ModelNotLoadable, match="RandomForestClassifier leads outside"):
        read_pipeline(written(file, pipeline))


@pytest.mark.parametrize("shape", [(), (-1, 1)])
def test_a_tree_whose_nodes_have_another_dimension_is_refused_before_it_is_made(file, shape):
    # scikit-learn reads the length of an array that has none.
    changed(
        written(file, make_pipeline(TREE).fit(FEATURES, LABELS)),
        nodes=lambda nodes: (nodes if shape else nodes[0]).reshape(shape),
    )
    with pytest.raises(ModelNotLoadable, match="a tree that was not made by scikit-learn"):
        read_pipeline(file)


def test_boosted_trees_that_prepare_their_columns_themselves_are_refused(file):
    pipeline = make_pipeline(BOOSTED).fit(FEATURES, LABELS)
    pipeline[-1]._preprocessor = StandardScaler().fit(FEATURES)
    with pytest.raises(ModelNotLoadable, match="HistGradientBoostingClassifier leads outside"):
        read_pipeline(written(file, pipeline))


def test_boosted_trees_that_believe_to_be_fitted_are_refused(file):
    pipeline = make_pipeline(BOOSTED).fit(FEATURES, LABELS)
    pipeline[-1]._in_fit = True
    with pytest.raises(ModelNotLoadable, match="HistGradientBoostingClassifier leads outside"):
        read_pipeline(written(file, pipeline))


def one_hot(values, **settings):
    """A pipeline that begins with columns for each category."""
    encoder = OneHotEncoder(**{"sparse_output": False, "handle_unknown": "ignore", **settings})
    return make_pipeline(encoder, LogisticRegression()).fit(values, LEFT)


def answer(file):
    """What a process of its own that restores a file as skops does, and asks it something, ended with."""
    ask = (
        "import sys, pandas, skops.io; from churn.registry.model_file import TRUSTED_TYPES\n"
        "values = pandas.DataFrame({'a': ['x', 'y'], 'b': ['p', 'q']})\n"
        "skops.io.load(sys.argv[1], trusted=TRUSTED_TYPES).predict_proba(values)"
    )
    return subprocess.run([sys.executable, "-c", ask, file], env={"PYTHONPATH": "include"}, check=False).returncode


def test_columns_of_categories_that_lead_outside_crash_scikit_learn_itself(file):
    pipeline = one_hot(WORDS)
    assert answer(written(file, pipeline)) == 0
    pipeline[0]._n_features_outs = [10**12, 6 - 10**12]
    assert answer(written(file, pipeline)) < 0


@pytest.mark.parametrize(
    "widths",
    [[10**12, 6 - 10**12], [10**6, 6 - 10**6], [3, 1], [3, 4], [3], [], np.array([3, 3]), ("3", "3")],
    ids=repr,
)
def test_columns_of_categories_that_lead_outside_are_refused(file, widths):
    pipeline = one_hot(WORDS)
    pipeline[0]._n_features_outs = widths
    with pytest.raises(ModelNotLoadable, match="OneHotEncoder leads outside"):
        read_pipeline(written(file, pipeline))


@pytest.mark.parametrize(
    "categories",
    [[5, 3, 1], [1, 1, 5], [[1, 3, 5]], [1.0, np.nan, 5.0], [np.nan, np.nan], ["5", "3", "1"], []],
    ids=repr,
)
def test_categories_that_cannot_be_searched_are_refused(file, categories):
    pipeline = one_hot(WHOLE)
    pipeline[0].categories_ = [np.array(categories)]
    pipeline[0]._n_features_outs = [len(categories)]
    with pytest.raises(ModelNotLoadable, match="OneHotEncoder leads outside"):
        read_pipeline(written(file, pipeline))


@pytest.mark.parametrize(
    "settings", [{"sparse_output": True}, {"drop": "first"}, {"max_categories": 2, "handle_unknown": "warn"}], ids=repr
)
def test_columns_of_categories_that_are_counted_in_another_way_are_refused(file, settings):
    with pytest.raises(ModelNotLoadable, match="OneHotEncoder leads outside"):
        read_pipeline(written(file, one_hot(WORDS, **settings)))


@pytest.mark.parametrize(
    "values",
    [WORDS, WHOLE, WHOLE * [0.5], WHOLE.replace(3, np.nan), WORDS.replace("p", None), WHOLE > [2]],
    ids=["words", "whole", "numbers", "number or NaN", "word or None", "booleans"],
)
def test_columns_of_categories_as_fitting_makes_them_are_restored(file, values):
    pipeline = one_hot(values)
    assert np.array_equal(read_pipeline(written(file, pipeline))[0].transform(values), pipeline[0].transform(values))


@pytest.mark.parametrize("count", [0, 1, 10**3, 10**8, -1])
def test_a_tree_that_claims_another_number_of_nodes_is_refused_before_it_is_made(file, count):
    # It would hand out what lies behind its nodes as its own: as answers.
    def say(schema):
        trees(schema)[0]["content"]["content"]["node_count"] |= {"content": str(count), "__id__": 0}

    changed(written(file, make_pipeline(TREE).fit(FEATURES, LABELS)), schema=say)
    with pytest.raises(ModelNotLoadable, match="a tree that was not made by scikit-learn"):
        read_pipeline(file)


@pytest.mark.parametrize("columns", [np.zeros(0), 3.0, np.int64(3)], ids=repr)
@pytest.mark.parametrize("model", [TREE, FOREST, BOOSTED])
def test_a_number_of_columns_that_is_not_a_whole_number_is_refused(file, model, columns):
    # What is compared with an array without elements is always in agreement.
    pipeline = make_pipeline(model).fit(FEATURES, LABELS)
    pipeline[-1].n_features_in_ = columns
    with pytest.raises(ModelNotLoadable, match=f"{type(model).__name__} leads outside"):
        read_pipeline(written(file, pipeline))


def test_a_tree_over_fewer_columns_than_its_estimator_is_refused(file):
    def say(schema):
        trees(schema)[0]["__reduce__"]["args"]["content"][0] |= {"content": "2", "__id__": 0}

    changed(written(file, make_pipeline(TREE).fit(FEATURES, LABELS)), schema=say)
    with pytest.raises(ModelNotLoadable, match="DecisionTreeClassifier leads outside"):
        read_pipeline(file)


@pytest.mark.parametrize("value", [np.float32, None], ids=["a type", "a value"])
def test_an_attribute_in_the_place_of_a_method_is_refused(file, value):
    pipeline = make_pipeline(FOREST).fit(FEATURES, LABELS)
    pipeline[-1]._validate_X_predict = value
    with pytest.raises(ModelNotLoadable, match="_validate_X_predict of its RandomForestClassifier hides"):
        read_pipeline(written(file, pipeline))


def bins(pipeline):
    # It looks up as many lists of thresholds as there are columns, wherever the list ends.
    pipeline.steps.insert(0, ("bins", pipeline[-1]._bin_mapper))


def bins_within_an_imputer(pipeline):
    imputer = SimpleImputer(add_indicator=True).fit(FEATURES)
    imputer.indicator_ = pipeline[-1]._bin_mapper
    pipeline.steps.insert(0, ("impute", imputer))


def bins_of_a_column_transformer(pipeline):
    columns = ColumnTransformer([("all", StandardScaler(), [0, 1, 2])]).fit(FEATURES)
    columns.transformers_ = [("all", pipeline[-1]._bin_mapper, [0, 1, 2])]
    pipeline.steps.insert(0, ("columns", columns))


def a_tree_as_a_calibration(pipeline):
    calibrated = CalibratedClassifierCV(LogisticRegression(), cv=2, ensemble=False).fit(FEATURES, LABELS)
    calibrated.calibrated_classifiers_[0].calibrators = [TREE.fit(FEATURES, LABELS).tree_]
    pipeline.steps[-1] = ("calibrated", calibrated)


@pytest.mark.parametrize(
    "misplace", [bins, bins_within_an_imputer, bins_of_a_column_transformer, a_tree_as_a_calibration]
)
def test_a_part_in_the_place_of_one_of_another_type_is_refused(file, misplace):
    pipeline = make_pipeline(BOOSTED).fit(FEATURES, LABELS)
    misplace(pipeline)
    with pytest.raises(ModelNotLoadable, match="a part of another type in the place of its own"):
        read_pipeline(written(file, pipeline))


def test_trees_are_found_wherever_they_are(file):
    pipeline = make_pipeline(LogisticRegression()).fit(FEATURES, LABELS)
    odd = RandomForestClassifier(3).fit(FEATURES, LABELS)
    odd.n_features_in_ = 2
    array = np.empty(1, dtype=object)
    array[0] = (odd,)
    pipeline.hidden = {"a": [array]}
    with pytest.raises(ModelNotLoadable, match="outside"):
        read_pipeline(written(file, pipeline))


def test_a_tree_of_more_outputs_than_it_has_classes_of_is_refused_before_it_is_made(file):
    def say(schema):
        outputs = trees(schema)[0]["__reduce__"]["args"]["content"][2]
        outputs |= {"content": str(10**6), "__id__": 0}

    changed(written(file, make_pipeline(TREE).fit(FEATURES, LABELS)), schema=say)
    with pytest.raises(ModelNotLoadable, match="a tree that was not made by scikit-learn"):
        read_pipeline(file)


def test_a_tree_that_hides_its_outputs_behind_another_objects_id_is_refused_before_it_is_made(file):
    def say(schema):
        outputs = trees(schema)[0]["__reduce__"]["args"]["content"][2]
        outputs["__id__"] = 7
        first = {**outputs, "content": "999999"}
        schema["content"]["content"] = {"first": first, **schema["content"]["content"]}

    changed(written(file, make_pipeline(TREE).fit(FEATURES, LABELS)), schema=say)
    with pytest.raises(ModelNotLoadable, match="a tree that was not made by scikit-learn"):
        read_pipeline(file)


def test_a_type_that_was_reviewed_is_refused_where_it_is_made_in_another_way(file):
    def say(schema):
        tree = trees(schema)[0]
        tree |= {"__loader__": "ConstructorFromReduceNode", "content": tree["__reduce__"]["args"]}

    changed(written(file, make_pipeline(TREE).fit(FEATURES, LABELS)), schema=say)
    with pytest.raises(ModelNotLoadable, match=r"sklearn\.tree\._tree\.Tree by ConstructorFromReduceNode"):
        read_pipeline(file)


def test_a_file_of_an_older_protocol_is_refused(file):
    changed(written(file, fitted("logistic regression")), schema=lambda schema: schema.update(protocol=1))
    with pytest.raises(ModelNotLoadable, match="protocol 1 of skops was not reviewed"):
        read_pipeline(file)


def test_a_file_that_unpacks_to_more_than_a_model_may_have_is_refused_before_it_does(file, monkeypatch):
    monkeypatch.setattr(model_file, "LARGEST", 10**6)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("schema.json", " " * 2 * 10**6)
    assert file.stat().st_size < 10**4
    with pytest.raises(ModelNotLoadable, match="2000000 bytes, and may have 1000000"):
        read_pipeline(file)


def test_a_file_that_goes_on_within_itself_for_ever_is_refused(file):
    def say(schema):
        schema["content"]["content"]["steps"]["__id__"] = schema["__id__"]

    changed(written(file, make_pipeline(TREE).fit(FEATURES, LABELS)), schema=say)
    with pytest.raises(ModelNotLoadable, match="Pipeline holds itself"):
        read_pipeline(file)


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
