import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from churn.archive import ArchiveError, Incoming, open_archived

CONTENT = "".join(f"user-{number},{number * 7919 % 1000}\n" for number in range(5000)).encode()


def put(archive, path, *, accept=True):
    """Read the file at `path` on its way into the archive, and return its hash."""
    with Incoming(archive) as incoming:
        with incoming.reading(path) as reader:
            while reader.read(1000):
                pass
        if accept:
            incoming.accept()
    return reader.sha256


def read(archive, sha256):
    with open_archived(archive, sha256) as stream:
        return b"".join(iter(lambda: stream.read(1000), b""))


def files_of(archive):
    return sorted(path for path in archive.rglob("*") if path.is_file())


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "users.csv"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def archive(tmp_path):
    return tmp_path / "archive"


@pytest.fixture
def archived(archive, file):
    return put(archive, file)


@settings(max_examples=30)
@given(content=st.binary(max_size=3000))
def test_what_is_archived_is_read_back_under_its_sha256(tmp_path_factory, content):
    directory = tmp_path_factory.mktemp("archive")
    path = directory / "users.csv"
    path.write_bytes(content)
    sha256 = put(directory / "archive", path)
    assert sha256 == hashlib.sha256(content).hexdigest()
    assert read(directory / "archive", sha256) == content


def test_it_is_compressed_and_survives_the_file_it_came_from(archive, file, archived):
    file.unlink()
    (stored,) = files_of(archive)
    assert stored.stat().st_size < len(CONTENT) / 2
    assert read(archive, archived) == CONTENT


def test_nothing_stays_of_files_that_are_not_accepted(archive, file):
    put(archive, file, accept=False)
    assert list(archive.iterdir()) == []


def test_nothing_stays_when_reading_fails(archive, file):
    def read_and_fail():
        with Incoming(archive) as incoming, incoming.reading(file) as reader:
            reader.read(10)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        read_and_fail()
    assert list(archive.iterdir()) == []


def test_the_same_content_is_kept_once(archive, file, archived):
    copy = file.with_name("other.csv")
    copy.write_bytes(CONTENT)
    assert put(archive, copy) == archived
    assert len(files_of(archive)) == 1


def test_a_file_that_is_missing_is_an_error_that_says_how_to_get_it_back(archive, archived):
    (stored,) = files_of(archive)
    stored.unlink()
    with pytest.raises(ArchiveError, match=r"validate the drop again .* or restore the file from a backup"):
        read(archive, archived)


def swap_content(stored: Path, sha256: str) -> None:
    other = stored.parents[1] / "other.csv"
    other.write_bytes(CONTENT.replace(b"user-7,", b"user-8,"))
    archive = stored.parents[1]
    other_sha256 = put(archive, other)
    os.replace(archive / other_sha256[:2] / f"{other_sha256}.csv.zst", stored)


def flip_a_bit(stored: Path, sha256: str) -> None:
    data = bytearray(stored.read_bytes())
    data[len(data) // 2] ^= 1
    stored.write_bytes(data)


def cut_off(stored: Path, sha256: str) -> None:
    os.truncate(stored, stored.stat().st_size // 2)


def empty(stored: Path, sha256: str) -> None:
    os.truncate(stored, 0)


DAMAGES = pytest.mark.parametrize("damage", [swap_content, flip_a_bit, cut_off, empty])


@DAMAGES
@pytest.mark.parametrize("reads", [1, 100, 10**6])
def test_a_damaged_file_is_an_error_that_says_so_however_much_of_it_was_read(archive, archived, damage, reads):
    (stored,) = files_of(archive)
    damage(stored, archived)
    with (
        pytest.raises(ArchiveError, match=r"is damaged.*validate the drop again"),
        open_archived(archive, archived) as stream,
    ):
        stream.read(reads)


def read_and_fail(archive, sha256):
    with open_archived(archive, sha256) as stream:
        stream.read(10)
        raise ZeroDivisionError


def test_an_error_that_damage_led_to_is_told_as_the_damage(archive, archived):
    swap_content(*files_of(archive), archived)
    with pytest.raises(ArchiveError, match="is damaged") as error:
        read_and_fail(archive, archived)
    assert isinstance(error.value.__context__, ZeroDivisionError)


def test_an_error_that_damage_did_not_lead_to_is_told_as_it_is(archive, archived):
    with pytest.raises(ZeroDivisionError):
        read_and_fail(archive, archived)


@DAMAGES
def test_accepting_the_content_again_repairs_a_damaged_file(archive, file, archived, damage):
    damage(*files_of(archive), archived)
    assert put(archive, file) == archived
    assert read(archive, archived) == CONTENT
