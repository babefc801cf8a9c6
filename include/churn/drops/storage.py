"""Where the archive lies: a directory, or a prefix of an object store. Either takes a file whole or not at all.

What is read and written is always a file of this machine: a directory's own, or a copy of the object in a temporary
directory. So a broken connection is told as what it is, and never as a damaged file.
"""

import os
import platform
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Protocol

Location = str | Path
"""A directory, or a URL that fsspec knows, such as s3://bucket/prefix."""

INCOMING = ".incoming-"
"""How the name of a directory for files on their way begins; the machine and the process that write there follow."""

ABANDONED_SECONDS = 24 * 3600
"""After so long nobody writes to such a directory any more, on whichever machine: a task may take two hours
(execution_timeout), and the clocks of a worker and a file server may differ."""


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
        here = this_machine()
        for left in self._path.glob(f"{INCOMING}*"):
            if is_abandoned(left, here):
                # Another process may be removing it too.
                shutil.rmtree(left, ignore_errors=True)
        # Beside what is there: a file moves to its name at once only within one file system.
        with tempfile.TemporaryDirectory(prefix=f"{INCOMING}{here}-{os.getpid()}-", dir=self._path) as directory:
            yield Path(directory)

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


def this_machine() -> str:
    """Return a name that only processes share of which each sees whether another is alive: those of this machine since
    it was started, and of the same container."""
    parts = [platform.node()]
    # Of Linux: two machines may have one name, and so may two containers of a machine.
    for path, read in (("/proc/sys/kernel/random/boot_id", Path.read_text), ("/proc/self/ns/pid", Path.readlink)):
        if os.path.lexists(path):
            parts.append(str(read(Path(path))))
    return f"{parts[0]}-{sha256(repr(parts).encode()).hexdigest()[:8]}"


def is_abandoned(directory: Path, here: str) -> bool:
    """Tell whether nobody writes to a directory of incoming() any more: its process was one of `here`, this machine,
    and is gone, or the directory is older than ABANDONED_SECONDS. A lock would not tell: on NFS that of a directory
    holds among the processes of one machine only."""
    try:
        age = time.time() - directory.stat().st_mtime
    except FileNotFoundError:
        return False
    own = directory.name.removeprefix(f"{INCOMING}{here}-")
    pid = own.partition("-")[0]
    return age > ABANDONED_SECONDS or (own != directory.name and pid.isdecimal() and not _is_alive(int(pid)))


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


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
