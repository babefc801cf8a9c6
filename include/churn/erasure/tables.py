"""Parquet files with rows of customers: the rows of some customers, and copies without them.

Files are read by row groups, so that memory does not grow with their size.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from churn.drops.contract import USER_ID
from churn.drops.tombstones import are_among

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Selection:
    """Rows to select: the columns that tell, and a function that returns a mask of the rows of a table with them."""

    columns: Sequence[str]
    of: Callable[[pa.Table], np.ndarray]


def columns_of(file: Path) -> list[str]:
    """Return the names of the columns; none if it is no Parquet file, whatever its name says."""
    try:
        return list(pyarrow.parquet.read_schema(file).names)
    except pa.ArrowInvalid as error:
        log.warning("%s is no Parquet file: %s", file.name, error)
        return []


def has_users(file: Path) -> bool:
    """Tell whether a file has a column user_id."""
    return USER_ID.name in columns_of(file)


def rows_of(file: Path, users: Iterable[str]) -> pa.Table:
    """Return the rows of these customers; the file must have a column user_id."""
    with pyarrow.parquet.ParquetFile(file) as parquet:
        found = [
            parquet.read_row_group(number).filter(pa.array(mask))
            for number, mask in _masks(parquet, of_users(users))
            if mask.any()
        ]
        return pa.concat_tables(found) if found else parquet.schema_arrow.empty_table()


def copy_without(source: Path, target: Path, selection: Selection) -> int:
    """Copy a file without the selected rows and return their number. Nothing is written if there are none."""
    with pyarrow.parquet.ParquetFile(source) as parquet:
        removed = sum(int(mask.sum()) for _, mask in _masks(parquet, selection))
        if removed:
            with pyarrow.parquet.ParquetWriter(target, parquet.schema_arrow, compression="zstd") as to:
                for number, mask in _masks(parquet, selection):
                    if not mask.all():
                        to.write_table(parquet.read_row_group(number).filter(pa.array(~mask)))
    return removed


def of_users(users: Iterable[str]) -> Selection:
    """Select the rows of these customers."""
    are_erased = are_among(frozenset(users))

    def are_theirs(table: pa.Table) -> np.ndarray:
        # As text: a file that was logged by hand may have numbers.
        return are_erased(table[USER_ID.name].cast(pa.string()).combine_chunks())

    return Selection([USER_ID.name], are_theirs)


def of_values(rows: frozenset[tuple[Any, ...]], names: Sequence[str]) -> Selection:
    """Select the rows whose values in the columns `names` are among `rows`, see values_of()."""
    return Selection(
        names, lambda table: np.fromiter((each in rows for each in values_of(table, names)), bool, len(table))
    )


def values_of(table: pa.Table, names: Sequence[str]) -> list[tuple[Any, ...]]:
    """Return the values of each row in these columns; NULL and NaN are both None."""
    columns = [map(plain, table[name].to_pylist()) for name in names]
    return [*zip(*columns, strict=True)]


def to_json(table: pa.Table) -> list[dict[str, Any]]:
    """Return the rows as dictionaries of JSON: dates as text, NaN as None."""
    return [{name: _json(value) for name, value in row.items()} for row in table.to_pylist()]


def _masks(parquet: pyarrow.parquet.ParquetFile, selection: Selection) -> Iterator[tuple[int, np.ndarray]]:
    for number in range(parquet.num_row_groups):
        yield number, selection.of(parquet.read_row_group(number, columns=[*selection.columns]))


def plain(value: Any) -> Any:
    """Return None for NaN, else the value."""
    return None if isinstance(value, float) and np.isnan(value) else value


def _json(value: Any) -> Any:
    value = plain(value)
    return value if isinstance(value, bool | int | float | str | None) else str(value)
