"""validate: a landing drop against its contract. An accepted drop is in the archive; a rejected one leaves no trace."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from churn.archive import HashedReader, Incoming
from churn.as_of import today, why_future
from churn.contract import FILES, LABELS, REQUIRED_FILES, USER_ID, USERS, File, Kind
from churn.customers import Agreement, find_disagreements
from churn.landing import (
    ACCEPT,
    MANIFEST,
    MANIFEST_RULE,
    Drop,
    Manifest,
    ManifestError,
    digest_of,
    nearest_earlier,
    open_plain,
    read_manifest,
)
from churn.storage import Location
from churn.tables import Rows, read_rows
from churn.violations import SHOWN, DropRejected, Violations
from churn.withdrawal import why_withdrawn

log = logging.getLogger(__name__)

LEAST_SHARE = 0.5
"""A drop with less than this share of the nearest earlier one's customers is more likely cut off than true."""


MOST_KINDS = 100
"""Different texts of a column other than user_id. Models learn from a column for each and the gate judges slices by
them: a text of its own for each of a million customers would take a terabyte."""


@dataclass(frozen=True)
class AcceptedFile:
    """A file of an accepted drop; `modified_ns` and `bytes` tell a changed file without reading it."""

    sha256: str
    rows: int
    bytes: int
    modified_ns: int


@dataclass(frozen=True)
class AcceptedDrop:
    """A drop that obeys the contract and lies in the archive; its files were read from `validated_at` on."""

    as_of: date
    validated_at: datetime
    digest: str
    files: Mapping[str, AcceptedFile]

    def to_json(self) -> dict[str, Any]:
        return {
            "as_of": self.as_of.isoformat(),
            "validated_at": self.validated_at.isoformat(),
            "digest": self.digest,
            "files": {name: asdict(file) for name, file in self.files.items()},
        }

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> "AcceptedDrop":
        files = {name: AcceptedFile(**file) for name, file in value["files"].items()}
        validated_at = datetime.fromisoformat(value["validated_at"])
        return AcceptedDrop(date.fromisoformat(value["as_of"]), validated_at, value["digest"], files)


def validate(drop: Drop, database_url: str, archive: Location) -> AcceptedDrop:
    """Check the whole drop and archive it.

    Files stream through in blocks; of each customer eight bytes are kept. The database at `database_url` is asked which
    contents were withdrawn, and about customers where the files do not agree on them; nothing of that stays.

    Raises:
        DropRejected: naming file, line, column, value and rule of what is wrong, the first 20 of each; or its AS_OF
            is after today, or its content was withdrawn.
    """
    if reason := why_future(drop.as_of, today()):
        raise DropRejected(f"drop {drop.as_of} rejected, nothing of it is loaded: {reason}")
    validated_at = datetime.now(UTC)
    violations = Violations()
    manifest = _read_manifest(drop, violations)
    present, linked = {path.name for path in drop.files()}, {path.name for path in drop.links()}
    for name in sorted(linked):
        violations.add(name, "a file of the drop's own, not a symbolic link")
    for file in REQUIRED_FILES:
        if file.name not in present | linked:
            violations.add(file.name, "the file in the drop")
    with Incoming(archive) as incoming:
        agreement = Agreement(drop.as_of)
        accepted = {
            file.name: _check_file(drop, file, incoming, agreement, violations)
            for file in FILES
            if file.name in present
        }
        if manifest:
            _check_manifest(drop, manifest, accepted, violations)
        if USERS.name in accepted:
            if not agreement.holds:
                readable = [name for name, file in accepted.items() if file.rows]
                find_disagreements(drop.as_of, incoming.streams(), readable, database_url, violations)
            _check_size(drop, accepted[USERS.name].rows, violations)
        violations.raise_if_any(drop.as_of.isoformat())
        digest = digest_of({name: file.sha256 for name, file in accepted.items()})
        if reason := why_withdrawn(drop, digest, database_url):
            raise DropRejected(
                f"drop {drop.as_of} rejected, nothing of it is loaded: {reason}; to load it all the same, write a file "
                f"{ACCEPT} that says why"
            )
        incoming.accept()
    return AcceptedDrop(drop.as_of, validated_at, digest, accepted)


def _read_manifest(drop: Drop, violations: Violations) -> Manifest | None:
    try:
        return read_manifest(drop)
    except ManifestError as error:
        violations.add(MANIFEST, MANIFEST_RULE, value=str(error))
        return None


def _check_file(
    drop: Drop, file: File, incoming: Incoming, agreement: Agreement, violations: Violations
) -> AcceptedFile:
    path = drop.path / file.name
    modified_ns = path.stat().st_mtime_ns
    with incoming.reading(path) as reader:
        count = agreement.read(file, _read(drop, file, reader, violations))
        # A file that stopped being a table is read to its end all the same: its hash is that of the whole file.
        while reader.read(2**20):
            pass
    if not count and file is not LABELS and not violations.lose_rows(file.name):
        violations.add(file.name, "one row for each customer", value="no rows")
    log.info("%s: %d rows, %d bytes, sha256 %s", path, count, reader.bytes, reader.sha256)
    return AcceptedFile(reader.sha256, count, reader.bytes, modified_ns)


def _read(drop: Drop, file: File, reader: HashedReader, violations: Violations) -> Iterator[Rows]:
    kinds: dict[str, set[str]] = {c.name: set() for c in file.columns if c.kind is Kind.TEXT and c is not USER_ID}
    for rows in read_rows(file, reader, violations):  # type: ignore[arg-type]
        if "as_of" in rows.table.column_names:
            _check_dates(drop, file, rows, violations)
        _check_kinds(file, kinds, rows, violations)
        yield rows


def _check_kinds(file: File, kinds: dict[str, set[str]], rows: Rows, violations: Violations) -> None:
    """Count each column's texts until they are too many, which is told once."""
    for name, known in list(kinds.items()):
        known.update(value for value in pc.unique(rows.table[name]).to_pylist() if value is not None)
        if len(known) > MOST_KINDS:
            violations.add(file.name, f"at most {MOST_KINDS} different texts", column=name)
            del kinds[name]


def _check_dates(drop: Drop, file: File, rows: Rows, violations: Violations) -> None:
    dates = rows.table["as_of"]
    late = pc.fill_null(pc.greater(dates, pa.scalar(drop.as_of, pa.date32())), False)
    found = np.flatnonzero(late.to_numpy())
    rule = f"a date up to the drop's own, {drop.as_of}"
    for index in found[:SHOWN].tolist():
        violations.add(file.name, rule, line=int(rows.lines[index]), column="as_of", value=str(dates[index].as_py()))
    violations.count(file.name, rule, column="as_of", more=len(found[SHOWN:]))


def _check_manifest(
    drop: Drop, manifest: Manifest, accepted: Mapping[str, AcceptedFile], violations: Violations
) -> None:
    """What the manifest says of the contract's files is true; a file that the contract does not know need only be
    there."""
    for name, promised in manifest.files.items():
        if not (drop.path / name).is_file():
            violations.add(name, "the file in the drop, as manifest.json promises")
        elif name not in accepted:
            continue
        elif accepted[name].sha256 != promised["sha256"].lower():
            rule = f"the sha256 of manifest.json, {promised['sha256']}"
            violations.add(name, rule, value=accepted[name].sha256)
        elif accepted[name].rows != promised.get("rows", accepted[name].rows):
            violations.add(name, f"{promised['rows']} rows as in manifest.json", value=str(accepted[name].rows))
    for name in sorted(accepted.keys() - manifest.files.keys()):
        violations.add(name, "an entry in manifest.json")


def _check_size(drop: Drop, customers: int, violations: Violations) -> None:
    earlier = nearest_earlier(drop.path.parent, drop.as_of)
    if earlier is None:
        return
    with open_plain(earlier.path / USERS.name) as file:
        before = sum(data.count(b"\n") for data in iter(lambda: file.read(2**20), b"")) - 1
    if customers >= LEAST_SHARE * before:
        return
    if reason := drop.accepted_because:
        log.warning("%d customers after %d on %s, accepted: %s", customers, before, earlier.as_of, reason)
        return
    violations.add(
        USERS.name,
        f"at least half of the {before} customers of {earlier.as_of}, or a file {ACCEPT} that says why there are fewer",
        value=f"{customers} customers",
    )


__all__ = ["AcceptedDrop", "AcceptedFile", "DropRejected", "validate"]
