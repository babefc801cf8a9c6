"""A model file: read by skops, never unpickled, where every type in it is one that skops or this list trusts.

Only files with a recorded hash get here (churn.registry.provenance). Nothing is taken from the file MLmodel, which may
name types to trust.
"""

from pathlib import Path
from typing import Any

import numpy as np
import skops.io
from sklearn.pipeline import Pipeline

from churn.registry.model_version import ModelNotLoadable

TRUSTED_TYPES = (
    # Parts of fitted estimators that training makes; skops trusts the estimators themselves.
    "numpy.dtype",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.tree._tree.Tree",
)
"""The types that a model file may hold beside those that skops trusts by itself."""


def read_pipeline(file: Path) -> Pipeline:
    """Return the pipeline that a file of the skops format holds.

    Raises:
        ModelNotLoadable: it is of another format, holds a type that is not trusted, is no pipeline, or does not say
            which column is churn.
    """
    try:
        pipeline = skops.io.load(file, trusted=list(TRUSTED_TYPES))
    except Exception as error:  # whatever keeps the file's content from becoming a model
        raise ModelNotLoadable(f"it cannot be restored: {type(error).__name__}: {error}") from error
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
