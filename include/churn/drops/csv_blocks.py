"""Reads a CSV file in blocks of whole, numbered lines, in bounded memory.

Arrow parses fast but loses line numbers: it splits at lone carriage returns, skips empty lines and gives up at an
unclosed quote. Here only a newline ends a line, and no value may contain one. A line that cannot be parsed is reported
with its number and blanked, so the lines around it are still checked.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO

BLOCK_BYTES = 8 * 2**20
# About 200 times the longest line of a real drop.
LINE_BYTES = 64 * 2**10
UTF8_BOM = b"\xef\xbb\xbf"
UNENDED = " (the last line has no newline: the file may be truncated)"
# Parsers disagree about a quote anywhere but around a whole value.
_VALUE = rb'(?:"(?:[^"]|"")*+"|[^",]*+)'
WELL_QUOTED = re.compile(_VALUE + rb"(?:," + _VALUE + rb")*+")

Report = Callable[[int, bytes, str], None]
"""Called for each line that cannot be parsed: its number (the header is 1), its text, the broken rule."""


@dataclass(frozen=True)
class Block:
    """Whole lines, each ending in a newline; `first_line` is the number of the first, the header being line 1.

    Lines numbered in `reported` are blank. A last line without a newline gets one and forms a block of its own, with
    `ended` False.
    """

    first_line: int
    data: bytes
    reported: frozenset[int]
    ended: bool = True


def read_blocks(file: BinaryIO, report: Report) -> Iterator[Block]:
    """Yield the file's lines in blocks of about 8 MB, without the byte order mark; CRLF becomes LF.

    Reported instead of yielded: lines over 64 KB, empty lines, carriage returns within a line, quotes unclosed or
    within a value, and lines that are not UTF-8.
    """
    line = 1
    pending = file.read(len(UTF8_BOM))
    if pending == UTF8_BOM:
        pending = b""
    while True:
        data = file.read(BLOCK_BYTES)
        pending += data
        if end := pending.rfind(b"\n") + 1:
            block = _mend(pending[:end], line, report)
            yield block
            line += block.data.count(b"\n")
            pending = pending[end:]
        if not data:
            break
        if len(pending) > LINE_BYTES:
            report(line, pending, f"a line of at most {LINE_BYTES} bytes")
            line += 1
            pending = _skip_line(file)
    if pending:
        doubted = _mend(pending + b"\n", line, lambda number, text, rule: report(number, text, rule + UNENDED))
        yield replace(doubted, ended=False)


def _skip_line(file: BinaryIO) -> bytes:
    """Skip the rest of the line and return the bytes read beyond it."""
    while data := file.read(BLOCK_BYTES):
        if end := data.find(b"\n") + 1:
            return data[end:]
    return b""


def _mend(data: bytes, first_line: int, report: Report) -> Block:
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n")
    suspect = b"\r" in data or b'"' in data or b"\n\n" in data or data[:1] == b"\n"
    if not (suspect or _has_long_line(data) or not _is_utf8(data)):
        return Block(first_line, data, frozenset())
    lines = data.split(b"\n")[:-1]
    reported = set()
    for number, text in enumerate(lines, first_line):
        if rule := _broken_rule(text):
            report(number, text, rule)
            reported.add(number)
            lines[number - first_line] = b""
    return Block(first_line, b"\n".join(lines) + b"\n", frozenset(reported))


def _has_long_line(data: bytes) -> bool:
    # Jump to the last newline within LINE_BYTES of a line's start; without one, the line is too long.
    start = 0
    while len(data) - start > LINE_BYTES:
        end = data.rfind(b"\n", start, start + LINE_BYTES + 1)
        if end < 0:
            return True
        start = end + 1
    return False


def _broken_rule(line: bytes) -> str | None:
    if not line:
        return "a line that is not empty"
    if len(line) > LINE_BYTES:
        return f"a line of at most {LINE_BYTES} bytes"
    if b"\r" in line:
        return "no carriage return within a line"
    if b'"' in line and not WELL_QUOTED.fullmatch(line):
        return "quotes around whole values only, each closed on its line"
    return None if _is_utf8(line) else "text in UTF-8"


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
