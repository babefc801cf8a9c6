"""The archive: the files of accepted drops, compressed, named by the sha256 of their content.

Every accepted revision can be loaded again. Loading reads the archive, so it loads exactly what was checked.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, cast

import pyarrow as pa

from churn.drops.landing import open_plain
from churn.drops.storage import Location, Storage, storage_at
from churn.drops.tombstones import copy_without
from churn.postgres.database import Connection, execute

SUFFIX = ".csv.zst"

REMEDY = "validate the drop again (run churn_snapshot for its AS_OF), or restore the file from a backup"


class ArchiveError(RuntimeError):
    """A file that the archive should hold is missing or damaged."""


class HashedReader:
    """Reads a file and tracks the sha256 and the number of the bytes read; copies them to `copy` if given."""

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
    """Files on their way into the archive. They become visible only by accept(); leaving the block cleans up.

    Attributes:
        directory: where they lie; other temporary files may lie there too.
    """

    directory: Path

    def __init__(self, archive: Location):
        self._storage = storage_at(archive)
        self._incoming = self._storage.incoming()
        self._waiting: list[tuple[Path, HashedReader]] = []

    def __enter__(self) -> "Incoming":
        self.directory = self._incoming.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._incoming.__exit__(*error)

    @contextmanager
    def reading(self, path: Path) -> Iterator[HashedReader]:
        """Open the file at `path`. What is read is also written for the archive."""
        waiting = self.directory / path.name
        with open_plain(path) as file, pa.CompressedOutputStream(pa.OSFile(str(waiting), "wb"), "zstd") as copy:
            reader = HashedReader(file, copy)
            yield reader
        self._waiting.append((waiting, reader))

    def streams(self) -> dict[str, Callable[[], AbstractContextManager[BinaryIO]]]:
        """Return {file name: function that opens the content read so far}."""
        return {waiting.name: partial(decompress, waiting) for waiting, _ in self._waiting}

    def leave_out(self, name: str, lines: Iterable[int]) -> HashedReader:
        """Write the file `name` again without these lines; return a reader that has read what is left."""
        waiting, shorter = self.directory / name, self.directory / f"{name}.shorter"
        reader = rewrite(waiting, shorter, lines)
        shorter.replace(waiting)
        self._waiting = [(path, reader if path == waiting else each) for path, each in self._waiting]
        return reader

    def accept(self) -> None:
        """Move the files into the archive. An existing file is replaced, which repairs a damaged one."""
        self._storage.put({name_of(reader.sha256): waiting for waiting, reader in self._waiting})


def rewrite(source: Path, target: Path, lines: Iterable[int]) -> HashedReader:
    """Write an archived file again without these lines; return a reader that has read what is left."""
    with decompress(source) as file, pa.CompressedOutputStream(pa.OSFile(str(target), "wb"), "zstd") as copy:
        copy_without(file, copy, lines)
    with decompress(target) as file:
        reader = HashedReader(file)
        while reader.read(2**20):
            pass
    return reader


@contextmanager
def open_archived(archive: Location, sha256: str) -> Iterator[BinaryIO]:
    """Open the archived file with that sha256. When the block ends, the whole content is verified.

    Raises:
        ArchiveError: the file is missing, or its content has another sha256. This replaces an error from the block.
    """
    storage, name = storage_at(archive), name_of(sha256)
    with ExitStack() as opened:
        try:
            path = opened.enter_context(storage.fetched(name))
        except FileNotFoundError:
            raise ArchiveError(f"the archive has no {storage.where(name)}: {REMEDY}") from None
        reader = HashedReader(opened.enter_context(decompress(path)))
        try:
            yield cast(BinaryIO, reader)
        finally:
            _verify(reader, sha256, storage.where(name))


def decompress(path: Path) -> pa.CompressedInputStream:
    """Open an archived file for reading its content."""
    return pa.CompressedInputStream(pa.OSFile(str(path)), "zstd")


def _verify(reader: HashedReader, sha256: str, where: str) -> None:
    try:
        while reader.read(2**20):
            pass
    except OSError as error:
        raise ArchiveError(f"{where} is damaged ({error}): {REMEDY}") from error
    if reader.sha256 != sha256:
        raise ArchiveError(f"{where} is damaged, its content has the sha256 {reader.sha256}: {REMEDY}")


def archived_in(storage: Storage) -> list[str]:
    """Return the names of all archived files, in order."""
    return sorted(name for name in storage.sizes() if name.endswith(SUFFIX))


def sha256_of(name: str) -> str:
    """Return the sha256 of the content of the archived file `name`, as name_of() wrote it."""
    return Path(name).name.removesuffix(SUFFIX)


def newest_content(connection: Connection) -> Callable[[str], str]:
    """Return a function from the sha256 of a file of a drop to that of its content now: erasures write files again."""
    rewrites: dict[str, str] = {old: new for old, new, *_ in execute(connection, "erasure/rewrites")}

    def newest(sha256: str) -> str:
        # A file may have been written again by several requests.
        while sha256 in rewrites:
            sha256 = rewrites[sha256]
        return sha256

    return newest


def name_of(sha256: str) -> str:
    """Return the name in the archive of the file whose content has that sha256."""
    return f"{sha256[:2]}/{sha256}{SUFFIX}"
