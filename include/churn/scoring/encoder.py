"""Encodes online features as the classifier's input columns, like the pipeline's preprocessing steps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from feast.types import Bool, Float64, Int64, String
from sklearn.compose import ColumnTransformer
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, StandardScaler

from churn.scoring.known import require, require_settings, require_type


@dataclass(frozen=True)
class Codes:
    """A categorical feature: the columns of each known value, and of an unknown one."""

    name: str
    columns: Mapping[Any, tuple[float, ...]]
    unknown: tuple[float, ...]


@dataclass(frozen=True)
class Encoder:
    """The preprocessing of a fitted pipeline.

    Attributes:
        numbers: the numeric features, in the order of their columns, which come first.
        medians: imputed value of each of `numbers`.
        flagged: indices of `numbers` with a missing indicator; these columns come next.
        codes: the categorical features, in the order of their columns.
        by_arcsinh: how many of the first columns are the arcsinh of their number.
        scale: mean and standard deviation of each column, None if columns are not scaled.
        width: number of columns.
    """

    numbers: tuple[str, ...]
    medians: np.ndarray
    flagged: np.ndarray
    codes: tuple[Codes, ...]
    by_arcsinh: int
    scale: tuple[np.ndarray, np.ndarray] | None
    width: int

    def encode(self, rows: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """Return the float64 columns (rows, width) of rows with every feature of the pipeline.

        Raises:
            KeyError: a row lacks a feature.
            ValueError: a number is infinite.
        """
        # numpy converts None to NaN.
        cells = np.array([self._cells(row) for row in rows], dtype=np.float64)
        return self._encode(cells.reshape(len(rows), self.width - len(self.flagged)))

    def encode_table(self, table: pa.Table | pa.RecordBatch) -> np.ndarray:
        """Return what encode() returns for the same rows, to the bit, of a table with every feature as a column.

        Raises:
            KeyError: the table lacks a feature.
            ValueError: a number is infinite.
        """
        numbers = [_to_float(table[name]) for name in self.numbers]
        codes = [_look_up(code, table[code.name]) for code in self.codes]
        return self._encode(np.column_stack([*numbers, *codes]))

    @cached_property
    def places(self) -> Mapping[str, Sequence[int]]:
        """The columns that each feature fills."""
        places = {name: [column] for column, name in enumerate(self.numbers)}
        for column, number in enumerate(self.flagged, len(self.numbers)):
            places[self.numbers[number]].append(column)
        column = len(self.numbers) + len(self.flagged)
        for code in self.codes:
            places[code.name] = [*range(column, column + len(code.unknown))]
            column += len(code.unknown)
        return places

    def _encode(self, cells: np.ndarray) -> np.ndarray:
        """Return the columns, given the numbers with NaN for NULL and the columns of the codes; `cells` is changed."""
        count, flags = len(self.numbers), len(self.flagged)
        encoded = np.empty((len(cells), self.width))
        numbers = cells[:, :count]
        missing = np.isnan(numbers)
        np.copyto(numbers, self.medians, where=missing)
        if not np.isfinite(numbers).all():
            raise ValueError("a number among the features is infinite")
        encoded[:, :count] = numbers
        encoded[:, count : count + flags] = missing[:, self.flagged]
        encoded[:, count + flags :] = cells[:, count:]
        np.arcsinh(encoded[:, : self.by_arcsinh], out=encoded[:, : self.by_arcsinh])
        if self.scale:
            mean, deviation = self.scale
            encoded -= mean
            encoded /= deviation
        return encoded

    def _cells(self, row: Mapping[str, Any]) -> list[Any]:
        cells = [row[name] for name in self.numbers]
        for code in self.codes:
            cells += code.columns.get(row[code.name], code.unknown)
        return cells


def _to_float(column: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """Return the numbers (rows,), float64, NaN for NULL."""
    return column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)


def _look_up(code: Codes, column: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """Return the columns of a code (rows, its width)."""
    values = pc.unique(column)
    known = np.array([code.columns.get(value, code.unknown) for value in values.to_pylist()], dtype=np.float64)
    return known[pc.index_in(column, value_set=values).to_numpy(zero_copy_only=False)]


def compile_encoder(preprocess: Any, arcsinh: Any, scale: Any, types: Mapping[str, Any]) -> Encoder:
    """Return an Encoder of a fitted pipeline's steps before the classifier, over features of these Feast types.

    Raises:
        NotCompilable: churn.training.recipe.make_pipeline does not make such steps, or the fitted features differ.
    """
    require_type(preprocess, ColumnTransformer)
    require_settings(preprocess, {"remainder": "drop", "transformer_weights": None})
    parts = {name: (fitted, of) for name, fitted, of in preprocess.transformers_ if name != "remainder"}
    require(list(parts) == ["numbers", "booleans", "texts"], f"transformers {', '.join(parts)}")
    for part, allowed in (("numbers", {Int64, Float64}), ("booleans", {Bool}), ("texts", {String})):
        require_type(parts[part][1], list)
        for name in parts[part][1]:
            require(types.get(name) in allowed, f"the feature {name!r}, {types.get(name)}, among the {part}")
    (imputer, numbers), (booleans, flags), (texts, names) = parts.values()
    medians, flagged = _imputer(imputer, numbers)
    codes = (*_booleans(booleans, flags), *_texts(texts, names))
    width = len(numbers) + len(flagged) + sum(len(code.unknown) for code in codes)
    by_arcsinh = _arcsinh(arcsinh, [types[name] for name in numbers])
    return Encoder(tuple(numbers), medians, flagged, codes, by_arcsinh, _scale(scale, width), width)


def _imputer(imputer: Any, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    require(bool(names), "no numeric feature")
    require_type(imputer, SimpleImputer)
    require_settings(imputer, {"strategy": "median", "add_indicator": True})
    require(bool(np.isnan(imputer.missing_values)), f"SimpleImputer with missing_values={imputer.missing_values!r}")
    medians = np.array(imputer.statistics_, dtype=np.float64)
    require(len(medians) == len(names), "medians of other features")
    # scikit-learn drops a column without any value.
    require(bool(np.isfinite(medians).all()), "a feature without a value in training")
    require_type(imputer.indicator_, MissingIndicator)
    require_settings(imputer.indicator_, {"features": "missing-only", "error_on_new": False})
    return medians, np.array(imputer.indicator_.features_, dtype=np.intp)


def _booleans(encoder: Any, names: Sequence[str]) -> list[Codes]:
    if not names:
        return []
    require_type(encoder, OrdinalEncoder)
    require_settings(encoder, {
        "handle_unknown": "use_encoded_value", "unknown_value": -1, "encoded_missing_value": -1,
        "min_frequency": None, "max_categories": None,
    })  # fmt: skip
    for categories in encoder.categories_:
        require(categories.tolist() == [False, True], f"booleans among {categories.tolist()}")
    return [Codes(name, {False: (0.0,), True: (1.0,)}, (-1.0,)) for name in names]


def _texts(encoder: Any, names: Sequence[str]) -> list[Codes]:
    if not names:
        return []
    require_type(encoder, OneHotEncoder)
    require_settings(encoder, {
        "handle_unknown": "ignore", "drop": None, "min_frequency": None, "max_categories": None,
    })  # fmt: skip
    return [_one_hot(name, found.tolist()) for name, found in zip(names, encoder.categories_, strict=True)]


def _one_hot(name: str, categories: list[Any]) -> Codes:
    for category in categories:
        require(category is None or type(category) is str, f"the category {category!r} of {name}")
    one_hot = np.eye(len(categories)).tolist()
    columns = {category: tuple(row) for category, row in zip(categories, one_hot, strict=True)}
    return Codes(name, columns, (0.0,) * len(categories))


def _arcsinh(arcsinh: Any, types: Sequence[Any]) -> int:
    """Return how many of the first columns are taken by their arcsinh: all counts, or none."""
    if arcsinh == "passthrough":
        return 0
    require_type(arcsinh, ColumnTransformer)
    require_settings(arcsinh, {"remainder": "passthrough", "transformer_weights": None})
    ((name, function, columns),) = (each for each in arcsinh.transformers_ if each[0] != "remainder")
    counts = types.count(Int64)
    require(
        name == "counts" and columns == slice(0, counts) and set(types[:counts]) <= {Int64}, "arcsinh of other columns"
    )
    require_type(function, FunctionTransformer)
    require_settings(function, {"func": np.arcsinh, "validate": False})
    return counts


def _scale(scaler: Any, width: int) -> tuple[np.ndarray, np.ndarray] | None:
    if scaler == "passthrough":
        return None
    require_type(scaler, StandardScaler)
    require_settings(scaler, {"with_mean": True, "with_std": True})
    require(scaler.n_features_in_ == width, "a scale of other columns")
    return np.array(scaler.mean_, dtype=np.float64), np.array(scaler.scale_, dtype=np.float64)
