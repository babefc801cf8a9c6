"""Every kind of damage is rejected with the contract's error and without a trace, or is loaded correctly."""

import json
import re
from datetime import date

import numpy as np
import psycopg
import pytest
from psycopg import sql

from churn.drops import customers, validation
from churn.drops.accepted import AcceptedDrop
from churn.drops.contract import REQUIRED_FILES, RULES
from churn.drops.landing import Drop
from churn.drops.validation import validate
from churn.drops.violations import DropRejected
from churn.postgres.database import connect
from tests.conftest import database_copy
from tests.database_dump import dump
from tests.handmade_drops import take_in, write_drop, write_manifest

D31, F29 = date(2024, 1, 31), date(2024, 2, 29)
USERS = [f"{number:04d}-ABCDE" for number in range(1, 31)]
WITHOUT_INTERNET = {"plan_stream_tv": "", "plan_stream_movies": "", "total_paid": "", "net_service": "No"}
CUSTOMERS = {user: WITHOUT_INTERNET if number % 5 == 0 else {} for number, user in enumerate(USERS)}
LABELS = [(user, number % 3 == 0) for number, user in enumerate(USERS)]


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return tmp_path_factory.mktemp("archive")


@pytest.fixture(scope="module")
def database_url(shared_database_url, archive, tmp_path_factory):
    """The database, with the date of most tests already loaded."""
    take_in(write_drop(tmp_path_factory.mktemp("landing"), D31, CUSTOMERS, LABELS), shared_database_url, archive)
    return shared_database_url


@pytest.fixture
def landing(tmp_path):
    return tmp_path


@pytest.fixture
def drop(landing):
    return write_drop(landing, D31, CUSTOMERS, LABELS)


def everything(database_url, archive):
    """Return every table of the database, and the files of the archive."""
    return dump(database_url) | {path: path.read_bytes() for path in archive.rglob("*") if path.is_file()}


def rejection(drop, database_url, archive):
    """Return the violations of the rejected drop, after checking that nothing changed."""
    before = everything(database_url, archive)
    with pytest.raises(DropRejected) as error:
        validate(drop, database_url, archive)
    assert everything(database_url, archive) == before
    title, *violations = str(error.value).splitlines()
    assert title == f"drop {drop.as_of} rejected, nothing of it is loaded:"
    return violations


def edit(drop, name, old, new, count=1):
    path = drop.path / name
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new, count))


# --- damage ------------------------------------------------------------------------------------------------------

LINE_2_OF_SUBSCRIPTIONS = b"0001-ABCDE,12,,,Month-to-month,True,29.85,,No\n"
LINE_3_OF_USAGE = b"0002-ABCDE,24.5,29.1,3,4,1\n"
NUMBER, COUNT = "a number from 0 to 1e38", "a whole number >= 0, of at most 18 digits"

VALUES = {
    "text where a number belongs": (
        *("usage_agg_30d.csv", LINE_3_OF_USAGE, b"0002-ABCDE,many,29.1,3,4,1\n"),
        f"line 3, column watch_hours_30d: 'many': expected {NUMBER}",
    ),
    "NaN": (
        *("usage_agg_30d.csv", LINE_3_OF_USAGE, b"0002-ABCDE,NaN,29.1,3,4,1\n"),
        f"line 3, column watch_hours_30d: 'NaN': expected {NUMBER}",
    ),
    "infinity": (
        *("usage_agg_30d.csv", LINE_3_OF_USAGE, b"0002-ABCDE,24.5,inf,3,4,1\n"),
        f"line 3, column avg_session_mins_7d: 'inf': expected {NUMBER}",
    ),
    "a number beyond single precision": (
        *("usage_agg_30d.csv", LINE_3_OF_USAGE, b"0002-ABCDE,24.5,1.1e38,3,4,1\n"),
        f"line 3, column avg_session_mins_7d: '1.1e38': expected {NUMBER}",
    ),
    "a number beyond all": (
        *("usage_agg_30d.csv", LINE_3_OF_USAGE, b"0002-ABCDE,24.5,1e999,3,4,1\n"),
        f"line 3, column avg_session_mins_7d: '1e999': expected {NUMBER}",
    ),
    "a fraction where a count belongs": (
        *("usage_agg_30d.csv", LINE_3_OF_USAGE, b"0002-ABCDE,24.5,29.1,2.5,4,1\n"),
        f"line 3, column unique_devices_30d: '2.5': expected {COUNT}",
    ),
    "a negative count": (
        *("usage_agg_30d.csv", LINE_3_OF_USAGE, b"0002-ABCDE,24.5,29.1,3,-4,1\n"),
        f"line 3, column skips_7d: '-4': expected {COUNT}",
    ),
    "negative money": (
        *("subscriptions.csv", LINE_2_OF_SUBSCRIPTIONS, LINE_2_OF_SUBSCRIPTIONS.replace(b"29.85", b"-29.85")),
        f"line 2, column monthly_fee: '-29.85': expected {NUMBER}",
    ),
    "empty where a value belongs": (
        *("subscriptions.csv", LINE_2_OF_SUBSCRIPTIONS, LINE_2_OF_SUBSCRIPTIONS.replace(b"12", b"")),
        f"line 2, column months_active: '': expected {COUNT}",
    ),
    "text where a boolean belongs": (
        *("subscriptions.csv", LINE_2_OF_SUBSCRIPTIONS, LINE_2_OF_SUBSCRIPTIONS.replace(b"True", b"y")),
        "line 2, column paperless_billing: 'y': expected true/false, t/f, yes/no or 1/0",
    ),
    "text where an optional boolean belongs": (
        *("subscriptions.csv", LINE_2_OF_SUBSCRIPTIONS, LINE_2_OF_SUBSCRIPTIONS.replace(b"12,", b"12,none")),
        "line 2, column plan_stream_tv: 'none': expected true/false, t/f, yes/no or 1/0, or empty",
    ),
    "a day that is none": (
        *("users.csv", b"2022-02-05", b"2022-02-30"),
        "line 2, column signup_date: '2022-02-30': expected an ISO date (YYYY-MM-DD)",
    ),
    "a quote left open": (
        *("usage_agg_30d.csv", LINE_3_OF_USAGE, b'"0002-ABCDE,24.5,29.1,3,4,1\n'),
        "line 3: '\"0002-ABCDE,24.5,29.1,3,4,1': expected quotes around whole values only, each closed on its line",
    ),
    "a value too few": (
        *("usage_agg_30d.csv", LINE_3_OF_USAGE, b"0002-ABCDE,24.5,29.1,3,4\n"),
        "line 3: '0002-ABCDE,24.5,29.1,3,4': expected 6 values as in the header, not 5",
    ),
    "bytes that are not text": (
        *("usage_agg_30d.csv", LINE_3_OF_USAGE, b"\xff\xfe0002-ABCDE,24.5,29.1,3,4,1\n"),
        r"line 3: '\\xff\\xfe0002-ABCDE,24.5,29.1,3,4,1': expected text in UTF-8",
    ),
    "an empty line": (
        *("usage_agg_30d.csv", LINE_3_OF_USAGE, b"\n" + LINE_3_OF_USAGE),
        "line 3: '': expected a line that is not empty",
    ),
    "10 MB on one line": (
        *("usage_agg_30d.csv", LINE_3_OF_USAGE, b"x" * 10 * 2**20 + b"\n" + LINE_3_OF_USAGE),
        f"line 3: '{'x' * 80}…': expected a line of at most 65536 bytes",
    ),
    "a missing user_id": (
        *("usage_agg_30d.csv", LINE_3_OF_USAGE, LINE_3_OF_USAGE.replace(b"0002-ABCDE", b"")),
        "line 3, column user_id: '': expected a non-empty text of at most 256 characters, without NUL",
    ),
    "a word for NULL as a text": (
        *("subscriptions.csv", LINE_2_OF_SUBSCRIPTIONS, LINE_2_OF_SUBSCRIPTIONS.replace(b",No\n", b",NULL\n")),
        "line 2, column net_service: 'NULL': expected a text that does not mean a missing value (NULL, nan, None)",
    ),
    "another spelling of a boolean": (
        *("labels.csv", b"0002-ABCDE,False", b"0002-ABCDE,0"),
        "line 3, column churn_label: '0': expected true/false as in the lines before: one spelling a column",
    ),
    "an id in another case": (
        *("usage_agg_30d.csv", LINE_3_OF_USAGE, LINE_3_OF_USAGE.replace(b"ABCDE", b"abcde")),
        "line 3, column user_id: '0002-abcde': expected a customer of users.csv",
    ),
    "a duplicate": (
        *("usage_agg_30d.csv", LINE_3_OF_USAGE, LINE_3_OF_USAGE * 2),
        "line 4, column user_id: '0002-ABCDE': expected each user_id once",
    ),
    "a customer without a row": (
        *("usage_agg_30d.csv", LINE_3_OF_USAGE, b""),
        "column user_id: '0002-ABCDE': expected a row for each customer of users.csv",
    ),
    "an orphan": (
        *("usage_agg_30d.csv", LINE_3_OF_USAGE, LINE_3_OF_USAGE + b"9999-ZZZZZ,24.5,29.1,3,4,1\n"),
        "line 4, column user_id: '9999-ZZZZZ': expected a customer of users.csv",
    ),
    "a label of a stranger": (
        *("labels.csv", b"0002-ABCDE,", b"9999-ZZZZZ,"),
        "line 3, column user_id: '9999-ZZZZZ': expected a customer of users.csv",
    ),
    "two labels of a customer": (
        *("labels.csv", b"0002-ABCDE,", b"0001-ABCDE,"),
        "line 3, column user_id: '0001-ABCDE': expected each user_id once",
    ),
    "a label that is none": (
        *("labels.csv", b"0002-ABCDE,False", b"0002-ABCDE,"),
        "line 3, column churn_label: '': expected true/false, t/f, yes/no or 1/0",
    ),
}  # fmt: skip
# A line that cannot be read lacks its customer too.
ITS_CUSTOMER_IS_MISSING = {
    "a quote left open",
    "a value too few",
    "bytes that are not text",
    "a missing user_id",
    "an id in another case",
}


@pytest.mark.parametrize("damage", VALUES)
def test_a_damaged_value_is_refused_with_file_line_column_value_and_rule(damage, drop, database_url, archive):
    name, old, new, violation = VALUES[damage]
    edit(drop, name, old, new)
    violations = rejection(drop, database_url, archive)
    where = f"{name}, " if violation.startswith(("line", "column")) else f"{name}: "
    assert violations[0] == where + violation
    assert violations[1:] == (
        [f"{name}, column user_id: '0002-ABCDE': expected a row for each customer of users.csv"]
        if damage in ITS_CUSTOMER_IS_MISSING
        else []
    )


@pytest.mark.parametrize("file", REQUIRED_FILES, ids=lambda file: file.name)
def test_a_missing_file_is_refused(file, drop, database_url, archive):
    (drop.path / file.name).unlink()
    assert rejection(drop, database_url, archive) == [f"{file.name}: expected the file in the drop"]


@pytest.mark.parametrize("file", REQUIRED_FILES, ids=lambda file: file.name)
def test_a_missing_column_is_refused(file, drop, database_url, archive):
    column = [column.name for column in file.columns if column.required][-1]
    edit(drop, file.name, column.encode(), b"another")
    first = rejection(drop, database_url, archive)[0]
    assert first.startswith(f"{file.name}, line 1, column {column}: 'user_id,")
    assert first.endswith(": expected the column in the header")


@pytest.mark.parametrize("file", REQUIRED_FILES, ids=lambda file: file.name)
def test_a_file_with_a_header_and_no_row_is_refused(file, drop, database_url, archive):
    path = drop.path / file.name
    path.write_bytes(path.read_bytes().partition(b"\n")[0] + b"\n")
    assert f"{file.name}: 'no rows': expected one row for each customer" in rejection(drop, database_url, archive)


def test_an_empty_file_is_refused(drop, database_url, archive):
    (drop.path / "usage_agg_30d.csv").write_bytes(b"")
    assert rejection(drop, database_url, archive) == ["usage_agg_30d.csv: expected a header"]


@pytest.mark.parametrize(("cut", "lacks"), [(5, []), (6, ["0030-ABCDE"]), (12, ["0030-ABCDE"])])
def test_a_truncated_file_is_refused_as_such(cut, lacks, drop, database_url, archive):
    path = drop.path / "support_agg_90d.csv"
    path.write_bytes(path.read_bytes()[:-cut])
    first, *others = rejection(drop, database_url, archive)
    assert re.match(r"support_agg_90d.csv, line 31: '.*': expected .*\(.*may be truncated\)", first)
    assert others == [
        f"support_agg_90d.csv, column user_id: '{user}': expected a row for each customer of users.csv"
        for user in lacks
    ]


def test_a_file_truncated_within_the_last_value_of_an_earlier_line_lacks_customers(drop, database_url, archive):
    path = drop.path / "support_agg_90d.csv"
    path.write_bytes(path.read_bytes().partition(b"0029-ABCDE")[0][:-3])
    assert rejection(drop, database_url, archive) == [
        f"support_agg_90d.csv, column user_id: '{user}': expected a row for each customer of users.csv"
        for user in USERS[28:]
    ]


def test_a_last_line_without_a_newline_is_loaded_where_its_values_show_that_it_is_whole(drop, database_url, archive):
    for path in drop.files():
        path.write_bytes(path.read_bytes().removesuffix(b"\n"))
    take_in(drop, database_url, archive)
    with connect(database_url) as connection:
        for table in ("users", "support_agg_90d", "labels"):
            counted = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier("raw", table)))
            assert counted.fetchone() == (30,)


@pytest.mark.parametrize("padding", ["  ", "\u00a0", "\u200b", "\x1f"])
def test_an_id_that_is_padded_everywhere_is_refused_by_line(padding, landing, database_url, archive):
    drop = write_drop(landing, F29, [f"{user}{padding}" for user in USERS])
    violations = rejection(drop, database_url, archive)
    assert len(violations) == 21 * len(REQUIRED_FILES)
    shown = ascii(f"0001-ABCDE{padding}")
    for file in REQUIRED_FILES:
        of_file = [violation for violation in violations if violation.startswith(file.name)]
        assert of_file[0].startswith(f"{file.name}, line 2, column user_id: {shown}: expected no ")
        assert of_file[20].startswith(f"{file.name}, column user_id: … and 10 more, expected no ")


# --- case --------------------------------------------------------------------------------------------------------

RULE_OF_CASE = "expected ids that differ by more than case"


def test_ids_that_differ_by_case_alone_are_refused_by_line_and_both_are_named(landing, database_url, archive):
    drop = write_drop(landing, F29, ["0001-abcde", "Straße", *USERS, "STRASSE"])
    assert rejection(drop, database_url, archive) == [
        f"users.csv, line 4, column user_id: '0001-ABCDE' (line 2 has '0001-abcde'): {RULE_OF_CASE}",
        f"users.csv, line 34, column user_id: 'STRASSE' (line 3 has 'Straße'): {RULE_OF_CASE}",
    ]


def test_the_first_twenty_ids_that_differ_by_case_alone_are_named_and_the_others_counted(
    landing, database_url, archive
):
    drop = write_drop(landing, F29, [*USERS, *map(str.lower, USERS)])
    violations = rejection(drop, database_url, archive)
    assert len(violations) == 21
    assert violations[20] == f"users.csv, column user_id: … and 10 more, {RULE_OF_CASE}"


def test_late_labels_whose_ids_differ_by_case_from_the_customers_are_refused(landing, database_url, archive):
    labels = [("0001-abcde", True, D31), (USERS[1], True, D31), ("Gone", True, D31), ("GONE", True, date(2024, 1, 30))]
    assert rejection(write_drop(landing, F29, USERS, labels), database_url, archive) == [
        f"labels.csv, line 2, column user_id: '0001-abcde' (users.csv, line 2 has '0001-ABCDE'): {RULE_OF_CASE}",
        f"labels.csv, line 5, column user_id: 'GONE' (line 4 has 'Gone'): {RULE_OF_CASE}",
    ]


def test_ids_whose_hashes_are_the_same_are_found_right_by_the_database(drop, database_url, archive, monkeypatch):
    asked, find = [], validation.find_disagreements
    monkeypatch.setattr(customers, "_hash", lambda texts: np.zeros((len(texts), 1), np.uint64))
    monkeypatch.setattr(
        validation, "find_disagreements", lambda *of, **rules: (asked.append(of[0]), find(*of, **rules))
    )
    assert validate(drop, database_url, archive).files["users.csv"].rows == 30
    assert asked == [drop.as_of]


def test_a_file_cut_off_at_the_end_of_a_line_is_refused(drop, database_url, archive):
    path = drop.path / "support_agg_90d.csv"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:10]))
    violations = rejection(drop, database_url, archive)
    rule = "expected a row for each customer of users.csv"
    assert violations[0] == f"support_agg_90d.csv, column user_id: '0010-ABCDE': {rule}"
    assert violations[20] == f"support_agg_90d.csv, column user_id: … and 1 more, {rule}"


def test_the_first_twenty_of_each_rule_are_named_and_the_others_counted(drop, database_url, archive):
    edit(drop, "users.csv", b"-ABCDE", b"-OTHER", count=25)
    violations = rejection(drop, database_url, archive)
    orphans = [v for v in violations if v.startswith("subscriptions.csv") and v.endswith("a customer of users.csv")]
    assert orphans[0].startswith("subscriptions.csv, line 2, column user_id: '0001-ABCDE'")
    assert orphans[20:] == ["subscriptions.csv, column user_id: … and 5 more, expected a customer of users.csv"]
    assert (
        "usage_agg_30d.csv, column user_id: … and 5 more, expected a row for each customer of users.csv" in violations
    )
    doubled = write_drop(drop.path.parent, F29, USERS)
    path = doubled.path / "payments_agg_90d.csv"
    path.write_bytes(path.read_bytes() + b"".join(path.read_bytes().splitlines(keepends=True)[1:]))
    violations = rejection(doubled, database_url, archive)
    assert len(violations) == 21
    assert violations[0] == "payments_agg_90d.csv, line 32, column user_id: '0001-ABCDE': expected each user_id once"
    assert violations[20] == "payments_agg_90d.csv, column user_id: … and 10 more, expected each user_id once"


def test_all_errors_of_a_drop_are_reported_at_once(drop, database_url, archive):
    (drop.path / "users.csv").unlink()
    edit(drop, "usage_agg_30d.csv", LINE_3_OF_USAGE, b"0002-ABCDE,x,y,3,4,1\n")
    edit(drop, "labels.csv", b"True", b"x")
    assert [violation.split(":")[0] for violation in rejection(drop, database_url, archive)] == [
        "users.csv",
        "usage_agg_30d.csv, line 3, column watch_hours_30d",
        "usage_agg_30d.csv, line 3, column avg_session_mins_7d",
        "labels.csv, line 2, column churn_label",
    ]


# --- the manifest ------------------------------------------------------------------------------------------------


def change_manifest(drop, change):
    write_manifest(drop)
    path = drop.path / "manifest.json"
    entries = json.loads(path.read_text())
    change(entries)
    path.write_text(json.dumps(entries))


def test_a_true_manifest_is_accepted_in_any_case_and_with_files_that_the_contract_does_not_know(
    drop, database_url, archive
):
    (drop.path / "notes.txt").write_text("hello")

    def change(entries):
        entries["users.csv"]["sha256"] = entries["users.csv"]["sha256"].upper()
        entries["notes.txt"] = {"sha256": "0" * 64}

    change_manifest(drop, change)
    assert validate(drop, database_url, archive).files["users.csv"].rows == 30


def test_a_file_whose_hash_differs_from_the_manifest_is_refused(drop, database_url, archive):
    write_manifest(drop)
    promised = json.loads((drop.path / "manifest.json").read_text())["users.csv"]["sha256"]
    edit(drop, "users.csv", b"Female", b"Male")
    (violation,) = rejection(drop, database_url, archive)
    assert re.fullmatch(rf"users.csv: '[0-9a-f]{{64}}': expected the sha256 of manifest.json, {promised}", violation)


@pytest.mark.parametrize(
    ("change", "violation"),
    [
        (lambda m: m["users.csv"].update(rows=31), "users.csv: '30': expected 31 rows as in manifest.json"),
        (lambda m: m.pop("users.csv"), "users.csv: expected an entry in manifest.json"),
        (
            lambda m: m.update({"plans.csv": {"sha256": "0" * 64}}),
            "plans.csv: expected the file in the drop, as manifest.json promises",
        ),
        (
            lambda m: m.update({"users.csv": "0"}),
            """manifest.json: '{"users.csv": "0"}': expected """
            '{file: {"sha256": 64 hex digits, "rows": a whole number}}',
        ),
    ],
)
def test_a_manifest_that_is_not_true_is_refused(change, violation, drop, database_url, archive):
    change_manifest(drop, change)
    assert rejection(drop, database_url, archive) == [violation]


def test_a_manifest_that_is_no_json_is_refused(drop, database_url, archive):
    (drop.path / "manifest.json").write_text("{")
    (violation,) = rejection(drop, database_url, archive)
    assert violation.startswith("manifest.json: 'not JSON: ")


# --- labels ------------------------------------------------------------------------------------------------------


def test_labels_of_an_earlier_date_may_be_of_departed_customers(landing, database_url, archive):
    late = write_drop(landing, F29, USERS, [("gone", True, D31), (USERS[0], False, D31), (USERS[0], True, F29)])
    assert validate(late, database_url, archive).files["labels.csv"].rows == 3


def test_labels_of_the_drops_own_date_may_not(landing, database_url, archive):
    drop = write_drop(landing, F29, USERS, [("gone", True, D31), ("gone", True, F29)])
    assert rejection(drop, database_url, archive) == [
        "labels.csv, line 3, column user_id: 'gone': expected a customer of users.csv"
    ]


def test_labels_of_the_future_are_refused(landing, database_url, archive):
    drop = write_drop(landing, D31, USERS, [(USERS[0], True, D31), *((user, True, F29) for user in USERS[:25])])
    violations = rejection(drop, database_url, archive)
    rule = "expected a date up to the drop's own, 2024-01-31"
    assert violations[0] == f"labels.csv, line 3, column as_of: '2024-02-29': {rule}"
    assert violations[20] == f"labels.csv, column as_of: … and 5 more, {rule}"


def test_a_labels_file_without_rows_is_accepted(landing, database_url, archive):
    drop = write_drop(landing, D31, USERS, [])
    assert validate(drop, database_url, archive).files["labels.csv"].rows == 0


# --- actions -----------------------------------------------------------------------------------------------------

ONCE_AN_ACTION = "expected each user_id once for an action and a date"


@pytest.fixture
def february(landing):
    return lambda actions, labels=None: write_drop(landing, F29, USERS, labels, actions)


def test_a_customer_may_have_several_actions_of_a_date_and_an_action_of_several_dates(february, database_url, archive):
    first = USERS[0]
    actions = [(first, "call", F29), (first, "e-mail", F29), (first, "call", D31), (USERS[1], "call", F29)]
    assert validate(february(actions), database_url, archive).files["actions.csv"].rows == 4


def test_an_actions_file_without_rows_is_accepted(february, database_url, archive):
    assert validate(february([]), database_url, archive).files["actions.csv"].rows == 0


def test_an_action_of_a_customer_and_a_date_that_comes_twice_is_refused(february, database_url, archive):
    actions = [(USERS[0], "call", D31), (USERS[1], "call", F29), (USERS[1], "e-mail", F29), (USERS[0], "call", D31)]
    labels = [(USERS[2], True), (USERS[2], True)]
    assert rejection(february(actions, labels), database_url, archive) == [
        f"actions.csv, line 5, column user_id: '0001-ABCDE': {ONCE_AN_ACTION}",
        "labels.csv, line 3, column user_id: '0003-ABCDE': expected each user_id once",
    ]


def test_without_a_date_an_action_is_of_the_drops_own(february, database_url, archive):
    assert rejection(february([(USERS[0], "call"), (USERS[0], "call")]), database_url, archive) == [
        f"actions.csv, line 3, column user_id: '0001-ABCDE': {ONCE_AN_ACTION}"
    ]


@pytest.mark.parametrize(
    ("action", "rule"),
    [
        ("", "a non-empty text of at most 256 characters, without NUL"),
        (" call", "no blanks before or after it"),
        ("call\u200b", "no invisible or control characters, and no blank but the plain space"),
        ("None", "a text that does not mean a missing value (NULL, nan, None)"),
    ],
)
def test_an_action_that_is_no_text_of_the_contract_is_refused(action, rule, february, database_url, archive):
    (violation,) = rejection(february([(USERS[0], "call"), (USERS[1], action)]), database_url, archive)
    assert violation.startswith("actions.csv, line 3, column action: '")
    assert violation.endswith(f": expected {rule}")


def test_actions_of_a_date_after_the_drops_or_before_2000_are_refused(february, database_url, archive):
    actions = [(USERS[0], "call", date(2024, 3, 1)), (USERS[1], "call", date(1999, 12, 31))]
    assert rejection(february(actions), database_url, archive) == [
        "actions.csv, line 3, column as_of: '1999-12-31': expected a date from 2000-01-01 on",
        "actions.csv, line 2, column as_of: '2024-03-01': expected a date up to the drop's own, 2024-02-29",
    ]


def test_actions_of_an_earlier_date_may_be_of_departed_customers_and_those_of_the_drops_own_may_not(
    february, database_url, archive
):
    late = [("gone", "call", D31), (USERS[0], "call", F29)]
    assert validate(february(late), database_url, archive).files["actions.csv"].rows == 2
    assert rejection(february([*late, ("gone", "call", F29)]), database_url, archive) == [
        "actions.csv, line 4, column user_id: 'gone': expected a customer of users.csv"
    ]


def test_late_actions_whose_ids_differ_by_case_from_customers_or_late_labels_are_refused(
    february, database_url, archive
):
    labels = [(USERS[1], True, D31), (USERS[2], True, D31), ("Gone", True, D31)]
    actions = [("0001-abcde", "call", D31), ("Gone", "call", D31), (USERS[2], "call", D31)]
    assert rejection(february(actions, labels), database_url, archive) == [
        f"actions.csv, line 2, column user_id: '0001-abcde' (users.csv, line 2 has '0001-ABCDE'): {RULE_OF_CASE}"
    ]
    actions = [*((user, "call", D31) for user in USERS[:3]), ("GONE", "call", D31)]
    assert rejection(february(actions, labels), database_url, archive) == [
        f"actions.csv, line 5, column user_id: 'GONE' (labels.csv, line 4 has 'Gone'): {RULE_OF_CASE}"
    ]


# --- accepted ----------------------------------------------------------------------------------------------------


def test_crlf_and_a_byte_order_mark_are_loaded_right(drop, database_url, archive):
    for path in drop.files():
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    take_in(drop, database_url, archive)
    with connect(database_url) as connection:
        fees = connection.execute("SELECT user_id, monthly_fee, plan_stream_tv FROM raw.subscriptions ORDER BY 1")
        assert fees.fetchall() == [(user, 29.85, None if CUSTOMERS[user] else True) for user in USERS]


@pytest.mark.parametrize(("true", "false"), [("TRUE", "FALSE"), ("t", "f"), ("Yes", "No"), ("1", "0")])
def test_each_spelling_of_booleans_is_loaded_right(true, false, drop, database_url, archive):
    for path in drop.files():
        path.write_bytes(path.read_bytes().replace(b"True", true.encode()).replace(b"False", false.encode()))
    take_in(drop, database_url, archive)
    with connect(database_url) as connection:
        assert connection.execute("SELECT DISTINCT has_family, has_dependents FROM raw.users").fetchall() == [
            (True, False)
        ]
        labels = connection.execute("SELECT user_id, churn_label FROM raw.labels ORDER BY 1")
        assert labels.fetchall() == LABELS


def test_another_delimiter_is_one_error_a_file(drop, database_url, archive):
    for path in drop.files():
        path.write_bytes(path.read_bytes().replace(b",", b";"))
    violations = rejection(drop, database_url, archive)
    assert len(violations) == 6
    assert all(violation.endswith("separated by commas: is it separated by ';'?") for violation in violations)


def test_columns_in_another_order_and_unknown_ones_are_loaded_right(landing, database_url, archive):
    drop = write_drop(landing, D31, USERS)
    (drop.path / "payments_agg_90d.csv").write_text(
        "remark,failed_payments_90d,user_id\n" + "".join(f'"a, b",{n},{user}\n' for n, user in enumerate(USERS))
    )
    take_in(drop, database_url, archive)
    with connect(database_url) as connection:
        found = connection.execute("SELECT user_id, failed_payments_90d FROM raw.payments_agg_90d").fetchall()
    assert dict(found) == {user: number for number, user in enumerate(USERS)}


def test_user_ids_are_any_text(landing, database_url, archive):
    users = ['O"Neil, Peg', "NULL", "\\N", "\\.", "two  blanks", "Ünï-∑-🎬", "007", "a'b; --", "a/b?c#d%20"]
    drop = write_drop(landing, D31, users, [(user, True) for user in users])
    take_in(drop, database_url, archive)
    with connect(database_url) as connection:
        for table in ("raw.users", "raw.labels", "snapshots.usage_agg_30d_snapshots", "snapshots.labels_snapshots"):
            found = connection.execute(sql.SQL("SELECT user_id FROM {}").format(sql.Identifier(*table.split("."))))
            assert {row[0] for row in found} == set(users)


def test_validating_writes_nothing_but_the_files_to_the_archive(drop, database_url, tmp_path):
    archive = tmp_path / "archive"
    before = everything(database_url, archive)
    validate(drop, database_url, archive)
    after = everything(database_url, archive)
    assert before.items() < after.items()
    assert len(after.keys() - before.keys()) == len(drop.files()) == 6


def test_an_accepted_drop_passes_through_json_between_tasks(drop, database_url, archive):
    accepted = validate(drop, database_url, archive)
    assert AcceptedDrop.from_json(json.loads(json.dumps(accepted.to_json()))) == accepted


def test_a_drop_that_was_accepted_before_rules_were_recorded_was_accepted_by_the_first(drop, database_url, archive):
    accepted = validate(drop, database_url, archive)
    assert accepted.rules == RULES
    written_then = {key: value for key, value in accepted.to_json().items() if key != "rules"}
    assert AcceptedDrop.from_json(written_then).rules == 1


def test_the_real_drops_are_accepted(real_drops, postgres_url, churn_template, archive):
    with database_copy(postgres_url, churn_template) as empty:
        for as_of in (D31, F29):
            accepted = validate(Drop(as_of, real_drops / as_of.isoformat()), empty, archive)
            assert {file.rows for file in accepted.files.values()} == {7043}


def test_a_drop_cannot_be_judged_without_the_database_and_nothing_is_archived(drop, tmp_path):
    with pytest.raises(psycopg.OperationalError):
        validate(drop, f"postgresql:///churn?host={tmp_path}", tmp_path / "archive")
    assert not (tmp_path / "archive").exists()


@pytest.mark.parametrize("name", ["users.csv", "labels.csv", "actions.csv", "manifest.json", "_ACCEPT"])
def test_a_symlink_is_rejected_and_no_message_has_its_target(name, drop, tmp_path, database_url, archive, caplog):
    secret = tmp_path / "secrets.json"
    secret.write_text('{"JWT_SECRET": "hunter2"}', encoding="utf-8")
    (drop.path / name).unlink(missing_ok=True)
    (drop.path / name).symlink_to(secret)
    found = rejection(drop, database_url, archive)
    assert f"{name}: expected a file of the drop's own, not a symbolic link" in found
    assert "hunter2" not in caplog.text + "\n".join(found)


def test_a_category_with_a_distinct_value_per_customer_is_refused(landing, database_url, archive):
    users = [f"user-{number}" for number in range(101)]
    drop = write_drop(landing, D31, {user: {"net_service": user} for user in users})
    assert rejection(drop, database_url, archive) == [
        "subscriptions.csv, column net_service: expected at most 100 different texts"
    ]
    validate(write_drop(landing, D31, {user: {"net_service": user} for user in users[:100]}), database_url, archive)


def test_a_drop_of_a_date_after_today_is_rejected_and_leaves_no_trace(landing, archive, database_url):
    drop, before = write_drop(landing, date(2124, 2, 29), CUSTOMERS), everything(database_url, archive)
    with pytest.raises(DropRejected, match="AS_OF 2124-02-29 is after today"):
        validate(drop, database_url, archive)
    assert everything(database_url, archive) == before
