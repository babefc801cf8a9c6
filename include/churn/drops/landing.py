"""The landing directory: the drops in it, whether they are complete, and the hash of their content.

Writers to the directory are trusted with the content of drops only. Logs and errors quote a drop's files, so symlinks
are rejected: one could point to a file that only the pipeline may read.
"""

import hashlib
import json
import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from io import BufferedReader
from pathlib import Path
from typing import Any

from churn.as_of import AsOfError, parse_as_of
from churn.drops.contract import FILES, REQUIRED_FILES

log = logging.getLogger(__name__)

MANIFEST = "manifest.json"
SUCCESS = "_SUCCESS"
ACCEPT = "_ACCEPT"
MANIFEST_RULE = '{file: {"sha256": 64 hex digits, "rows": a whole number}}'
MANIFEST_BYTES = 64 * 2**10
"""Size limit of a manifest; one of seven files has 700 bytes."""
FILE_NAME = re.compile(r"[\w .-]{1,60}")
"""Valid file names in a manifest: each is looked up in the drop's directory."""
REASON_LENGTH = 1000
"""Bytes of _ACCEPT that are read; they are logged."""


@dataclass(frozen=True)
class Drop:
    """The directory landing/<AS_OF>/."""

    as_of: date
    path: Path

    def files(self) -> list[Path]:
        """Return the contract's files in the drop, in the contract's order."""
        return [path for file in FILES if _is_plain(path := self.path / file.name)]

    def links(self) -> list[Path]:
        """Return the symlinks in place of files that the pipeline would read."""
        names = [*(file.name for file in FILES), MANIFEST, ACCEPT]
        return [path for name in names if (path := self.path / name).is_symlink()]

    def changed_ns(self) -> int:
        """Return when the newest of its files, or of the symlinks in their place, changed its status (ns since 1970).

        A copy can bring along the time of the last change of content, and not this one.
        """
        return max(path.lstat().st_ctime_ns for path in (*self.files(), *self.links()))

    def says_of_itself(self) -> list[Path]:
        """Return the other files that decide whether the drop is accepted."""
        return [path for name in (MANIFEST, ACCEPT) if _is_plain(path := self.path / name)]

    def identity_of_rest(self) -> dict[str, str]:
        """Return the identity of each file of says_of_itself(). A rewritten _ACCEPT has a new one."""
        return {path.name: _identity(path) for path in self.says_of_itself()}

    @property
    def accepted_because(self) -> str | None:
        """The text of _ACCEPT, a person's reason to accept a held drop; None without the file."""
        path = self.path / ACCEPT
        if not _is_plain(path):
            return None
        with open_plain(path) as file:
            return file.read(REASON_LENGTH).decode("utf-8", "replace").strip()

    def is_accepted_since(self, instant: datetime) -> bool:
        """Tell whether _ACCEPT has a reason and was written after `instant` (aware)."""
        if not self.accepted_because:
            return False
        return written_after((self.path / ACCEPT).lstat().st_mtime_ns, instant)


def _identity(path: Path) -> str:
    written = f" {path.lstat().st_mtime_ns}" if path.name == ACCEPT else ""
    return sha256_of(path) + written


def written_after(modified_ns: int, instant: datetime) -> bool:
    """Tell whether a modification time lies after `instant` (aware)."""
    return modified_ns > instant.timestamp() * 1e9


@dataclass(frozen=True)
class Manifest:
    """The sender's manifest: for each file its sha256 and, optionally, its number of rows."""

    files: Mapping[str, Mapping[str, Any]]

    def promises(self, name: str, sha256: str) -> bool:
        """Tell whether it names a file with that sha256 (64 hex digits)."""
        return name in self.files and self.files[name]["sha256"].lower() == sha256


class ManifestError(ValueError):
    """A manifest.json that breaks MANIFEST_RULE. The message quotes the faulty entry."""


def find_drop(landing: Path, as_of: date) -> Drop | None:
    """Return the drop of `as_of`, None if there is none."""
    drop = Drop(as_of, landing / as_of.isoformat())
    return drop if _is_directory(drop) else None


def list_drops(landing: Path) -> list[Drop]:
    """Return every drop of the landing directory, oldest first. Directories not named by a date and symlinks are
    ignored."""
    drops = []
    for path in landing.iterdir() if landing.is_dir() else []:
        try:
            drops.append(Drop(parse_as_of(path.name), path))
        except AsOfError:
            continue
    return sorted((drop for drop in drops if _is_directory(drop)), key=lambda drop: drop.as_of)


def is_complete(drop: Drop) -> bool:
    """Tell whether the drop is complete: the required files and those of its manifest are present.

    A sender marks a drop as complete by writing `_SUCCESS` or `manifest.json` last, or by renaming the finished
    directory into place.
    """
    # Symlinks count as present: validate then rejects them, visibly.
    there = {path.name for path in (*drop.files(), *drop.links())}
    if not {file.name for file in REQUIRED_FILES} <= there:
        return False
    try:
        manifest = read_manifest(drop)
    except ManifestError:
        return False
    return manifest is None or all((drop.path / name).is_file() for name in manifest.files)


def is_readable(drop: Drop) -> bool:
    """Tell whether the drop is complete and its files can be opened. If not, the reason is logged.

    An unreadable drop must not fail a task that works on another date.
    """
    try:
        if not is_complete(drop):
            return False
        for path in (*drop.files(), *drop.says_of_itself()):
            open_plain(path).close()
    except OSError as error:
        log.warning("%s: passed over, it cannot be read: %s", drop.path, error)
        return False
    return True


def read_manifest(drop: Drop) -> Manifest | None:
    """Return the drop's manifest, None if it has none.

    Raises:
        ManifestError: the manifest does not match MANIFEST_RULE, or is larger than MANIFEST_BYTES.
    """
    path = drop.path / MANIFEST
    if not _is_plain(path):
        return None
    with open_plain(path) as file:
        text = file.read(MANIFEST_BYTES + 1)
    if len(text) > MANIFEST_BYTES:
        raise ManifestError(f"more than {MANIFEST_BYTES} bytes")
    try:
        files = json.loads(text.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"not JSON: {error}") from None
    if not isinstance(files, dict):
        raise ManifestError(json.dumps(files))
    for name, entry in files.items():
        if not _is_entry(entry) or not FILE_NAME.fullmatch(name):
            raise ManifestError(json.dumps({name: entry}))
    return Manifest(files)


def open_plain(path: Path) -> BufferedReader:
    """Open a file of a drop for reading. A symlink that replaced it or the drop's directory raises OSError."""
    return open(path, "rb", opener=_without_links)


def _without_links(name: str, flags: int) -> int:
    # O_NOFOLLOW guards only the last component of a path. A writer of drops can replace both of the last two.
    drop = os.open(os.path.dirname(name), os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        return os.open(os.path.basename(name), flags | os.O_NOFOLLOW, dir_fd=drop)
    finally:
        os.close(drop)


def _is_plain(path: Path) -> bool:
    # Check for a symlink first: is_file() raises if its target is in an unreadable directory.
    return not path.is_symlink() and path.is_file()


def _is_directory(drop: Drop) -> bool:
    return not drop.path.is_symlink() and drop.path.is_dir()


def _is_entry(entry: Any) -> bool:
    if not isinstance(entry, dict) or not isinstance(entry.get("rows", 0), int):
        return False
    sha256 = entry.get("sha256")
    return isinstance(sha256, str) and re.fullmatch("[0-9a-fA-F]{64}", sha256) is not None


def sha256_of(path: Path) -> str:
    """Return the file's sha256, 64 hex digits."""
    with open_plain(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_of(files: Mapping[str, str]) -> str:
    """Return the sha256 of a drop's content.

    Args:
        files: {file name: sha256}.
    """
    return hashlib.sha256(json.dumps(dict(sorted(files.items()))).encode()).hexdigest()
