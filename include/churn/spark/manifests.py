"""The Parquet snapshots under SNAPSHOTS_URL: as_of=YYYY-MM-DD/{build=…/<table>/*.parquet, manifest.json}.

A build is a folder of its own, and the manifest names its files. It is replaced last and at once, and then the older
builds are deleted. So a reader of what the manifest names reads the old build or the new one. A killed writer leaves a
build that nobody reads and the next writer deletes.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from churn.drops.storage import Storage

MANIFEST = "manifest.json"
AS_OF, BUILD = "as_of=", "build="

SCORED = "scored"
"""The folder of scores on their way to a list, see scoring.py."""


@dataclass(frozen=True)
class Table:
    """A table of a build.

    Attributes:
        parts: {name of each Parquet file below SNAPSHOTS_URL: its bytes}.
    """

    rows: int
    parts: Mapping[str, int]


@dataclass(frozen=True)
class Manifest:
    """What the Parquet snapshot of an AS_OF was made from, and its files.

    Attributes:
        drop_digest: that of snapshots.builds.
        code_digest: the code that wrote it.
        drop_files: {file of the drop: sha256}.
    """

    as_of: date
    build: str
    drop_digest: str
    code_digest: str
    drop_files: Mapping[str, str]
    tables: Mapping[str, Table]

    @property
    def rows(self) -> dict[str, int]:
        """{table: its rows}."""
        return {name: table.rows for name, table in self.tables.items()}


def folder_of(as_of: date, build: str | None = None) -> str:
    """Return the folder of an AS_OF, or of a build of it, below SNAPSHOTS_URL."""
    return f"{AS_OF}{as_of}" + (f"/{BUILD}{build}" if build else "")


def as_ofs(storage: Storage, under: str = "") -> list[date]:
    """Return every AS_OF that has a folder, oldest first."""
    return [date.fromisoformat(each.removeprefix(AS_OF)) for each in storage.folders(under) if each.startswith(AS_OF)]


def read_manifest(storage: Storage, as_of: date) -> Manifest | None:
    """Return the manifest of an AS_OF, None where there is none, or none that this code can read."""
    try:
        with storage.fetched(f"{folder_of(as_of)}/{MANIFEST}") as file:
            return _from_json(json.loads(file.read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return None


def publish(storage: Storage, manifest: Manifest) -> None:
    """Replace the manifest of its AS_OF, and delete the other builds."""
    with storage.incoming() as directory:
        file = directory / MANIFEST
        file.write_text(json.dumps(_to_json(manifest), indent=2) + "\n", encoding="utf-8")
        storage.put({f"{folder_of(manifest.as_of)}/{MANIFEST}": file})
    delete_other_builds(storage, manifest.as_of, manifest.build)


def delete_other_builds(storage: Storage, as_of: date, kept: str | None) -> list[str]:
    """Delete the builds of an AS_OF but for `kept`; return their names."""
    others = [each for each in storage.folders(folder_of(as_of)) if each != f"{BUILD}{kept}"]
    for each in others:
        storage.delete_folder(f"{folder_of(as_of)}/{each}")
    return others


def remove(storage: Storage, as_of: date) -> None:
    """Delete everything of an AS_OF, the manifest first: no reader finds one whose files are gone."""
    storage.delete([f"{folder_of(as_of)}/{MANIFEST}"])
    storage.delete_folder(folder_of(as_of))


def parts_in(storage: Storage, folder: str) -> dict[str, int]:
    """Return the Parquet files in a folder that Spark wrote, and their bytes."""
    # Beside them Spark writes checksums, .part-….crc, and the empty file _SUCCESS.
    found = storage.sizes(folder)
    return {name: found[name] for name in sorted(found) if name.endswith(".parquet") and "/_temporary/" not in name}


def is_whole(storage: Storage, manifest: Manifest) -> bool:
    """Tell whether every file of the manifest is there with its size."""
    there = storage.sizes(folder_of(manifest.as_of, manifest.build))
    return all(there.get(name) == size for table in manifest.tables.values() for name, size in table.parts.items())


def _to_json(manifest: Manifest) -> dict[str, Any]:
    return {
        "as_of": manifest.as_of.isoformat(),
        "build": manifest.build,
        "drop_digest": manifest.drop_digest,
        "code_digest": manifest.code_digest,
        "drop_files": dict(manifest.drop_files),
        "tables": {name: {"rows": of.rows, "parts": dict(of.parts)} for name, of in manifest.tables.items()},
    }


def _from_json(found: Any) -> Manifest:
    return Manifest(
        date.fromisoformat(found["as_of"]),
        found["build"],
        found["drop_digest"],
        found["code_digest"],
        found["drop_files"],
        {name: Table(of["rows"], of["parts"]) for name, of in found["tables"].items()},
    )
