import hashlib
import os
import secrets
import subprocess
import sys
import time

import pyarrow as pa
import pytest
from botocore.exceptions import EndpointConnectionError
from fsspec import filesystem
from fsspec.core import url_to_fs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from churn.drops.archive import ArchiveError, Incoming, open_archived
from churn.drops.storage import ABANDONED_SECONDS, INCOMING, storage_at, this_machine

CONTENT = "".join(f"user-{number},{number * 7919 % 1000}\n" for number in range(5000)).encode()


def put(archive, path, *, accept=True):
    """Add the file at `path` to the archive without accepting it, and return its hash."""
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
    """Return the names of all files in the archive, sorted."""
    files, root = url_to_fs(str(archive))
    return [path.removeprefix(f"{root}/") for path in files.find(root)]


def content_of(archive):
    """Return the compressed content of the one file in the archive."""
    files, root = url_to_fs(str(archive))
    (name,) = files_of(archive)
    return files.cat_file(f"{root}/{name}")


def damage_it(archive, damage):
    """Replace the content of the one file in the archive with `damage` of it."""
    files, root = url_to_fs(str(archive))
    (name,) = files_of(archive)
    files.pipe_file(f"{root}/{name}", damage(content_of(archive)))


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "users.csv"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture(params=["directory", "object store"])
def archive(request, tmp_path):
    if request.param == "directory":
        return tmp_path / "archive"
    return f"{request.getfixturevalue('object_store')}/{tmp_path.name}-{secrets.token_hex(4)}"


@pytest.fixture
def archived(archive, file):
    return put(archive, file)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=3000))
def test_an_archived_file_is_read_back_by_its_sha256(archive, tmp_path, content):
    path = tmp_path / "users.csv"
    path.write_bytes(content)
    sha256 = put(archive, path)
    assert sha256 == hashlib.sha256(content).hexdigest()
    assert read(archive, sha256) == content


def test_an_archived_file_is_compressed_and_independent_of_its_source(archive, file, archived):
    file.unlink()
    assert len(content_of(archive)) < len(CONTENT) / 2
    assert read(archive, archived) == CONTENT


def test_a_file_of_the_archive_has_the_same_name_wherever_it_lies(archive, archived):
    assert files_of(archive) == [f"{archived[:2]}/{archived}.csv.zst"]


def test_rejected_files_leave_nothing_in_the_archive(archive, file):
    put(archive, file, accept=False)
    assert files_of(archive) == []


def test_a_failed_read_leaves_nothing_in_the_archive(archive, file):
    def read_and_fail():
        with Incoming(archive) as incoming, incoming.reading(file) as reader:
            reader.read(10)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        read_and_fail()
    assert files_of(archive) == []


def test_the_same_content_is_kept_once(archive, file, archived):
    copy = file.with_name("other.csv")
    copy.write_bytes(CONTENT)
    assert put(archive, copy) == archived
    assert len(files_of(archive)) == 1


def test_a_file_that_is_missing_is_an_error_that_says_how_to_get_it_back(archive, archived):
    files, root = url_to_fs(str(archive))
    files.rm_file(f"{root}/{files_of(archive)[0]}")
    with pytest.raises(ArchiveError, match=r"validate the drop again .* or restore the file from a backup"):
        read(archive, archived)


def test_an_unreachable_object_store_is_not_reported_as_damage(object_store, file, monkeypatch):
    archive = f"{object_store}/{secrets.token_hex(4)}"
    sha256 = put(archive, file)
    store = filesystem("s3")
    store.clear_instance_cache()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(EndpointConnectionError, match=r"127\.0\.0\.1:9"):
        read(archive, sha256)
    store.clear_instance_cache()


def swap_content(data: bytes) -> bytes:
    return pa.Codec("zstd").compress(CONTENT.replace(b"user-7,", b"user-8,"), asbytes=True)


def flip_a_bit(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def cut_off(data: bytes) -> bytes:
    return data[: len(data) // 2]


def empty(data: bytes) -> bytes:
    return b""


DAMAGES = pytest.mark.parametrize("damage", [swap_content, flip_a_bit, cut_off, empty])


@DAMAGES
@pytest.mark.parametrize("reads", [1, 100, 10**6])
def test_a_damaged_file_is_reported_even_if_read_in_part(archive, archived, damage, reads):
    damage_it(archive, damage)
    with (
        pytest.raises(ArchiveError, match=r"is damaged.*validate the drop again"),
        open_archived(archive, archived) as stream,
    ):
        stream.read(reads)


def read_and_fail(archive, sha256):
    with open_archived(archive, sha256) as stream:
        stream.read(10)
        raise ZeroDivisionError


def test_an_error_caused_by_damage_is_reported_as_damage(archive, archived):
    damage_it(archive, swap_content)
    with pytest.raises(ArchiveError, match="is damaged") as error:
        read_and_fail(archive, archived)
    assert isinstance(error.value.__context__, ZeroDivisionError)


def test_an_error_without_damage_is_raised_unchanged(archive, archived):
    with pytest.raises(ZeroDivisionError):
        read_and_fail(archive, archived)


@DAMAGES
def test_accepting_the_content_again_repairs_a_damaged_file(archive, file, archived, damage):
    damage_it(archive, damage)
    assert put(archive, file) == archived
    assert read(archive, archived) == CONTENT


@pytest.fixture
def shared(tmp_path):
    """A directory that several machines mount."""
    return tmp_path / "archive"


def left_by(directory, host, pid, *, seconds_ago):
    """Create the temporary file of a process, that many seconds old."""
    left = directory / f"{INCOMING}{host}-{pid}-abcdefgh"
    left.mkdir(parents=True)
    (left / "users.csv").write_text("user_id\n")
    then = time.time() - seconds_ago
    os.utime(left, (then, then))
    return left


def somebody_writes(directory):
    with storage_at(directory).incoming():
        pass


@pytest.fixture
def dead():
    """The pid of a process that has ended."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    return ended.pid


def test_files_of_a_dead_local_process_are_removed(shared, dead):
    left = left_by(shared, this_machine(), dead, seconds_ago=0)
    somebody_writes(shared)
    assert not left.exists()


def test_files_of_a_live_local_process_are_kept(shared):
    with storage_at(shared).incoming() as writing:
        (writing / "users.csv").write_text("user_id\n")
        code = "import sys; from churn.drops.storage import storage_at\nwith storage_at(sys.argv[1]).incoming(): pass"
        subprocess.run(
            [sys.executable, "-c", code, shared],
            check=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert (writing / "users.csv").exists()


@pytest.mark.parametrize("host", ["worker-b-0123abcd", f"{this_machine()}0", "worker-b"])
def test_files_of_another_machine_are_kept(shared, dead, host):
    left = left_by(shared, host, dead, seconds_ago=ABANDONED_SECONDS - 60)
    somebody_writes(shared)
    assert left.exists()


@pytest.mark.parametrize("host", ["worker-b-0123abcd", this_machine()])
def test_temporary_files_older_than_a_day_are_removed(shared, host):
    left = left_by(shared, host, os.getpid(), seconds_ago=ABANDONED_SECONDS + 60)
    somebody_writes(shared)
    assert not left.exists()


def test_temporary_files_of_earlier_versions_are_removed_after_a_day(shared):
    left = shared / f"{INCOMING}k2j3h4g5"
    left.mkdir(parents=True)
    somebody_writes(shared)
    assert left.exists()
    os.utime(left, (0, 0))
    somebody_writes(shared)
    assert not left.exists()
