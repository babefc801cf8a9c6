"""Reading of model files with skops, without unpickling. skops or TRUSTED_TYPES must trust every type in the file.

Only files with a recorded hash get here (churn.registry.provenance). Trusted types that MLmodel names are ignored.
"""

from pathlib import Path
from typing import Any

import numpy as np
import skops.io
from sklearn.pipeline import Pipeline

from churn.registry.model_version import ModelNotLoadable

TRUSTED_TYPES = (
    # Parts of fitted estimators of the training; skops trusts the estimators themselves.
    "numpy.dtype",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.tree._tree.Tree",
)
"""Types allowed in a model file in addition to those that skops trusts by default."""


def read_pipeline(file: Path) -> Pipeline:
    """Return the pipeline of a skops file.

    Raises:
        ModelNotLoadable: the file has another format or an untrusted type, is not a pipeline, or its classes do not
            determine the churn column.
    """
    try:
        pipeline = skops.io.load(file, trusted=list(TRUSTED_TYPES))
    except Exception as error:  # an invalid file can fail in any way
        raise ModelNotLoadable(f"it cannot be restored: {type(error).__name__}: {error}") from error
    if not isinstance(pipeline, Pipeline):
        raise ModelNotLoadable(f"it is a {type(pipeline).__name__}, not a scikit-learn Pipeline")
    if wrong := _wrong_classes(pipeline):
        raise ModelNotLoadable(wrong)
    return pipeline


def _wrong_classes(pipeline: Pipeline) -> str | None:
    """Return why column 1 of the probabilities may not be churn, None if the classes are [False, True] or [0, 1].
    String classes are sorted alphabetically, so the second may mean staying. Floats are refused too: such labels are
    often rates, or integers that a join with missing rows converted."""
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
