import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from churn.drops import csv_blocks
from churn.drops.csv_blocks import LINE_BYTES, read_blocks

HEADER = b"user_id,failed_payments_90d\n"


def read(data):
    """Return {line number: text} of the yielded lines, and the reports of the others."""
    reported = {}
    lines = {}

    def report(line, text, rule):
        assert line not in reported
        reported[line] = (text, rule)

    for block in read_blocks(io.BytesIO(data), report):
        assert block.data.endswith(b"\n")
        for number, text in enumerate(block.data.split(b"\n")[:-1], block.first_line):
            if number not in block.reported:
                lines[number] = text
    return lines, reported


@pytest.mark.parametrize("ending", [b"\n", b"\r\n"], ids=["LF", "CRLF"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["no BOM", "BOM"])
def test_lines_are_whole_numbered_and_without_bom_and_carriage_return(mark, ending):
    data = mark + ending.join([b"user_id,n", b"a,1", b'"b",2', b""])
    assert read(data) == ({1: b"user_id,n", 2: b"a,1", 3: b'"b",2'}, {})


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        (b"", "a line that is not empty"),
        (b"a\rb,1", "no carriage return within a line"),
        (b'"a,1', "quotes around whole values only, each closed on its line"),
        (b'a",1', "quotes around whole values only, each closed on its line"),
        (b'a"b,"1', "quotes around whole values only, each closed on its line"),
        (b'"a"b","1', "quotes around whole values only, each closed on its line"),
        (b"\xff,1", "text in UTF-8"),
        (b"x" * (LINE_BYTES + 1), "a line of at most 65536 bytes"),
    ],
)
def test_a_line_that_cannot_be_parsed_is_reported_and_those_around_it_are_read(line, rule):
    lines, reported = read(HEADER + b"a,1\n" + line + b"\nb,2\n")
    assert lines == {1: HEADER[:-1], 2: b"a,1", 4: b"b,2"}
    assert reported == {3: (line, rule)}


def test_ten_megabytes_on_one_line_are_reported_once_and_the_lines_behind_it_keep_their_numbers():
    lines, reported = read(HEADER + b"a,1\n" + b"x" * 10 * 2**20 + b"\nb,2\n\nc,3\n")
    assert lines == {1: HEADER[:-1], 2: b"a,1", 4: b"b,2", 6: b"c,3"}
    assert {line: rule for line, (_, rule) in reported.items()} == {
        3: "a line of at most 65536 bytes",
        5: "a line that is not empty",
    }


def test_a_line_as_long_as_allowed_is_read():
    line = b"x" * LINE_BYTES
    assert read(HEADER + line + b"\n")[0][2] == line


def test_a_last_line_without_a_newline_is_a_block_of_its_own():
    *whole, last = read_blocks(io.BytesIO(HEADER + b"a,1\nb,"), pytest.fail)
    assert all(block.ended for block in whole)
    assert (last.first_line, last.data, last.ended) == (3, b"b,\n", False)


def test_an_error_in_a_last_line_without_newline_hints_at_truncation():
    _, reported = read(HEADER + b"a,1\n\xc3")
    assert reported == {3: (b"\xc3", "text in UTF-8 (the last line has no newline: the file may be truncated)")}


def test_an_empty_file_has_no_lines():
    assert read(b"") == read(b"\xef\xbb\xbf") == ({}, {})


LINES = st.lists(st.binary(max_size=60).map(lambda line: line.replace(b"\n", b"")), max_size=30)


@given(LINES)
def test_every_line_is_either_yielded_as_it_is_or_reported_under_its_number(lines):
    with pytest.MonkeyPatch.context() as patch:
        # So small that lines lie across blocks, end with them, and fill several.
        patch.setattr(csv_blocks, "BLOCK_BYTES", 16)
        patch.setattr(csv_blocks, "LINE_BYTES", 40)
        read_lines, reported = read(b"\xef\xbb\xbf" + b"".join(line + b"\n" for line in lines))
    assert read_lines.keys() | reported.keys() == set(range(1, len(lines) + 1))
    assert not read_lines.keys() & reported.keys()
    for number, text in read_lines.items():
        assert text in {lines[number - 1], lines[number - 1].removesuffix(b"\r")}


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters='\r\n"'), min_size=1, max_size=8), max_size=30))
def test_a_line_of_plain_text_is_never_reported(lines):
    data = "".join(f"{line}\n" for line in lines).encode()
    assert read(b"\xef\xbb\xbf" + data) == ({n: line.encode() for n, line in enumerate(lines, 1)}, {})
