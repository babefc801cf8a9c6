"""What a model file may hold: a file of a stranger becomes a pipeline, or is refused, and nothing of it runs."""

import io
import json
import pickle
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import skops.io
from compiled_models import GOLDEN, RECIPES, SERVICE, fitted
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from churn import model_file
from churn.model_file import TRUSTED_TYPES, ModelNotLoadable, read_pipeline
from churn.scorer import score_online

FEATURES = np.random.default_rng(1).random((200, 3))
LABELS = (FEATURES[:, 0] > 0.5) ^ (np.random.default_rng(2).random(200) < 0.1)
TREE, FOREST, BOOSTED = (
    DecisionTreeClassifier(max_depth=4),
    RandomForestClassifier(3),
    HistGradientBoostingClassifier(max_iter=3),
)


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
