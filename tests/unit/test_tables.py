import csv
import io
from datetime import date

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from churn import csv_blocks
from churn.contract import FILES, LABELS, LARGEST_NUMBER, PAYMENTS, SUBSCRIPTIONS, SUPPORT, Column, File, Kind
from churn.tables import read_rows
from churn.violations import Violations

HEADER = "user_id,failed_payments_90d\n"


def read(file, data):
    """Return {line: row} of what can be read, and the violations."""
    violations = Violations()
    rows = {}
    for part in read_rows(file, io.BytesIO(data), violations):
        rows |= dict(zip(part.lines.tolist(), part.table.to_pylist(), strict=True))
    return rows, str(violations).splitlines()


# --- what is written is read -------------------------------------------------------------------------------------

VALUES = {
    Kind.TEXT: st.text(st.characters(codec="utf-8", exclude_characters="\r\n\x00"), min_size=1, max_size=12),
    Kind.DATE: st.dates(min_value=date(1000, 1, 1)),
    Kind.BOOLEAN: st.booleans(),
    Kind.COUNT: st.integers(0, 10**18 - 1),
    Kind.NUMBER: st.floats(0, LARGEST_NUMBER, allow_subnormal=False),
}


@st.composite
def tables(draw):
    """A file of the contract, its columns in some order, perhaps one more that the contract does not know, its rows."""
    file = draw(st.sampled_from(FILES))
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
@example(
    table=(PAYMENTS, ["user_id", "failed_payments_90d"], [("\ufeffa", 1)]),
    ending="\n",
    mark=b"",
    quoting=csv.QUOTE_MINIMAL,
    extra=False,
    block_bytes=32,
)
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
    assert found == {line: dict(zip(names, row, strict=True)) for line, row in enumerate(rows, 2)}


@pytest.mark.parametrize("value", ["True", "true", "TRUE", "tRuE", "False", "false", "FALSE"])
def test_a_boolean_may_be_in_any_case(value):
    rows, violations = read(LABELS, f"user_id,churn_label\na,{value}\n".encode())
    assert violations == []
    assert rows[2]["churn_label"] is (value.lower() == "true")


def test_an_empty_value_of_a_nullable_column_stays_null_also_in_quotes():
    columns = ",".join(column.name for column in SUBSCRIPTIONS.columns)
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


REFERENCE = {
    Kind.TEXT: lambda text: text if text and "\x00" not in text else None,
    Kind.DATE: expected_date,
    Kind.BOOLEAN: lambda text: {"true": True, "false": False}.get(text.lower()),
    Kind.COUNT: lambda text: int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else None,
    Kind.NUMBER: expected_number,
}
NEARLY = {
    Kind.TEXT: st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=5),
    Kind.DATE: st.from_regex(r"[0-9]{3,5}-[01][0-9]-[0-3][0-9] ?", fullmatch=True),
    Kind.BOOLEAN: st.from_regex(r"(?i: ?(true|false|yes|1|t)\n?)", fullmatch=True).map(str.strip),
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
    column = Column("value", kind, nullable)
    file = File("some", (Column("user_id", Kind.TEXT), column))
    stream = io.StringIO(newline="")
    csv.writer(stream, lineterminator="\n").writerows([["user_id", "value"], *(["a", text] for text in texts)])
    rows, violations = read(file, stream.getvalue().encode())
    expected = [REFERENCE[kind](text) for text in texts]
    assert [rows[line]["value"] for line in range(2, len(texts) + 2)] == expected
    assert violations == [
        f"some.csv, line {line}, column value: {text!r}: expected {column.rule}"
        for line, (text, value) in enumerate(zip(texts, expected, strict=True), 2)
        if value is None and not (nullable and text == "")
    ]


# --- lines and headers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("line", "values"), [("b", 1), ("b,1,2", 3), ("b,1,", 3)])
def test_a_line_with_another_number_of_values_than_the_header_is_reported_and_those_around_it_are_read(line, values):
    rows, violations = read(PAYMENTS, f"{HEADER}a,1\n{line}\nc,3\n".encode())
    assert rows.keys() == {2, 4}
    assert violations == [f"payments_agg_90d.csv, line 3: {line!r}: expected 2 values as in the header, not {values}"]


def test_a_line_that_is_wrong_in_two_ways_is_reported_once_and_the_numbers_behind_it_hold():
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


def test_a_file_without_a_line_lacks_its_header():
    assert read(PAYMENTS, b"") == ({}, ["payments_agg_90d.csv: expected a header"])
