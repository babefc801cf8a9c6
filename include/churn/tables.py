"""A file of a drop as typed Arrow batches, every value checked against the contract on the way."""

import csv
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from churn.contract import LARGEST_NUMBER, RULES, Column, File, Kind
from churn.csv_blocks import UTF8_BOM, Block, read_blocks
from churn.violations import SHOWN, Violations

ARROW_TYPES = {
    Kind.TEXT: pa.string(),
    Kind.DATE: pa.date32(),
    Kind.BOOLEAN: pa.bool_(),
    Kind.COUNT: pa.int64(),
    Kind.NUMBER: pa.float64(),
}

PATTERNS = {
    # PostgreSQL's text cannot hold a NUL.
    Kind.TEXT: r"^[^\x00]{1,256}$",
    # PostgreSQL and Python know no year 0000.
    Kind.DATE: r"^[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}$",
    Kind.BOOLEAN: r"^(?i:true|false)$",
    # 18 digits always fit 64 bits.
    Kind.COUNT: r"^[0-9]{1,18}$",
    Kind.NUMBER: r"^-?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$",
}


@dataclass(frozen=True)
class Rows:
    """Rows of a file: `lines` are their line numbers, `table` their columns by the contract's names and types.

    A value that broke its rule was reported and is NULL here.
    """

    lines: np.ndarray
    table: pa.Table


def read_rows(file: File, stream: BinaryIO, violations: Violations, rules: int = RULES) -> Iterator[Rows]:
    """Yield the rows of `stream`, which holds `file`, in batches of bounded size; what breaks the contract is reported.

    Columns may come in any order; a column that the contract does not know is left out.

    Args:
        rules: the rules to read by: those of the contract, or for a drop of the archive those that it was accepted by.
    """
    if rules not in range(1, RULES + 1):
        raise ValueError(f"rules {rules} of the contract are unknown here, 1 to {RULES} are known: use newer code")

    def report(line: int, text: bytes, rule: str) -> None:
        violations.add(file.name, rule, line=line, value=text[:200])

    blocks = read_blocks(stream, report)
    first = next(blocks, None)
    if first is None:
        violations.add(file.name, "a header")
        return
    if first.first_line > 1 or 1 in first.reported:
        return  # the header was reported
    header, _, rest = first.data.partition(b"\n")
    names = _read_header(file, header, violations)
    if names is None:
        return
    yield _parse(file, names, Block(2, rest, first.reported), violations)
    for block in blocks:
        yield _parse(file, names, block, violations)


def _read_header(file: File, header: bytes, violations: Violations) -> list[str] | None:
    names = next(csv.reader([header.decode("utf-8")]), [])
    missing = [c.name for c in file.columns if c.required and c.name not in names]
    twice = sorted(name for name, times in Counter(names).items() if times > 1)
    for name in missing:
        violations.add(file.name, "the column in the header", line=1, column=name, value=header)
    for name in twice:
        violations.add(file.name, "each column once in the header", line=1, column=name, value=header)
    return None if missing or twice else names


def _parse(file: File, names: list[str], block: Block, violations: Violations) -> Rows:
    data, lines = block.data, np.arange(block.first_line, block.first_line + block.data.count(b"\n"))
    malformed: list[int] = []

    def on_invalid_row(row: pyarrow.csv.InvalidRow) -> str:
        line = block.first_line + row.number - 1
        malformed.append(line)
        if line not in block.reported:
            rule = f"{row.expected_columns} values as in the header, not {row.actual_columns}"
            violations.add(file.name, rule, line=line, value=row.text)
        return "skip"

    columns = [column for column in file.columns if column.name in names]
    raw = pyarrow.csv.read_csv(
        # Arrow takes a byte order mark away: without one of ours, from a first value that begins with it.
        pa.BufferReader(UTF8_BOM + data),
        # One chunk, one thread: row numbers are told only then.
        read_options=pyarrow.csv.ReadOptions(column_names=names, block_size=len(UTF8_BOM + data), use_threads=False),
        parse_options=pyarrow.csv.ParseOptions(ignore_empty_lines=False, invalid_row_handler=on_invalid_row),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types={name: pa.string() for name in names},
            include_columns=[column.name for column in columns],
            strings_can_be_null=False,
        ),
    ) if data else pa.table({column.name: pa.array([], pa.string()) for column in columns})  # fmt: skip
    lines = np.delete(lines, [line - block.first_line for line in malformed])
    if block.reported:
        kept = ~np.isin(lines, list(block.reported))
        raw, lines = raw.filter(pa.array(kept)), lines[kept]
    typed = {c.name: _convert(file, c, raw[c.name].combine_chunks(), lines, violations) for c in columns}
    return Rows(lines, pa.table(typed))


def _convert(file: File, column: Column, raw: pa.Array, lines: np.ndarray, violations: Violations) -> pa.Array:
    """Return `raw` (text) in the column's type, each value that breaks its rule reported and NULL."""
    empty = pc.equal(raw, "")
    good = pc.match_substring_regex(raw, PATTERNS[column.kind])
    typed = _cast(pc.if_else(good, raw, None), ARROW_TYPES[column.kind])
    good = pc.and_(good, pc.is_valid(typed))
    if column.kind is Kind.NUMBER:
        fits = pc.and_(pc.greater_equal(typed, 0.0), pc.less_equal(typed, LARGEST_NUMBER))
        good = pc.and_(good, pc.fill_null(fits, False))
    wrong = pc.invert(pc.or_(good, empty) if column.nullable else good)
    if pc.any(wrong).as_py():
        found = np.flatnonzero(wrong.to_numpy(zero_copy_only=False))
        for index in found[:SHOWN].tolist():
            value = raw[index].as_py()
            violations.add(file.name, column.rule, line=int(lines[index]), column=column.name, value=value)
        violations.count(file.name, column.rule, column=column.name, more=len(found[SHOWN:]))
        typed = pc.if_else(good, typed, pa.scalar(None, typed.type))
    return typed


def _cast(text: pa.Array, to: pa.DataType) -> pa.Array:
    """Cast texts of the right form; those that name no value (2024-02-30) become NULL."""
    try:
        return pc.cast(text, to)
    except pa.ArrowInvalid:
        return pa.concat_arrays([_cast_one(text[i : i + 1], to) for i in range(len(text))])


def _cast_one(text: pa.Array, to: pa.DataType) -> pa.Array:
    try:
        return pc.cast(text, to)
    except pa.ArrowInvalid:
        return pa.nulls(1, to)
