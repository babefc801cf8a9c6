"""Storage of the archive and of the list's files: a directory, or a prefix of an object store. Files appear whole or
not at all.

Reads and writes go through local files: the directory's own, or a temporary copy of the object. So a broken connection
is reported as such, and not as a damaged file.
"""

import os
import platform
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Protocol

Location = str | Path
"""A directory, or a URL that fsspec knows, such as s3://bucket/prefix."""

INCOMING = ".incoming-"
"""Prefix of a directory for incomplete files. The machine and the process that write there follow."""

ABANDONED_SECONDS = 24 * 3600
"""Age after which such a directory is abandoned, whichever machine wrote it. A task may take two hours
(execution_timeout), and the clocks of a worker and a file server may differ."""


class Storage(Protocol):
    """Storage of published files; names are relative paths."""

    @contextmanager
    def incoming(self) -> Iterator[Path]:
        """Yield a directory for incomplete files, removed when the block ends."""

    def put(self, files: Mapping[str, Path]) -> None:
        """Publish each file, from a directory of incoming(), under its name. An existing file is replaced."""

    @contextmanager
    def fetched(self, name: str) -> Iterator[Path]:
        """Yield a local path of the file, readable within the block.

        Raises:
            FileNotFoundError: the file does not exist.
        """

    def sizes(self, under: str = "") -> dict[str, int]:
        """Return the bytes of every published file in the folder `under` and below, by name."""

    def delete(self, names: Iterable[str]) -> None:
        """Delete files, one after the other, and the folders that are empty then. A missing file is no error."""

    def folders(self, under: str = "") -> list[str]:
        """Return the names of the folders directly in the folder `under`, in order."""

    def delete_folder(self, name: str) -> None:
        """Delete a folder and everything in it. A missing folder is no error."""

    def where(self, name: str) -> str:
        """Return the file's path or URL, for messages."""


def storage_at(location: Location) -> Storage:
    """Return the storage at `location`; nothing is opened yet.

    Raises:
        ValueError: fsspec does not know the URL's protocol.
        ImportError: the library for that protocol is not installed; the message names it.
    """
    return ObjectStore(str(location)) if "://" in str(location) else Directory(Path(location))


@contextmanager
def _incoming_in(parent: Path) -> Iterator[Path]:
    """Yield a directory in `parent`, removed when the block ends; remove those that killed processes left there."""
    here = this_machine()
    for left in parent.glob(f"{INCOMING}*"):
        if is_abandoned(left, here):
            # Another process may be removing it too.
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f"{INCOMING}{here}-{os.getpid()}-", dir=parent) as directory:
        yield Path(directory)


class Directory:
    """A directory shared by all readers and writers of the archive. Published files survive a power failure."""

    def __init__(self, path: Path):
        self._path = path

    @contextmanager
    def incoming(self) -> Iterator[Path]:
        self._path.mkdir(parents=True, exist_ok=True)
        # In the same directory, because a rename is atomic only within one file system.
        with _incoming_in(self._path) as directory:
            yield directory

    def put(self, files: Mapping[str, Path]) -> None:
        for name, file in files.items():
            target = self._path / name
            target.parent.mkdir(parents=True, exist_ok=True)
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

    def sizes(self, under: str = "") -> dict[str, int]:
        found = {}
        for path in (self._path / under).rglob("*"):
            name = path.relative_to(self._path)
            if name.parts[0].startswith(INCOMING):
                continue
            # Another process may delete it meanwhile.
            with suppress(FileNotFoundError):
                if path.is_file():
                    found[str(name)] = path.stat().st_size
        return found

    def delete(self, names: Iterable[str]) -> None:
        for name in names:
            path = self._path / name
            path.unlink(missing_ok=True)
            for folder in path.parents[: len(Path(name).parents) - 1]:
                try:
                    folder.rmdir()
                except OSError:
                    break  # not empty, or gone

    def folders(self, under: str = "") -> list[str]:
        parent = self._path / under
        if not parent.is_dir():
            return []
        return sorted(each.name for each in parent.iterdir() if each.is_dir() and not each.name.startswith(INCOMING))

    def delete_folder(self, name: str) -> None:
        with suppress(FileNotFoundError):
            shutil.rmtree(self._path / name)

    def where(self, name: str) -> str:
        return str(self._path / name)


def this_machine() -> str:
    """Return a name for the set of processes that can see each other's pids: same machine, boot and container."""
    parts = [platform.node()]
    # Linux only. Two machines can have the same name, and so can two containers of one machine.
    for path, read in (("/proc/sys/kernel/random/boot_id", Path.read_text), ("/proc/self/ns/pid", Path.readlink)):
        if os.path.lexists(path):
            parts.append(str(read(Path(path))))
    return f"{parts[0]}-{sha256(repr(parts).encode()).hexdigest()[:8]}"


def is_abandoned(directory: Path, here: str) -> bool:
    """Tell whether the process that wrote to a directory of incoming() is gone, or the directory is too old.

    A file lock would not do: on NFS, a lock on a directory holds only among the processes of one machine.

    Args:
        here: the name of this machine, as this_machine() returns it.
    """
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
    """fsync a file or a directory."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


class ObjectStore:
    """A prefix of an object store, through fsspec. Address and credentials come from the environment (S3: AWS_*).

    Uploads are atomic. Writers of one name write the same content, or hold a lock of the database.
    """

    def __init__(self, url: str):
        # Imported here, because it takes half a second.
        from fsspec.core import url_to_fs  # noqa: PLC0415

        self._url = url.rstrip("/")
        self._files, self._prefix = url_to_fs(self._url)

    @contextmanager
    def incoming(self) -> Iterator[Path]:
        with _incoming_in(Path(tempfile.gettempdir())) as directory:
            yield directory

    def put(self, files: Mapping[str, Path]) -> None:
        for name, file in files.items():
            self._files.put_file(str(file), f"{self._prefix}/{name}")

    @contextmanager
    def fetched(self, name: str) -> Iterator[Path]:
        with tempfile.TemporaryDirectory() as directory:
            copy = Path(directory) / "fetched"
            self._files.get_file(f"{self._prefix}/{name}", str(copy))
            yield copy

    def sizes(self, under: str = "") -> dict[str, int]:
        self._files.invalidate_cache()
        found = self._files.find(f"{self._prefix}/{under}".rstrip("/"), detail=True)
        return {path.removeprefix(f"{self._prefix}/"): about["size"] for path, about in found.items()}

    def delete(self, names: Iterable[str]) -> None:
        for name in names:
            with suppress(FileNotFoundError):
                self._files.rm_file(f"{self._prefix}/{name}")

    def folders(self, under: str = "") -> list[str]:
        below = f"{under}/" if under else ""
        names = (name.removeprefix(below) for name in self.sizes(under))
        return sorted({first for first, slash, _ in (name.partition("/") for name in names) if slash})

    def delete_folder(self, name: str) -> None:
        self._files.invalidate_cache()
        with suppress(FileNotFoundError):
            self._files.rm(f"{self._prefix}/{name}", recursive=True)

    def where(self, name: str) -> str:
        return f"{self._url}/{name}"
