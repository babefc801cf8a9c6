"""Every kind of damage is refused with the error of the contract and leaves no trace, or is loaded right."""

import json
import re
from datetime import date

import psycopg
import pytest
from database_dump import dump
from handmade_drops import take_in, write_drop, write_manifest
from psycopg import sql

from churn.contract import REQUIRED_FILES
from churn.database import connect
from churn.landing import Drop
from churn.validation import AcceptedDrop, validate
from churn.violations import DropRejected
from tests.file_rights import rights_count

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
    """The database, in which a drop of the date that most tests are about is loaded already."""
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
    """Return the violations for which the drop is refused, having seen that nothing changed."""
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
        *("subscriptions.csv", LINE_2_OF_SUBSCRIPTIONS, LINE_2_OF_SUBSCRIPTIONS.replace(b"True", b"yes")),
        "line 2, column paperless_billing: 'yes': expected True or False",
    ),
    "text where an optional boolean belongs": (
        *("subscriptions.csv", LINE_2_OF_SUBSCRIPTIONS, LINE_2_OF_SUBSCRIPTIONS.replace(b"12,", b"12,No")),
        "line 2, column plan_stream_tv: 'No': expected True or False, or empty",
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
        "line 3, column churn_label: '': expected True or False",
    ),
}  # fmt: skip
# A line that cannot be read lacks its customer too.
ITS_CUSTOMER_IS_MISSING = {"a quote left open", "a value too few", "bytes that are not text", "a missing user_id"}


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
    column = file.columns[-1].name
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


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_a_truncated_file_is_refused(cut, drop, database_url, archive):
    path = drop.path / "support_agg_90d.csv"
    path.write_bytes(path.read_bytes()[:-cut])
    violations = rejection(drop, database_url, archive)
    assert "column user_id: '0030-ABCDE': expected a row for each customer of users.csv" in violations[-1]
    assert re.match(
        r"support_agg_90d.csv, line \d+: '.*': expected a newline at the end of the file \(it may be truncated\)",
        violations[0],
    )


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


def test_everything_wrong_with_a_drop_is_told_at_once(drop, database_url, archive):
    (drop.path / "users.csv").unlink()
    edit(drop, "usage_agg_30d.csv", LINE_3_OF_USAGE, b"0002-ABCDE,x,y,3,4,1\n")
    edit(drop, "labels.csv", b"True", b"1")
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


# --- the size ----------------------------------------------------------------------------------------------------


def test_fewer_than_half_of_the_customers_before_are_refused_unless_accept_says_why(
    drop, landing, database_url, archive
):
    small = write_drop(landing, F29, USERS[:14])
    assert rejection(small, database_url, archive) == [
        "users.csv: '14 customers': expected at least half of the 30 customers of 2024-01-31, "
        "or a file _ACCEPT that says why there are fewer"
    ]
    (small.path / "_ACCEPT").write_text(" \n")
    assert len(rejection(small, database_url, archive)) == 1
    (small.path / "_ACCEPT").write_text("the South was sold\n")
    assert validate(small, database_url, archive).files["users.csv"].rows == 14


@pytest.mark.parametrize("name", [".", "users.csv"])
def test_a_drop_that_cannot_be_read_does_not_keep_a_later_one_from_being_accepted(
    reachable, drop, landing, database_url, archive, name
):
    later = write_drop(landing, F29, USERS[:14])
    (drop.path / name).chmod(0)
    with rights_count():
        assert validate(later, database_url, archive).files["users.csv"].rows == 14


def test_half_of_the_customers_before_are_enough(drop, landing, database_url, archive):
    assert validate(write_drop(landing, F29, USERS[:15]), database_url, archive).files["users.csv"].rows == 15


def test_what_arrived_for_later_dates_does_not_count(landing, database_url, archive):
    write_drop(landing, F29, USERS)
    small = write_drop(landing, D31, USERS[:2])
    assert validate(small, database_url, archive).files["users.csv"].rows == 2


# --- labels ------------------------------------------------------------------------------------------------------


def test_labels_of_an_earlier_date_may_speak_of_customers_who_are_gone(landing, database_url, archive):
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


# --- accepted ----------------------------------------------------------------------------------------------------


def test_crlf_and_a_byte_order_mark_are_loaded_right(drop, database_url, archive):
    for path in drop.files():
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    take_in(drop, database_url, archive)
    with connect(database_url) as connection:
        fees = connection.execute("SELECT user_id, monthly_fee, plan_stream_tv FROM raw.subscriptions ORDER BY 1")
        assert fees.fetchall() == [(user, 29.85, None if CUSTOMERS[user] else True) for user in USERS]


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
    users = ['O"Neil, Peg', "NULL", "\\N", "\\.", " padded ", "Ünï-∑-🎬", "007", "a'b; --", "\t"]
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


def test_the_real_drops_are_accepted(real_drops, database_url, archive):
    for as_of in (D31, F29):
        accepted = validate(Drop(as_of, real_drops / as_of.isoformat()), database_url, archive)
        assert {file.rows for file in accepted.files.values()} == {7043}


def test_who_is_wrong_cannot_be_said_without_the_database_and_nothing_is_archived(drop, tmp_path):
    users = drop.path / "users.csv"
    users.write_text(users.read_text() + users.read_text().splitlines()[-1] + "\n")
    with pytest.raises(psycopg.OperationalError):
        validate(drop, f"postgresql:///churn?host={tmp_path}", tmp_path / "archive")
    assert not any((tmp_path / "archive").iterdir())


@pytest.mark.parametrize("name", ["users.csv", "labels.csv", "manifest.json", "_ACCEPT"])
def test_a_link_is_refused_and_what_it_leads_to_is_in_no_message(name, drop, tmp_path, database_url, archive, caplog):
    secret = tmp_path / "secrets.json"
    secret.write_text('{"JWT_SECRET": "hunter2"}', encoding="utf-8")
    (drop.path / name).unlink(missing_ok=True)
    (drop.path / name).symlink_to(secret)
    found = rejection(drop, database_url, archive)
    assert f"{name}: expected a file of the drop's own, not a symbolic link" in found
    assert "hunter2" not in caplog.text + "\n".join(found)


def test_a_text_of_its_own_for_each_customer_is_refused_where_kinds_belong(landing, database_url, archive):
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
