import csv
import io
import re
import unicodedata
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from churn.drops import csv_blocks
from churn.drops.contract import (
    ACTIONS,
    FILES,
    LABELS,
    LARGEST_NUMBER,
    OPTIONAL_FILES,
    PAYMENTS,
    SUBSCRIPTIONS,
    SUPPORT,
    UNSEEN,
    Column,
    File,
    Kind,
)
from churn.drops.tables import read_rows
from churn.drops.values import ARROW_TYPES
from churn.drops.violations import Violations

HEADER = "user_id,failed_payments_90d\n"


def header_of(file):
    return ",".join(column.name for column in file.columns if column.required)


def read(file, data, rules=2, *, whole=False):
    """Return {line: row} of what can be read, and the violations."""
    violations = Violations()
    rows = {}
    for part in read_rows(file, io.BytesIO(data), violations, rules, whole=whole):
        rows |= dict(zip(part.lines.tolist(), part.table.to_pylist(), strict=True))
    return rows, str(violations).splitlines()


# --- what is written is read -------------------------------------------------------------------------------------

FORMLESS = ("Cc", "Cf", "Zl", "Zp", "Zs")


def is_seen(character):
    return unicodedata.category(character) not in FORMLESS and not re.match(f"[{UNSEEN}]", character)


def means_null(text):
    return text.lower() in {"null", "nan", "none"}


SEEN = st.text(
    st.characters(codec="utf-8", exclude_categories=(*FORMLESS, "Cs")).filter(is_seen), min_size=1, max_size=6
)
TEXTS = st.lists(SEEN, min_size=1, max_size=2).map("  ".join).filter(lambda text: not means_null(text))
VALUES = {
    Kind.TEXT: TEXTS,
    Kind.DATE: st.dates(min_value=date(2000, 1, 1)),
    Kind.BOOLEAN: st.booleans(),
    Kind.COUNT: st.integers(0, 10**18 - 1),
    Kind.NUMBER: st.floats(0, LARGEST_NUMBER, allow_subnormal=False),
}


OPTIONAL = File("payments_agg_90d", (
    *PAYMENTS.columns,
    *(Column(f"optional_{kind.name}", kind, nullable=True, required=False) for kind in Kind),
))  # fmt: skip
"""A file with columns that a drop may lack."""


@st.composite
def tables(draw):
    """A file of the contract, its columns in some order, perhaps one more that the contract does not know, its rows."""
    file = draw(st.sampled_from([*FILES, OPTIONAL]))
    columns = [column for column in file.columns if column.required or draw(st.booleans())]
    columns = draw(st.permutations(columns))
    values = [VALUES[c.kind] | st.none() if c.nullable else VALUES[c.kind] for c in columns]
    return file, [c.name for c in columns], draw(st.lists(st.tuples(*values), max_size=12))


@given(
    table=tables(),
    ending=st.sampled_from(["\n", "\r\n"]),
    mark=st.sampled_from([b"", b"\xef\xbb\xbf"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    extra=st.booleans(),
    block_bytes=st.sampled_from([32, 8 * 2**20]),
)
@settings(max_examples=150)
def test_a_valid_table_is_read_back_as_it_was_written(*, table, ending, mark, quoting, extra, block_bytes):
    file, names, rows = table
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator=ending, quoting=quoting)
    writer.writerow([*names, "remark"] if extra else names)
    writer.writerows([*row, 'not ours, "so" what'] if extra else row for row in rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_blocks, "BLOCK_BYTES", block_bytes)
        found, violations = read(file, mark + text.getvalue().encode())
    assert violations == []
    nulls = {column.name: None for column in file.columns if column.nullable}
    assert found == {line: nulls | dict(zip(names, row, strict=True)) for line, row in enumerate(rows, 2)}


def test_a_nullable_column_that_the_file_lacks_is_null_with_its_type():
    (rows,) = read_rows(OPTIONAL, io.BytesIO(f"{HEADER}a,1\nb,2\n".encode()), Violations())
    assert rows.table.column_names == [column.name for column in OPTIONAL.columns]
    for column in OPTIONAL.columns[-len(Kind) :]:
        assert rows.table[column.name].type == ARROW_TYPES[column.kind]
        assert rows.table[column.name].null_count == 2


@pytest.mark.parametrize(("file", "value"), [(LABELS, True), (ACTIONS, "True")], ids=lambda each: str(each)[:20])
def test_a_date_of_rows_that_the_file_lacks_is_absent(file, value):
    column = file.columns[1].name
    rows, violations = read(file, f"user_id,{column}\na,True\n".encode())
    assert (rows, violations) == ({2: {"user_id": "a", column: value}}, [])


@pytest.mark.parametrize("value", ["True", "TRUE", "tRuE", "T", "t", "Yes", "yES", "1"])
def test_a_boolean_may_be_spelled_in_four_ways_and_any_case(value):
    opposite = {"true": "FALSE", "t": "f", "yes": "No", "1": "0"}[value.lower()]
    rows, violations = read(LABELS, f"user_id,churn_label\na,{value}\nb,{opposite}\nc,{value.upper()}\n".encode())
    assert violations == []
    assert [row["churn_label"] for row in rows.values()] == [True, False, True]


def test_each_column_has_a_spelling_of_booleans_of_its_own():
    columns = header_of(SUBSCRIPTIONS)
    rows, violations = read(SUBSCRIPTIONS, f"{columns}\na,0,T,no,One year,1,1.5,,No\n".encode())
    assert violations == []
    assert [rows[2][name] for name in ("plan_stream_tv", "plan_stream_movies", "paperless_billing")] == [
        True,
        False,
        True,
    ]


def test_a_second_spelling_in_a_column_is_refused_by_line_also_in_a_later_block(monkeypatch):
    monkeypatch.setattr(csv_blocks, "BLOCK_BYTES", 16)
    data = "user_id,churn_label\n" + "".join(f"{number},yes\n" for number in range(20)) + "x,1\ny,no\n"
    rows, violations = read(LABELS, data.encode())
    assert violations == [
        "labels.csv, line 22, column churn_label: '1': expected yes/no as in the lines before: one spelling a column"
    ]
    assert (rows[22]["churn_label"], rows[23]["churn_label"]) == (None, False)


@pytest.mark.parametrize("value", ["y", "n", "on", "2", "-1", "1.0", "fal\u017fe"])
def test_other_spellings_of_booleans_are_refused(value):
    _, violations = read(LABELS, f"user_id,churn_label\na,{value}\n".encode())
    assert violations == [f"labels.csv, line 2, column churn_label: {value!r}: expected true/false, t/f, yes/no or 1/0"]


BLANKS = "no blanks before or after it"
UNSEEN_RULE = "no invisible or control characters, and no blank but the plain space"


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        ("0001  ", BLANKS),
        (" 0001", BLANKS),
        (" ", BLANKS),
        ("0001\u00a0", BLANKS),
        ("\u30000001", BLANKS),
        ("0001\t", BLANKS),
        ("00\u00a001", UNSEEN_RULE),
        ("00\u300001", UNSEEN_RULE),
        ("00\u200b01", UNSEEN_RULE),
        ("0001\u200d", UNSEEN_RULE),
        ("\ufeff0001", UNSEEN_RULE),
        ("00\u00ad01", UNSEEN_RULE),
        ("\u202e0001", UNSEEN_RULE),
        ("00\t01", UNSEEN_RULE),
        ("00\x0001", "a non-empty text of at most 256 characters, without NUL"),
        ("00\x1b01", UNSEEN_RULE),
        ("00\x8501", UNSEEN_RULE),
        ("00\u316401", UNSEEN_RULE),
        ("00\ufe0f01", UNSEEN_RULE),
    ],
)
def test_an_id_with_invisible_characters_is_refused_by_line_and_escaped(value, rule):
    rows, violations = read(PAYMENTS, f"{HEADER}a,1\n{value},1\nb,1\n".encode())
    shown = ascii(value)
    assert violations == [f"payments_agg_90d.csv, line 3, column user_id: {shown}: expected {rule}"]
    assert [row["user_id"] for row in rows.values()] == ["a", None, "b"]


@pytest.mark.parametrize("value", ["NULL", "a  b", "É-1", "東京", "O'Neil", "a/b?c#d%20+$", "-", "\\N"])
def test_an_id_may_be_any_other_text(value):
    rows, violations = read(PAYMENTS, f"{HEADER}{value},1\n".encode())
    assert violations == []
    assert rows[2]["user_id"] == value


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        ("NULL", "a text that does not mean a missing value (NULL, nan, None)"),
        ("nan", "a text that does not mean a missing value (NULL, nan, None)"),
        ("none", "a text that does not mean a missing value (NULL, nan, None)"),
        ("DSL ", BLANKS),
        ("D\u200bSL", UNSEEN_RULE),
    ],
)
def test_a_text_that_is_padded_or_means_null_is_refused(value, rule):
    columns = header_of(SUBSCRIPTIONS)
    _, violations = read(SUBSCRIPTIONS, f"{columns}\na,0,,,One year,True,1.5,,{value}\n".encode())
    assert violations == [f"subscriptions.csv, line 2, column net_service: {value!r}: expected {rule}"]


@pytest.mark.parametrize("file", OPTIONAL_FILES, ids=lambda file: file.name)
def test_a_row_of_a_date_before_2000_is_refused(file):
    header = ",".join(column.name for column in file.columns)
    rows, violations = read(file, f"{header}\na,True,2000-01-01\nb,True,1999-12-31\n".encode())
    assert violations == [f"{file.name}, line 3, column as_of: '1999-12-31': expected a date from 2000-01-01 on"]
    assert rows[2]["as_of"] == date(2000, 1, 1)


def test_rules_1_are_applied_to_drops_accepted_by_them():
    header, line = "user_id,churn_label,as_of", "a\u200b ,True,1900-01-01"
    rows, violations = read(LABELS, f"{header}\n{line}\nb,1,2024-01-31\n".encode(), rules=1)
    assert rows[2] == {"user_id": "a\u200b ", "churn_label": True, "as_of": date(1900, 1, 1)}
    assert [violation.split(":")[0] for violation in violations] == ["labels.csv, line 3, column churn_label"]
    assert len(read(LABELS, f"{header}\n{line}".encode(), rules=1)[1]) == 1


def test_unknown_rules_are_refused():
    with pytest.raises(ValueError, match="rules 3 of the contract are unknown here"):
        read(PAYMENTS, b"", rules=3)


def test_an_empty_value_of_a_nullable_column_stays_null_also_in_quotes():
    columns = header_of(SUBSCRIPTIONS)
    rows, violations = read(SUBSCRIPTIONS, f'{columns}\na,0,,"",One year,True,1.5,,No\n'.encode())
    assert violations == []
    assert rows[2]["plan_stream_tv"] is rows[2]["plan_stream_movies"] is rows[2]["total_paid"] is None


# --- each rule, against a plain Python reference -----------------------------------------------------------------


def expected_date(text):
    try:
        value = date.fromisoformat(text)
    except ValueError:
        return None
    return value if value.isoformat() == text and value.year >= 1000 else None


def expected_number(text):
    if set(text) <= set("0123456789.eE+-") and not text.startswith("+"):
        try:
            value = float(text)
        except ValueError:
            return None
        return value if 0 <= value <= LARGEST_NUMBER else None
    return None


def expected_text(text):
    whole = text and text.strip() == text and all(character == " " or is_seen(character) for character in text)
    return text if whole and not means_null(text) else None


REFERENCE = {
    Kind.TEXT: expected_text,
    Kind.DATE: expected_date,
    Kind.BOOLEAN: lambda text: TRUTH.get(text.lower()),
    Kind.COUNT: lambda text: int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else None,
    Kind.NUMBER: expected_number,
}
TRUTH = {"true": True, "t": True, "yes": True, "1": True, "false": False, "f": False, "no": False, "0": False}
NEARLY = {
    Kind.TEXT: st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=5)
    | st.text("a \t\u00a0\u200b\ufe0fé", max_size=5),
    Kind.DATE: st.from_regex(r"[0-9]{3,5}-[01][0-9]-[0-3][0-9] ?", fullmatch=True),
    Kind.BOOLEAN: st.from_regex(r"(?i: ?(yes|no|y|n|true|false|1|t)\n?)", fullmatch=True).map(str.strip),
    Kind.COUNT: st.from_regex(r"[+-]?[0-9]{0,20}(\.0)?", fullmatch=True),
    Kind.NUMBER: st.text("0123456789.eE+-_ ", max_size=8) | st.floats().map(repr) | st.integers().map(str),
}
ODD_NUMBERS = ["nan", "NaN", "inf", "-inf", "Infinity", "-0", "-1", "0.0", "1.", ".5", "1e999", "1e-999", "0x1F", "٣"]
ODD_DATES = ["2024-02-30", "2023-02-29", "0000-01-01", "20240131", "2024-W05-3", "2024-01-31T00:00"]
ODD = st.sampled_from(["", " ", "NULL", "fal\u017fe", "9" * 19, *ODD_NUMBERS, *ODD_DATES])


@pytest.mark.parametrize("nullable", [False, True], ids=["required", "nullable"])
@pytest.mark.parametrize("kind", Kind, ids=lambda kind: kind.name.lower())
@settings(max_examples=60)
@given(data=st.data())
def test_a_value_is_read_or_reported_as_the_rule_in_plain_python_says(kind, nullable, data):
    texts = data.draw(st.lists(NEARLY[kind] | ODD, min_size=1, max_size=19))
    if kind is Kind.BOOLEAN:
        # Each spelling by itself: that two do not mix has a test of its own.
        spelling = data.draw(st.sampled_from([("true", "false"), ("t", "f"), ("yes", "no"), ("1", "0")]))
        texts = [text for text in texts if text.lower() in spelling or text.lower() not in TRUTH] or [spelling[0]]
    column = Column("value", kind, nullable)
    file = File("some", (Column("user_id", Kind.TEXT), column))
    stream = io.StringIO(newline="")
    csv.writer(stream, lineterminator="\n").writerows([["user_id", "value"], *(["a", text] for text in texts)])
    rows, violations = read(file, stream.getvalue().encode())
    expected = [REFERENCE[kind](text) for text in texts]
    assert [rows[line]["value"] for line in range(2, len(texts) + 2)] == expected
    found = [re.match(r"some.csv, line (\d+), column value: ", violation)[1] for violation in violations]
    assert sorted(found, key=int) == [
        str(line)
        for line, (text, value) in enumerate(zip(texts, expected, strict=True), 2)
        if value is None and not (nullable and text == "")
    ]


# --- lines and headers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("line", "values"), [("b", 1), ("b,1,2", 3), ("b,1,", 3)])
def test_a_line_with_another_number_of_values_than_the_header_is_reported_and_those_around_it_are_read(line, values):
    rows, violations = read(PAYMENTS, f"{HEADER}a,1\n{line}\nc,3\n".encode())
    assert rows.keys() == {2, 4}
    assert violations == [f"payments_agg_90d.csv, line 3: {line!r}: expected 2 values as in the header, not {values}"]


def test_a_line_with_two_errors_is_reported_once_and_later_line_numbers_hold():
    rows, violations = read(PAYMENTS, f'{HEADER}\n"b,1,2\na,x\n'.encode() + b"\xff,1,2\nc,3\n")
    assert rows.keys() == {4, 6}
    assert [violation.split(":")[0] for violation in violations] == [
        "payments_agg_90d.csv, line 2",
        "payments_agg_90d.csv, line 3",
        "payments_agg_90d.csv, line 5",
        "payments_agg_90d.csv, line 4, column failed_payments_90d",
    ]


def test_line_numbers_hold_across_blocks(monkeypatch):
    monkeypatch.setattr(csv_blocks, "BLOCK_BYTES", 64)
    lines = [f"user-{number},{number}" for number in range(2, 100)]
    lines[50 - 2], lines[77 - 2] = "", "user-77,-1"
    rows, violations = read(PAYMENTS, (HEADER + "\n".join(lines) + "\n").encode())
    assert all(row["user_id"] == f"user-{line}" for line, row in rows.items())
    assert [violation.split(":")[0] for violation in violations] == [
        "payments_agg_90d.csv, line 50",
        "payments_agg_90d.csv, line 77, column failed_payments_90d",
    ]


def test_the_first_twenty_of_a_rule_in_a_column_are_named_and_the_others_counted():
    rows = "".join(f"{number},-1,x\n" for number in range(25)) + "z,-1,\n"
    _, violations = read(SUPPORT, f"user_id,support_tickets_90d,ticket_avg_resolution_hrs_90d\n{rows}".encode())
    counts = [v for v in violations if "column support_tickets_90d" in v]
    assert counts[:20] == [
        f"support_agg_90d.csv, line {line}, column support_tickets_90d: '-1': "
        "expected a whole number >= 0, of at most 18 digits"
        for line in range(2, 22)
    ]
    assert counts[20:] == [
        "support_agg_90d.csv, column support_tickets_90d: … and 6 more, "
        "expected a whole number >= 0, of at most 18 digits"
    ]
    assert violations[-1] == (
        "support_agg_90d.csv, column ticket_avg_resolution_hrs_90d: … and 5 more, "
        "expected a number from 0 to 1e38, or empty"
    )


def test_a_missing_column_is_named_with_the_header_that_lacks_it():
    rows, violations = read(PAYMENTS, b"user_id,payments\na,1\n")
    assert rows == {}
    assert violations == [
        "payments_agg_90d.csv, line 1, column failed_payments_90d: 'user_id,payments': "
        "expected the column in the header"
    ]


def test_a_column_that_comes_twice_is_refused():
    _, violations = read(PAYMENTS, b"user_id,failed_payments_90d,user_id\na,1,b\n")
    assert violations == [
        "payments_agg_90d.csv, line 1, column user_id: 'user_id,failed_payments_90d,user_id': "
        "expected each column once in the header"
    ]


def test_a_header_that_cannot_be_parsed_is_reported_once_and_nothing_is_read():
    for header in ("x" * 70_000, "x" * 9 * 2**20, "", '"user_id', "user_id\r,failed_payments_90d"):
        rows, violations = read(PAYMENTS, f"{header}\na,1\nb,2\n".encode())
        assert rows == {}
        assert len(violations) == 1
        assert violations[0].startswith("payments_agg_90d.csv, line 1: ")


@pytest.mark.parametrize(("delimiter", "name"), [(";", "';'"), ("\t", "tabs"), ("|", "'|'")])
@pytest.mark.parametrize("mark", ["", '"'], ids=["plain", "quoted"])
def test_another_delimiter_is_one_error_with_a_hint(delimiter, name, mark):
    names = [column.name for column in SUPPORT.columns]
    lines = [delimiter.join(f"{mark}{value}{mark}" for value in row) for row in (names, ["a", "0", "1,5"])]
    rows, violations = read(SUPPORT, "\n".join([*lines, lines[1], ""]).encode())
    assert rows == {}
    (violation,) = violations
    assert violation.startswith("support_agg_90d.csv, line 1: ")
    assert violation.endswith(f": expected columns separated by commas: is it separated by {name}?")


def test_a_complete_last_line_without_newline_is_read():
    for ending in ("", "\r"):
        rows, violations = read(PAYMENTS, f"{HEADER}a,1\nb,2{ending}".encode())
        assert violations == []
        assert rows[3] == {"user_id": "b", "failed_payments_90d": 2}


TRUNCATED = "(the last line has no newline: the file may be truncated)"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("b,0", f"line 3: 'b,0': expected 3 values as in the header, not 2 {TRUNCATED}"),
        (
            "b,0,-",
            "line 3, column ticket_avg_resolution_hrs_90d: '-': "
            f"expected a number from 0 to 1e38, or empty {TRUNCATED}",
        ),
        ("b,0,", "line 3: 'b,0,': expected a newline at the end of the file (it may be truncated)"),
        (
            'b,0,"1',
            f"""line 3: 'b,0,"1': expected quotes around whole values only, each closed on its line {TRUNCATED}""",
        ),
    ],
)
def test_a_doubtful_last_line_without_newline_is_refused_as_truncated(line, said):
    header = header_of(SUPPORT)
    _, violations = read(SUPPORT, f"{header}\na,0,1.5\n{line}".encode())
    assert violations == [f"support_agg_90d.csv, {said}"]


def test_a_last_line_that_ends_with_an_empty_value_is_read_where_the_file_is_known_to_be_whole():
    header = header_of(SUPPORT)
    rows, violations = read(SUPPORT, f"{header}\nb,0,".encode(), whole=True)
    assert violations == []
    assert (rows[2]["user_id"], rows[2]["ticket_avg_resolution_hrs_90d"]) == ("b", None)


def test_a_header_without_a_newline_is_refused_as_truncated():
    _, violations = read(LABELS, b"user_id,churn_label")
    assert violations == [
        "labels.csv, line 1: 'user_id,churn_label': expected a newline at the end of the file (it may be truncated)"
    ]


def test_an_empty_file_lacks_its_header():
    assert read(PAYMENTS, b"") == ({}, ["payments_agg_90d.csv: expected a header"])
