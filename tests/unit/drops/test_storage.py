"""Listing and deleting files, in a directory and in an object store."""

import secrets

import pytest

from churn.drops.storage import storage_at


@pytest.fixture(params=["directory", "object store"])
def storage(request, tmp_path):
    if request.param == "directory":
        return storage_at(tmp_path / "files")
    return storage_at(f"{request.getfixturevalue('object_store')}/{secrets.token_hex(4)}")


def put(storage, *names):
    with storage.incoming() as directory:
        for name in names:
            file = directory / "file"
            file.write_text(name, encoding="utf-8")
            storage.put({name: file})


def test_an_empty_storage_has_no_files(storage):
    assert storage.sizes() == storage.sizes("a") == {}


def test_published_files_are_listed_with_their_sizes(storage):
    put(storage, "a/1/x", "a/1/yy", "a/12/x", "b")
    assert storage.sizes() == {"a/1/x": 5, "a/1/yy": 6, "a/12/x": 6, "b": 1}
    assert storage.sizes("a/1") == {"a/1/x": 5, "a/1/yy": 6}


def test_a_file_that_is_still_being_written_is_not_listed(storage):
    with storage.incoming() as directory:
        (directory / "file").write_text("half", encoding="utf-8")
        assert storage.sizes() == {}


def test_files_are_deleted_and_missing_ones_are_no_error(storage):
    put(storage, "a/1/x", "a/1/y", "a/2/x")
    storage.delete(["a/1/x", "a/3/x", "a/1/y", "a/1/x"])
    assert storage.sizes() == {"a/2/x": 5}


def test_folders_that_are_empty_then_are_deleted_and_no_others(tmp_path):
    storage = storage_at(tmp_path / "files")
    put(storage, "a/1/x", "a/2/x")
    storage.delete(["a/1/x"])
    assert sorted(path.name for path in (tmp_path / "files" / "a").iterdir()) == ["2"]
    storage.delete(["a/2/x"])
    assert [*(tmp_path / "files").iterdir()] == []
