"""Where the archive lies: a directory, or a prefix of an object store. Either takes a file whole or not at all.

What is read and written is always a file of this machine: a directory's own, or a copy of the object in a temporary
directory. So a broken connection is told as what it is, and never as a damaged file.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

Location = str | Path
"""A directory, or a URL that fsspec knows, such as s3://bucket/prefix."""


class Storage(Protocol):
    """What the archive needs of the place where it lies; names are paths relative to it."""

    @contextmanager
    def incoming(self) -> Iterator[Path]:
        """Give a directory for files on their way here, gone when the block ends."""

    def put(self, files: Mapping[str, Path]) -> None:
        """Make each file, from a directory of incoming(), visible under its name, in place of one that is there."""

    @contextmanager
    def fetched(self, name: str) -> Iterator[Path]:
        """Give the file of that name as one of this machine, to be read in the block.

        Raises:
            FileNotFoundError: there is none.
        """

    def where(self, name: str) -> str:
        """Return what a person calls the file."""


def storage_at(location: Location) -> Storage:
    """Return the storage at `location`; nothing is opened yet.

    Raises:
        ValueError: fsspec does not know the URL's protocol.
        ImportError: the library for that protocol is not installed; the message names it.
    """
    return ObjectStore(str(location)) if "://" in str(location) else Directory(Path(location))


class Directory:
    """A directory, shared by all who read and write the archive. What is visible outlives a power failure."""

    def __init__(self, path: Path):
        self._path = path

    @contextmanager
    def incoming(self) -> Iterator[Path]:
        self._path.mkdir(parents=True, exist_ok=True)
        in_use = os.open(self._path, os.O_RDONLY)
        try:
            self._clear_away_what_the_dead_left(in_use)
            # Beside what is there: a file moves to its name at once only within one file system.
            with tempfile.TemporaryDirectory(prefix=".incoming-", dir=self._path) as directory:
                yield Path(directory)
        finally:
            os.close(in_use)

    def _clear_away_what_the_dead_left(self, in_use: int) -> None:
        """Remove what nobody is writing any more. Who writes holds a shared lock from before the first file to the end;
        the system takes it back from a process that dies."""
        with suppress(BlockingIOError):
            fcntl.flock(in_use, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for left in self._path.glob(".incoming-*"):
                shutil.rmtree(left)
        fcntl.flock(in_use, fcntl.LOCK_SH)

    def put(self, files: Mapping[str, Path]) -> None:
        for name, file in files.items():
            target = self._path / name
            target.parent.mkdir(exist_ok=True)
            _sync(file)
            file.replace(target)
            _sync(target.parent)
        _sync(self._path)

    @contextmanager
    def fetched(self, name: str) -> Iterator[Path]:
        path = self._path / name
        if not path.is_file():
            raise FileNotFoundError(path)
        yield path

    def where(self, name: str) -> str:
        return str(self._path / name)


def _sync(path: Path) -> None:
    """Wait until the file, or the names in the directory, outlive a power failure."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


class ObjectStore:
    """A prefix of an object store, by fsspec, which finds address and credentials in the environment (for S3: AWS_*).

    An object is visible when all of it is there. It is named by its content, so that of two who write the same name
    either may be the last, and nobody needs a lock.
    """

    def __init__(self, url: str):
        # Only where it is used: with its libraries it takes half a second.
        from fsspec.core import url_to_fs  # noqa: PLC0415

        self._url = url.rstrip("/")
        self._files, self._prefix = url_to_fs(self._url)

    @contextmanager
    def incoming(self) -> Iterator[Path]:
        with tempfile.TemporaryDirectory() as directory:
            yield Path(directory)

    def put(self, files: Mapping[str, Path]) -> None:
        for name, file in files.items():
            self._files.put_file(str(file), f"{self._prefix}/{name}")

    @contextmanager
    def fetched(self, name: str) -> Iterator[Path]:
        with tempfile.TemporaryDirectory() as directory:
            copy = Path(directory) / "fetched"
            self._files.get_file(f"{self._prefix}/{name}", str(copy))
            yield copy

    def where(self, name: str) -> str:
        return f"{self._url}/{name}"
