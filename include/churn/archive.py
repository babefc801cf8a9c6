"""The archive: the files of accepted drops, compressed, named by the sha256 of their content.

What was accepted can be loaded again for ever, and what is loaded is exactly what was checked, whatever happens to the
landing directory in between.
"""

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO, cast

import pyarrow as pa

from churn.landing import open_plain

REMEDY = "validate the drop again (run churn_snapshot for its AS_OF), or restore the file from a backup"


class ArchiveError(RuntimeError):
    """A file that the archive should hold is missing or damaged."""


class HashedReader:
    """Reads a file and knows the sha256 and the number of the bytes read so far; copies them to `copy` if given."""

    def __init__(self, file: BinaryIO, copy: BinaryIO | None = None):
        self._file, self._copy, self._hash = file, copy, hashlib.sha256()
        self.bytes = 0

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        self._hash.update(data)
        self.bytes += len(data)
        if self._copy is not None:
            self._copy.write(data)
        return data

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()


class Incoming:
    """Files on their way into the archive. Nothing is visible there before accept(); leaving the block cleans up."""

    def __init__(self, archive: Path):
        self._archive = archive
        archive.mkdir(parents=True, exist_ok=True)
        self._waiting: list[tuple[Path, HashedReader]] = []
        with ExitStack() as opened:
            in_use = os.open(archive, os.O_RDONLY)
            opened.callback(os.close, in_use)
            _clear_away_what_the_dead_left(archive, in_use)
            directory = tempfile.TemporaryDirectory(prefix=".incoming-", dir=archive)
            self._directory = Path(opened.enter_context(directory))
            self._opened = opened.pop_all()

    def __enter__(self) -> "Incoming":
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    @contextmanager
    def reading(self, path: Path) -> Iterator[HashedReader]:
        """Open the file at `path`; what is read of it goes to the archive, once it is accepted."""
        waiting = self._directory / path.name
        with open_plain(path) as file, pa.CompressedOutputStream(pa.OSFile(str(waiting), "wb"), "zstd") as copy:
            reader = HashedReader(file, copy)
            yield reader
        self._waiting.append((waiting, reader))

    def streams(self) -> dict[str, Callable[[], AbstractContextManager[BinaryIO]]]:
        """Return how to open each file that was read once more, by its name: its content as it was read."""
        return {waiting.name: partial(_decompress, waiting) for waiting, _ in self._waiting}

    def accept(self) -> None:
        """Move the files that were read into the archive; one that is there already is replaced, and so repaired."""
        for waiting, reader in self._waiting:
            target = _path(self._archive, reader.sha256)
            target.parent.mkdir(exist_ok=True)
            _sync(waiting)
            waiting.replace(target)
            _sync(target.parent)
        _sync(self._archive)


def _sync(path: Path) -> None:
    """Wait until the file, or the names in the directory, outlive a power failure."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _clear_away_what_the_dead_left(archive: Path, in_use: int) -> None:
    """Remove what nobody is writing any more. Who writes holds a shared lock from before the first file to the end; the
    system takes it back from a process that dies."""
    with suppress(BlockingIOError):
        fcntl.flock(in_use, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for left in archive.glob(".incoming-*"):
            shutil.rmtree(left)
    fcntl.flock(in_use, fcntl.LOCK_SH)


@contextmanager
def open_archived(archive: Path, sha256: str) -> Iterator[BinaryIO]:
    """Open the archived file of that hash; when the block ends, what was read must have that hash.

    Raises:
        ArchiveError: there is no such file, or its content is another than its name says; then whatever the block
            raised came of that.
    """
    path = _path(archive, sha256)
    if not path.is_file():
        raise ArchiveError(f"the archive has no {path}: {REMEDY}")
    with _decompress(path) as stream:
        reader = HashedReader(stream)
        try:
            yield cast(BinaryIO, reader)
        finally:
            _verify(reader, sha256, path)


def _decompress(path: Path) -> pa.CompressedInputStream:
    return pa.CompressedInputStream(pa.OSFile(str(path)), "zstd")


def _verify(reader: HashedReader, sha256: str, path: Path) -> None:
    try:
        while reader.read(2**20):
            pass
    except OSError as error:
        raise ArchiveError(f"{path} is damaged ({error}): {REMEDY}") from error
    if reader.sha256 != sha256:
        raise ArchiveError(f"{path} is damaged, its content has the sha256 {reader.sha256}: {REMEDY}")


def _path(archive: Path, sha256: str) -> Path:
    return archive / sha256[:2] / f"{sha256}.csv.zst"
