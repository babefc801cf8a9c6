"""Reads a file of a drop as typed Arrow batches and checks every value against the contract."""

import csv
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.csv

from churn.drops.contract import RULES, Column, File
from churn.drops.csv_blocks import UNENDED, UTF8_BOM, Block, read_blocks
from churn.drops.values import ARROW_TYPES, Fault, Spellings, read_values
from churn.drops.violations import SHOWN, Violations

NO_NEWLINE = "a newline at the end of the file (it may be truncated)"
ReadValues = Callable[[Column, pa.Array], tuple[pa.Array, list[Fault]]]
DELIMITERS = {";": "';'", "\t": "tabs", "|": "'|'"}


@dataclass(frozen=True)
class Rows:
    """Rows of a file: `lines` are their line numbers, `table` has the contract's column names and types.

    A value that broke a rule is NULL here, and reported. A nullable column that the file lacks is NULL too.
    """

    lines: np.ndarray
    table: pa.Table


def read_rows(
    file: File, stream: BinaryIO, violations: Violations, rules: int = RULES, *, whole: bool = True
) -> Iterator[Rows]:
    """Yield the rows of `stream` in batches of bounded size, and report what breaks the contract.

    Columns may come in any order; unknown columns are ignored.

    Args:
        file: the file of the contract that `stream` holds.
        rules: number of the rules to read by; for an archived drop, those that it was accepted by.
        whole: the file is known to be complete, as the manifest's sha256 of it shows.
    """
    if rules not in range(1, RULES + 1):
        raise ValueError(f"rules {rules} of the contract are unknown here, 1 to {RULES} are known: use newer code")
    delimited_otherwise = False

    def report(line: int, text: bytes, rule: str) -> None:
        nonlocal delimited_otherwise
        if line == 1 and (hint := _other_delimiter(file, text)):
            delimited_otherwise, rule = True, hint
        # With another delimiter the quotes of every line are misplaced: report only the delimiter.
        if line == 1 or not delimited_otherwise:
            violations.add(file.name, rule, line=line, value=text[:200])

    blocks = read_blocks(stream, report)
    first = next(blocks, None)
    if first is None:
        violations.add(file.name, "a header")
        return
    if first.first_line > 1 or 1 in first.reported:
        return  # the header was reported
    header, _, rest = first.data.partition(b"\n")
    if not first.ended:
        report(1, header, NO_NEWLINE)
        return
    names = _read_header(file, header, violations)
    if names is None:
        return
    spellings: Spellings = {}
    read = partial(read_values, rules=rules, spellings=spellings)
    for block in chain([Block(2, rest, first.reported)], blocks):
        # A last line without newline is taken as whole if it parses, unless its last value is empty.
        cut = rules == 1 or (not whole and block.data.endswith(b",\n"))
        if cut and not (block.ended or block.reported):
            report(block.first_line, block.data[:-1], NO_NEWLINE)
        else:
            yield _parse(file, names, block, violations, read)


def _read_header(file: File, header: bytes, violations: Violations) -> list[str] | None:
    names = next(csv.reader([header.decode("utf-8")]), [])
    if hint := _other_delimiter(file, header):
        violations.add(file.name, hint, line=1, value=header)
        return None
    missing = [c.name for c in file.columns if c.required and c.name not in names]
    twice = sorted(name for name, times in Counter(names).items() if times > 1)
    for name in missing:
        violations.add(file.name, "the column in the header", line=1, column=name, value=header)
    for name in twice:
        violations.add(file.name, "each column once in the header", line=1, column=name, value=header)
    return None if missing or twice else names


def _other_delimiter(file: File, header: bytes) -> str | None:
    """Return a hint if the header has columns of the contract only when split by another delimiter."""
    text = header.decode("utf-8", "replace")

    def has_columns(delimiter: str) -> bool:
        return not {column.name for column in file.columns}.isdisjoint(
            each.strip(' "') for each in text.split(delimiter)
        )

    for delimiter, name in DELIMITERS.items():
        if delimiter in text and has_columns(delimiter) and not has_columns(","):
            return f"columns separated by commas: is it separated by {name}?"
    return None


def _parse(file: File, names: list[str], block: Block, violations: Violations, read: ReadValues) -> Rows:
    doubt = "" if block.ended else UNENDED
    data, lines = block.data, np.arange(block.first_line, block.first_line + block.data.count(b"\n"))
    malformed: list[int] = []

    def on_invalid_row(row: pyarrow.csv.InvalidRow) -> str:
        line = block.first_line + row.number - 1
        malformed.append(line)
        if line not in block.reported:
            rule = f"{row.expected_columns} values as in the header, not {row.actual_columns}"
            violations.add(file.name, rule + doubt, line=line, value=row.text)
        return "skip"

    columns = [column for column in file.columns if column.name in names]
    raw = pyarrow.csv.read_csv(
        # Arrow strips a byte order mark. Prepending one protects a first value that begins with one.
        pa.BufferReader(UTF8_BOM + data),
        # Arrow reports row numbers only with a single chunk and thread.
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
    typed = {}
    for column in file.columns:
        if column not in columns:
            # It is not required. The date of a row is not nullable: it stays absent, for the caller to fill in.
            if column.nullable:
                typed[column.name] = pa.nulls(len(lines), ARROW_TYPES[column.kind])
            continue
        texts = raw[column.name].combine_chunks()
        typed[column.name], faults = read(column, texts)
        for fault in faults:
            rule, found = fault.rule + doubt, np.flatnonzero(fault.where.to_numpy(zero_copy_only=False))
            for index in found[:SHOWN].tolist():
                value = texts[index].as_py()
                violations.add(file.name, rule, line=int(lines[index]), column=column.name, value=value)
            violations.count(file.name, rule, column=column.name, more=len(found[SHOWN:]))
    return Rows(lines, pa.table(typed))
