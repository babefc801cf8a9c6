"""validate: check a landing drop against its contract and compare it with the previous drop. Only accepted drops are
archived."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from churn.as_of import today, why_future
from churn.drops.accepted import AcceptedDrop, AcceptedFile
from churn.drops.archive import HashedReader, Incoming
from churn.drops.contract import FILES, REQUIRED_FILES, RULES, USERS, File
from churn.drops.customers import Agreement, find_disagreements
from churn.drops.holds.acceptance import Accept, accepted_before
from churn.drops.holds.profile import MOST_KINDS, Profiler
from churn.drops.holds.record import DropHeld
from churn.drops.holds.rules import Look
from churn.drops.holds.verdict import Lawful, hold_unless_accepted, read_known
from churn.drops.landing import (
    ACCEPT,
    MANIFEST,
    MANIFEST_RULE,
    REASON_LENGTH,
    Drop,
    Manifest,
    ManifestError,
    digest_of,
    read_manifest,
)
from churn.drops.storage import Location
from churn.drops.tables import Rows, read_rows
from churn.drops.tombstones import find_lines, read_tombstones
from churn.drops.violations import SHOWN, DropRejected, Violations
from churn.postgres.database import connect
from churn.postgres.personal_data import writing_personal_data

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Check:
    """The state of checking one drop: the rules, and the findings so far."""

    drop: Drop
    rules: int
    agreement: Agreement
    profiler: Profiler
    violations: Violations


def validate(drop: Drop, database_url: str, archive: Location) -> AcceptedDrop:
    """Check the drop, compare it with the nearest earlier loaded one, and archive it.

    Files stream through in blocks; hashes of their customers go to disk beside them. Content that was accepted before
    is checked by its original rules and not compared again. Rows of erased customers are left out before anything else
    looks at them.

    Raises:
        KeyMissing: customers were erased, and the key of their tombstones is missing.
        DropRejected: the drop breaks the contract, or its AS_OF is after today. The message gives file, line, column,
            value and rule, the first 20 of each.
        DropHeld: a person must accept the drop; the hold is recorded.
    """
    if reason := why_future(drop.as_of, today()):
        raise DropRejected(f"drop {drop.as_of} rejected, nothing of it is loaded: {reason}")
    validated_at = datetime.now(UTC)
    violations = Violations()
    # An erasure writes drops again, with their manifests: nothing is read before it has ended.
    with writing_personal_data(database_url), Incoming(archive) as incoming:
        manifest = _read_manifest(drop, violations)
        _check_files(drop, violations)
        taken = {path.name: _take(path, incoming) for path in drop.files()}
        landed = {name: reader.sha256 for name, (reader, _) in taken.items()}
        erased = _leave_out_erased(incoming, database_url)
        content = landed | {name: reader.sha256 for name, (reader, _) in erased.items()}
        digest = digest_of(content)
        known = read_known(database_url, drop.as_of)
        before = accepted_before(known.history, digest)
        rules = before.rules if before else RULES
        check = _Check(drop, rules, Agreement(drop.as_of, incoming.directory, rules), Profiler(), violations)
        accepted: dict[str, AcceptedFile] = {}
        for file in FILES:
            if file.name in taken:
                reader, modified_ns = taken[file.name]
                whole = manifest is not None and manifest.promises(file.name, reader.sha256)
                with incoming.streams()[file.name]() as stream:
                    rows = _check_file(check, file, stream, whole)
                accepted[file.name] = AcceptedFile(content[file.name], rows, reader.bytes, modified_ns)
        erased_rows = {name: len(lines) for name, (_, lines) in erased.items()}
        if manifest:
            as_landed = {
                name: replace(file, sha256=landed[name], rows=file.rows + erased_rows.get(name, 0))
                for name, file in accepted.items()
            }
            _check_manifest(drop, manifest, as_landed, violations)
        if USERS.name in accepted and not check.agreement.holds():
            readable = [name for name, file in accepted.items() if file.rows]
            find_disagreements(drop.as_of, incoming.streams(), readable, database_url, violations, rules=check.rules)
        violations.raise_if_any(drop.as_of.isoformat())
        # Before _ACCEPT is judged: one that is written meanwhile is another one at the next look.
        rest, changed_ns = drop.identity_of_rest(), drop.changed_ns()
        accept, profile = _take_accept(drop, incoming), check.profiler.profile()
        look, judged = Look(content, profile), {**landed, **rest}
        lawful = Lawful(drop.as_of, drop.path, digest, changed_ns, look, check.agreement.users, judged, accept)
        hold_unless_accepted(lawful, known, database_url, archive)
        incoming.accept()
    landed_digest = digest_of(landed) if erased else None
    return AcceptedDrop(
        drop.as_of,
        validated_at,
        digest,
        accepted,
        check.rules,
        profile,
        accept,
        landed_digest,
        sum(erased_rows.values()),
    )


def _take(path: Path, incoming: Incoming) -> tuple[HashedReader, int]:
    """Read the file into the archive's incoming files; return the reader and the file's modification time."""
    modified_ns = path.stat().st_mtime_ns
    with incoming.reading(path) as reader:
        while reader.read(2**20):
            pass
    log.info("%s: %d bytes, sha256 %s", path, reader.bytes, reader.sha256)
    return reader, modified_ns


def _check_files(drop: Drop, violations: Violations) -> None:
    """Check that the required files are there and that none is a link."""
    present, linked = {path.name for path in drop.files()}, {path.name for path in drop.links()}
    for name in sorted(linked):
        violations.add(name, "a file of the drop's own, not a symbolic link")
    for file in REQUIRED_FILES:
        if file.name not in present | linked:
            violations.add(file.name, "the file in the drop")


def _leave_out_erased(incoming: Incoming, database_url: str) -> dict[str, tuple[HashedReader, tuple[int, ...]]]:
    """Write the files that have rows of erased customers again without these; return {file name: (what is left, the
    lines that were left out)}."""
    with connect(database_url) as connection:
        tombstones = read_tombstones(connection)
    found = {}
    for name, open_content in incoming.streams().items() if tombstones else ():
        if lines := find_lines(open_content, tombstones.are_erased).lines:
            log.warning("%s: %d rows of erased customers are left out", name, len(lines))
            found[name] = (incoming.leave_out(name, lines), lines)
    return found


def _take_accept(drop: Drop, incoming: Incoming) -> Accept | None:
    """Read _ACCEPT into the archive's incoming files; None if the drop has none."""
    if drop.accepted_because is None:
        return None
    reader, modified_ns = _take(drop.path / ACCEPT, incoming)
    with incoming.streams()[ACCEPT]() as stream:
        because = stream.read(REASON_LENGTH).decode("utf-8", "replace").strip()
    return Accept(because, reader.sha256, modified_ns)


def _read_manifest(drop: Drop, violations: Violations) -> Manifest | None:
    try:
        return read_manifest(drop)
    except ManifestError as error:
        violations.add(MANIFEST, MANIFEST_RULE, value=str(error))
        return None


def _check_file(check: _Check, file: File, stream: BinaryIO, whole: bool) -> int:
    """Check the values and the customers of a file; return its number of rows."""
    rows = check.agreement.read(file, check.profiler.read(file, _read(check, file, stream, whole)))
    for name in check.profiler.too_many_kinds(file):
        check.violations.add(file.name, f"at most {MOST_KINDS} different texts", column=name)
    if not rows and file in REQUIRED_FILES and not check.violations.lose_rows(file.name):
        check.violations.add(file.name, "one row for each customer", value="no rows")
    log.info("%s: %d rows", file.name, rows)
    return rows


def _read(check: _Check, file: File, stream: BinaryIO, whole: bool) -> Iterator[Rows]:
    for rows in read_rows(file, stream, check.violations, check.rules, whole=whole):
        if "as_of" in rows.table.column_names:
            _check_dates(check.drop, file, rows, check.violations)
        yield rows


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
    """Check the contract's files against the manifest. A file that the contract does not know need only exist."""
    for name, promised in manifest.files.items():
        if not (drop.path / name).is_file():
            violations.add(name, "the file in the drop, as manifest.json promises")
        elif name not in accepted:
            continue
        elif not manifest.promises(name, accepted[name].sha256):
            rule = f"the sha256 of manifest.json, {promised['sha256']}"
            violations.add(name, rule, value=accepted[name].sha256)
        elif accepted[name].rows != promised.get("rows", accepted[name].rows):
            violations.add(name, f"{promised['rows']} rows as in manifest.json", value=str(accepted[name].rows))
    for name in sorted(accepted.keys() - manifest.files.keys()):
        violations.add(name, "an entry in manifest.json")


__all__ = ["DropHeld", "DropRejected", "validate"]
