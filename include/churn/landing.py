"""The landing directory: which drops are there, whether they are complete, and what identifies their content."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from churn.as_of import AsOfError, parse_as_of
from churn.contract import FILES, REQUIRED_FILES

MANIFEST = "manifest.json"
SUCCESS = "_SUCCESS"
ACCEPT = "_ACCEPT"
MANIFEST_RULE = '{file: {"sha256": 64 hex digits, "rows": a whole number}}'


@dataclass(frozen=True)
class Drop:
    """The directory landing/<AS_OF>/."""

    as_of: date
    path: Path

    def files(self) -> list[Path]:
        """Return the contract's files that are there, in the contract's order."""
        return [path for file in FILES if (path := self.path / file.name).is_file()]

    def says_of_itself(self) -> list[Path]:
        """Return the files beside those of the contract that decide whether it is accepted."""
        return [path for name in (MANIFEST, ACCEPT) if (path := self.path / name).is_file()]

    @property
    def accepted_because(self) -> str | None:
        """Why a person accepts a drop with unusually few customers: the text of _ACCEPT, None without that file."""
        path = self.path / ACCEPT
        return path.read_text(encoding="utf-8", errors="replace").strip() if path.is_file() else None


@dataclass(frozen=True)
class Manifest:
    """What the sender says of each file: its sha256 and, where given, how many rows it has."""

    files: Mapping[str, Mapping[str, Any]]


class ManifestError(ValueError):
    """A manifest.json that breaks MANIFEST_RULE; the message is what was found instead."""


def find_drop(landing: Path, as_of: date) -> Drop | None:
    """Return the drop of `as_of`, None where the landing directory has none."""
    path = landing / as_of.isoformat()
    return Drop(as_of, path) if path.is_dir() else None


def list_drops(landing: Path) -> list[Drop]:
    """Return every drop of the landing directory, oldest first; a directory not named by a date is no drop."""
    drops = []
    for path in landing.iterdir() if landing.is_dir() else []:
        try:
            drops.append(Drop(parse_as_of(path.name), path))
        except AsOfError:
            continue
    return sorted((drop for drop in drops if drop.path.is_dir()), key=lambda drop: drop.as_of)


def nearest_earlier(landing: Path, as_of: date) -> Drop | None:
    """Return the newest complete drop before `as_of`, None where there is none."""
    earlier = [drop for drop in list_drops(landing) if drop.as_of < as_of and is_complete(drop)]
    return earlier[-1] if earlier else None


def is_complete(drop: Drop) -> bool:
    """Tell whether the drop may be read: its required files are there, and its manifest's files too.

    A sender who writes `_SUCCESS` or `manifest.json` last says with it that the drop is whole. A sender who writes
    neither renames the finished directory into place.
    """
    there = {path.name for path in drop.files()}
    if not {file.name for file in REQUIRED_FILES} <= there:
        return False
    try:
        manifest = read_manifest(drop)
    except ManifestError:
        return False
    return manifest is None or all((drop.path / name).is_file() for name in manifest.files)


def read_manifest(drop: Drop) -> Manifest | None:
    """Return the drop's manifest, None where it has none.

    Raises:
        ManifestError: it is not JSON of the form MANIFEST_RULE.
    """
    path = drop.path / MANIFEST
    if not path.is_file():
        return None
    try:
        files = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ManifestError(f"not JSON: {error}") from None
    if not isinstance(files, dict):
        raise ManifestError(json.dumps(files))
    for name, entry in files.items():
        if not _is_entry(entry) or "/" in name:
            raise ManifestError(json.dumps({name: entry}))
    return Manifest(files)


def _is_entry(entry: Any) -> bool:
    if not isinstance(entry, dict) or not isinstance(entry.get("rows", 0), int):
        return False
    sha256 = entry.get("sha256")
    return isinstance(sha256, str) and re.fullmatch("[0-9a-fA-F]{64}", sha256) is not None


def sha256_of(path: Path) -> str:
    """Return the file's sha256 as 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_of(files: Mapping[str, str]) -> str:
    """Return the sha256 of a drop's content, given {file: sha256}."""
    return hashlib.sha256(json.dumps(dict(sorted(files.items()))).encode()).hexdigest()
