import json
from datetime import date

import pytest

from churn.drops.landing import (
    ManifestError,
    digest_of,
    find_drop,
    is_complete,
    is_readable,
    list_drops,
    read_manifest,
    sha256_of,
)
from tests.file_rights import rights_count
from tests.handmade_drops import write_drop, write_manifest

D30, D31, F29 = date(2024, 1, 30), date(2024, 1, 31), date(2024, 2, 29)
SHA256 = "0" * 64


@pytest.fixture
def drop(tmp_path):
    return write_drop(tmp_path, D31, ["a"], labels=[("a", True)])


def say(drop, manifest):
    text = manifest if isinstance(manifest, str) else json.dumps(manifest)
    (drop.path / "manifest.json").write_text(text, encoding="utf-8")


def test_drops_are_listed_oldest_first_and_other_names_are_ignored(tmp_path):
    for name in ("2024-02-29", "2024-01-31", "2024-1-30", "20240130", ".2024-01-29", "2024-02-30", "tmp"):
        (tmp_path / name).mkdir()
    (tmp_path / "2024-01-01").write_text("a file")
    assert [drop.as_of for drop in list_drops(tmp_path)] == [D31, F29]


def test_a_missing_landing_directory_has_no_drops(tmp_path):
    assert list_drops(tmp_path / "none") == []


def test_a_drop_is_found_by_its_date(tmp_path, drop):
    assert find_drop(tmp_path, D31) == drop
    assert find_drop(tmp_path, D30) is None


def test_five_files_without_manifest_are_a_complete_drop_labels_or_not(drop):
    assert is_complete(drop)
    (drop.path / "labels.csv").unlink()
    assert is_complete(drop)


@pytest.mark.parametrize("name", ["users", "subscriptions", "usage_agg_30d", "payments_agg_90d", "support_agg_90d"])
def test_a_drop_without_a_required_file_is_never_complete(drop, name):
    (drop.path / f"{name}.csv").unlink()
    write_manifest(drop)
    (drop.path / "_SUCCESS").touch()
    assert not is_complete(drop)


def test_a_drop_is_not_complete_while_a_file_of_its_manifest_is_on_its_way(drop):
    write_manifest(drop)
    assert is_complete(drop)
    (drop.path / "labels.csv").unlink()
    assert not is_complete(drop)


def test_a_drop_whose_manifest_is_half_written_is_not_complete(drop):
    write_manifest(drop)
    text = (drop.path / "manifest.json").read_text(encoding="utf-8")
    say(drop, text[: len(text) // 2])
    assert not is_complete(drop)


def test_a_drop_without_manifest_has_none(drop):
    assert read_manifest(drop) is None


def test_the_rows_of_a_manifest_may_be_left_out(drop):
    say(drop, {"users.csv": {"sha256": SHA256}})
    assert read_manifest(drop).files == {"users.csv": {"sha256": SHA256}}


@pytest.mark.parametrize(
    ("manifest", "found"),
    [
        ("{", "not JSON: Expecting property name"),
        (["users.csv"], '["users.csv"]'),
        ({"users.csv": SHA256}, f'{{"users.csv": "{SHA256}"}}'),
        ({"users.csv": {"rows": 3}}, '{"users.csv": {"rows": 3}}'),
        ({"users.csv": {"sha256": "abc"}}, '{"users.csv": {"sha256": "abc"}}'),
        ({"users.csv": {"sha256": SHA256, "rows": "3"}}, '"rows": "3"'),
        ({"../users.csv": {"sha256": SHA256}}, '{"../users.csv": '),
        ({"a\0b": {"sha256": SHA256}}, '{"a\\u0000b": '),
        ({"a" * 300: {"sha256": SHA256}}, '{"aaa'),
        ("[" * 50_000, "not JSON: maximum recursion depth exceeded"),
        ('{"users.csv": {"sha256": "", "rows": ' + "1" * 5_000 + "}}", "not JSON: Exceeds the limit"),
        (" " * 70_000, "more than 65536 bytes"),
        ({"contract_version": 2}, '{"contract_version": 2}'),
    ],
)
def test_a_manifest_of_another_form_is_refused_with_what_it_says(drop, manifest, found):
    say(drop, manifest)
    with pytest.raises(ManifestError) as error:
        read_manifest(drop)
    assert found in str(error.value)


def test_a_drop_of_a_later_contract_version_is_not_complete(drop):
    write_manifest(drop)
    say(drop, {"contract_version": 2, **read_manifest(drop).files})
    assert not is_complete(drop)


def test_accept_says_why(drop):
    assert drop.accepted_because is None
    (drop.path / "_ACCEPT").write_text("the South was sold \n", encoding="utf-8")
    assert drop.accepted_because == "the South was sold"


def test_the_digest_of_a_drop_depends_on_names_and_content_and_on_nothing_else(drop):
    files = {path.name: sha256_of(path) for path in drop.files()}
    assert len(files) == 6
    assert digest_of(files) == digest_of(dict(reversed(files.items())))
    assert digest_of(files) != digest_of({name: sha for name, sha in files.items() if name != "labels.csv"})
    assert digest_of(files) != digest_of(files | {"users.csv": SHA256})


def test_reading_accept_is_limited_to_a_log_line(drop):
    (drop.path / "_ACCEPT").write_text("x" * 10**6, encoding="utf-8")
    assert drop.accepted_because == "x" * 1000


@pytest.fixture
def secret(tmp_path):
    """A file that only the pipeline can read, at a path that a drop's writer knows."""
    path = tmp_path / "secrets.json"
    path.write_text('{"JWT_SECRET": "hunter2"}', encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ["users.csv", "labels.csv", "actions.csv"])
def test_a_symlink_in_a_drop_is_named(drop, secret, name):
    (drop.path / name).unlink(missing_ok=True)
    (drop.path / name).symlink_to(secret)
    assert name not in {path.name for path in drop.files()}
    assert [path.name for path in drop.links()] == [name]
    # It is for validate to reject it, which a drop that is not complete would never reach.
    assert is_complete(drop)


def test_a_symlinked_manifest_or_accept_is_not_read(drop, secret):
    for name in ("manifest.json", "_ACCEPT"):
        (drop.path / name).symlink_to(secret)
    assert read_manifest(drop) is None
    assert drop.accepted_because is None
    assert [path.name for path in drop.links()] == ["manifest.json", "_ACCEPT"]


def test_a_file_replaced_by_a_symlink_before_reading_is_not_followed(drop, secret):
    (path,) = [path for path in drop.files() if path.name == "users.csv"]
    path.unlink()
    path.symlink_to(secret)
    with pytest.raises(OSError, match="symbolic links"):
        sha256_of(path)


def test_a_drop_replaced_by_a_symlink_before_reading_is_not_followed(tmp_path, drop):
    (path,) = [path for path in drop.files() if path.name == "users.csv"]
    drop.path.rename(tmp_path / "elsewhere")
    drop.path.symlink_to(tmp_path / "elsewhere")
    assert path.is_file()
    with pytest.raises(NotADirectoryError):
        sha256_of(path)


def test_a_symlink_to_a_directory_is_not_a_drop(tmp_path, drop):
    (tmp_path / "2024-02-29").symlink_to(drop.path)
    assert find_drop(tmp_path, F29) is None
    assert list_drops(tmp_path) == [drop]


@pytest.mark.parametrize("name", [".", "users.csv", "labels.csv", "manifest.json"])
def test_an_unreadable_drop_is_skipped_and_the_log_says_why(drop, caplog, name):
    write_manifest(drop)
    assert is_readable(drop)
    (drop.path / name).chmod(0)
    with rights_count():
        assert not is_readable(drop)
    assert "2024-01-31: passed over, it cannot be read: [Errno 13] Permission denied" in caplog.text


def test_a_symlink_to_an_unreadable_target_is_reported_as_a_symlink(tmp_path, drop):
    hidden = tmp_path / "hidden"
    hidden.mkdir(mode=0)
    (tmp_path / "2024-02-29").symlink_to(hidden / "drop")
    (drop.path / "labels.csv").unlink()
    (drop.path / "labels.csv").symlink_to(hidden / "labels.csv")
    with rights_count():
        assert list_drops(tmp_path) == [drop]
        assert "labels.csv" not in {path.name for path in drop.files()}
        assert [path.name for path in drop.links()] == ["labels.csv"]
