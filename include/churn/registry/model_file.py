"""A model file: what it may hold, and making a pipeline of one that nobody vouches for.

Whoever may write to the registry may put any file there. Nothing in it is executed: it is read by skops, never
unpickled, and only where everything in it is of a type that was reviewed here, made in the way that was reviewed. skops
alone would do with less: it trusts every estimator of scikit-learn, and many of those follow indices that the file
gives into foreign memory. Nothing is taken from the file MLmodel, which may name code to import and types to trust.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
from sklearn.pipeline import Pipeline
from skops.io._audit import Node, audit_tree, get_tree
from skops.io._sklearn import TreeNode
from skops.io._utils import read_schema

from churn.registry.artifacts import LARGEST
from churn.registry.model_review import review
from churn.registry.model_version import ModelNotLoadable

PROTOCOLS = (2,)
"""The versions of the format that were reviewed: each is read by code of its own. A new one is added here; an old one
goes when no version that is served has it."""

REVIEWED: Mapping[str, tuple[str, ...]] = {
    # How skops makes an object, and what may be made so. Values and containers: text, numbers, True, False and None as
    # JSON, and what holds them. Nothing of the file is called.
    "JsonNode": ("builtins.str",),
    "DictNode": ("builtins.dict",),
    "ListNode": ("builtins.list",),
    "TupleNode": ("builtins.tuple",),
    "SliceNode": ("builtins.slice",),
    # A type that is named, and called with the text of a dict's key: it makes a value of that. The last two are how
    # skops names what makes a loss or a tree: a loss ignores a text, and a tree cannot be made of one.
    "TypeNode": (
        "builtins.bool", "builtins.float", "builtins.int", "builtins.str",
        "numpy.float32", "numpy.float64", "numpy.int64",
        "sklearn._loss._loss.CyHalfBinomialLoss", "sklearn.tree._tree.Tree",
    ),
    # Arrays in numpy's own format, read with allow_pickle=False; a dtype is that of an empty one.
    "NdArrayNode": ("numpy.bool", "numpy.float32", "numpy.float64", "numpy.int64", "numpy.ndarray", "numpy.uint64"),
    "DTypeNode": ("numpy.dtype",),
    # The random state of boosted trees. skops calls a bit generator of numpy and nothing else; predictions never draw.
    "RandomGeneratorNode": ("numpy.random._generator.Generator",),
    # scikit-learn: made without __init__ and given its attributes, whatever they are. churn.registry.model_review looks
    # at them before anything is asked of them, and says which of these types need it: what is in Python raises where
    # they are wrong, and what hands them to compiled code follows them.
    "ObjectNode": (
        "sklearn.calibration.CalibratedClassifierCV",
        "sklearn.calibration._CalibratedClassifier",
        "sklearn.calibration._SigmoidCalibration",
        "sklearn.compose._column_transformer.ColumnTransformer",
        # What people compare a model with.
        "sklearn.dummy.DummyClassifier",
        "sklearn.impute._base.MissingIndicator",
        "sklearn.impute._base.SimpleImputer",
        "sklearn.linear_model._logistic.LogisticRegression",
        "sklearn.pipeline.Pipeline",
        "sklearn.preprocessing._data.StandardScaler",
        "sklearn.preprocessing._encoders.OneHotEncoder",
        "sklearn.preprocessing._encoders.OrdinalEncoder",
        "sklearn.preprocessing._label.LabelEncoder",
        # Made of trees.
        "sklearn.ensemble._forest.RandomForestClassifier",
        "sklearn.ensemble._hist_gradient_boosting.gradient_boosting.HistGradientBoostingClassifier",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.tree._classes.DecisionTreeClassifier",
        # Parts of boosted trees: bins, needed for fitting and categories, and how scores become probabilities.
        "sklearn.ensemble._hist_gradient_boosting.binning._BinMapper",
        "sklearn._loss.link.Interval",
        "sklearn._loss.link.LogitLink",
        "sklearn._loss.loss.HalfBinomialLoss",
    ),
    # A loss of boosted trees, which takes no arguments; predictions do not use it.
    "LossNode": ("sklearn._loss._loss.CyHalfBinomialLoss",),
    # Arrays that scikit-learn copies after a look at their types and sizes, not at where they lead; and it believes how
    # many nodes and outputs there are, see _check_tree().
    "TreeNode": ("sklearn.tree._tree.Tree",),
}  # fmt: skip

TRUSTED_TYPES = tuple(sorted({name for names in REVIEWED.values() for name in names}))
"""Every type that a model file may hold, for skops."""


def read_pipeline(file: Path) -> Pipeline:
    """Return the pipeline that a file of the skops format holds.

    Raises:
        ModelNotLoadable: it is of another format, too large, holds what was not reviewed, is no pipeline, has parts
            that fitting does not make, or does not say which column is churn.
    """
    try:
        pipeline = _read(file)
        odd = review(pipeline)
    except ModelNotLoadable:
        raise
    except Exception as error:  # whatever keeps the file's content from becoming a model
        raise ModelNotLoadable(f"it cannot be restored: {type(error).__name__}: {error}") from error
    if odd is not None:
        raise ModelNotLoadable(f"it was not made by scikit-learn: {odd}")
    if not isinstance(pipeline, Pipeline):
        raise ModelNotLoadable(f"it is a {type(pipeline).__name__}, not a scikit-learn Pipeline")
    if wrong := _wrong_classes(pipeline):
        raise ModelNotLoadable(wrong)
    return pipeline


def _wrong_classes(pipeline: Pipeline) -> str | None:
    """Return why column 1 of the probabilities is not known to be churn, None where the classes are exactly
    [False, True] or [0, 1]. Words are sorted by the alphabet, so the second may be the customers who stay. 0.0 and 1.0
    are refused too: as labels, floats are often rates or what a join made of missing rows."""
    try:
        classes = pipeline.classes_
    except (AttributeError, IndexError):
        return "it has no classes: its last step must be a fitted classifier of churn"
    if type(classes) is np.ndarray and classes.dtype.kind in "biu" and classes.tolist() == [0, 1]:
        return None
    return (
        f"its classes are {_shown(classes)}, so which column is churn is not known: fit it on labels that are "
        "False and True, or 0 and 1 (whole numbers), where True or 1 is a customer who left"
    )


def _shown(classes: Any) -> str:
    found = repr(classes.tolist()) if isinstance(classes, np.ndarray) else repr(classes)
    return found if len(found) <= 200 else f"{found[:200]}…"


def _read(file: Path) -> Any:
    """Do what skops.io.load() does, with a look of our own at what it is about to make: what the file says of itself
    may be otherwise, as two parts of it can claim to be the same object."""
    with ZipFile(file) as archive:
        if (size := sum(each.file_size for each in archive.infolist())) > LARGEST:
            raise ModelNotLoadable(f"it has {size} bytes, and may have {LARGEST}")
        schema, context = read_schema(archive)
        if context.protocol not in PROTOCOLS:
            raise ModelNotLoadable(f"protocol {context.protocol} of skops was not reviewed: save it anew")
        root = get_tree(schema, context, trusted=TRUSTED_TYPES)
    nodes = list(_nodes(root, set(), frozenset()))
    odd = sorted({name for node in nodes if (name := _unreviewed(node))})
    if odd:
        raise ModelNotLoadable(
            f"it holds what is not on the reviewed list of churn.registry.model_file: {', '.join(odd)}"
        )
    audit_tree(root, trusted=TRUSTED_TYPES)
    for node in nodes:
        if isinstance(node, TreeNode):
            _check_tree(node)
    return root.construct()


def _nodes(part: Any, done: set[int], around: frozenset[int]) -> Iterator[Node]:
    """Yield everything that skops is about to make, what is within a part before the part."""
    if isinstance(part, Node):
        if id(part) in around:
            raise ModelNotLoadable(f"its {part.class_name} holds itself")
        if id(part) not in done:
            done.add(id(part))
            yield from _nodes(part.children, done, around | {id(part)})
            yield part
    elif isinstance(part, dict | list | tuple):
        for each in part.values() if isinstance(part, dict) else part:
            yield from _nodes(each, done, around)


def _unreviewed(node: Node) -> str | None:
    """Return the type of a node that was not reviewed, or not as made in this way; None where it may be made."""
    name, made = f"{node.module_name}.{node.class_name}", type(node).__name__
    if name in REVIEWED.get(made, ()):
        return None
    return f"{name} by {made}" if name in TRUSTED_TYPES else name


def _check_tree(node: TreeNode) -> None:
    """Check what a tree is about to be made of: in compiled code it reads as many numbers of classes as it is told that
    it has outputs, the lengths of arrays that may have no dimension, and, when it is asked, as many nodes as it is told
    that it has. What a node has made, it keeps."""
    _, classes, outputs = node.args.construct()
    state = node.attrs.construct()
    arrays = [(classes, 1), (state["nodes"], 1), (state["values"], 3)]
    if (
        (type(outputs), outputs) != (int, 1)
        or any(type(array) is not np.ndarray or array.ndim != dimensions for array, dimensions in arrays)
        or len(classes) != 1
        or (type(state["node_count"]), state["node_count"]) != (int, len(state["nodes"]))
    ):
        raise ModelNotLoadable("it has a tree that was not made by scikit-learn")
