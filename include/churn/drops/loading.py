"""load: copy an accepted drop from the archive into raw.*, as one revision of its AS_OF, in one transaction."""

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import date

import pyarrow as pa

from churn.code import step_digest
from churn.drops.accepted import AcceptedDrop
from churn.drops.actions import Actions, count_actions
from churn.drops.archive import open_archived
from churn.drops.contract import ACTIONS, FILES, LABELS, ROW_DATE, File
from churn.drops.labels import Labels, count_labels
from churn.drops.storage import Location
from churn.drops.strangers import find_strangers
from churn.drops.tables import read_rows
from churn.drops.violations import Violations
from churn.outcome import DONE, UNCHANGED, Outcome
from churn.postgres.copy import copy_rows
from churn.postgres.database import Connection, connect, execute, lock
from churn.postgres.partitions import month
from churn.postgres.personal_data import writing_personal_data

log = logging.getLogger(__name__)

ROW_DATES = {LABELS: "label_as_of", ACTIONS: "action_as_of"}
"""The column of raw.* for the date that a row is about; as_of is the drop's everywhere in raw."""


class StaleDrop(RuntimeError):
    """The drop was validated before the loaded one, or before its AS_OF was withdrawn."""


def load(drop: AcceptedDrop, database_url: str, archive: Location, *, loaded_before: bool = False) -> Outcome:
    """Replace the rows of the drop's AS_OF in raw.*. Readers see the old revision or the new one.

    UNCHANGED if the same content was loaded by the same code.

    Args:
        loaded_before: this content was loaded once, perhaps into another database: whether its labels and actions
            match is not checked again.

    Raises:
        ArchiveError: a file of the drop is missing from the archive, or damaged.
        DropRejected: labels or actions of a date with a snapshot match none of its customers.
        StaleDrop: different content of this AS_OF was validated later and is loaded, or the AS_OF was withdrawn since.
    """
    with writing_personal_data(database_url), connect(database_url) as connection:
        lock(connection, "as_of", drop.as_of.isoformat())
        current = execute(connection, "loading/current_revision", {"as_of": drop.as_of}).fetchone()
        if current is None:
            current = (_newest_withdrawn(connection, drop), None, None, drop.validated_at)
        revision, digest, code, validated_at = current
        if digest != drop.digest:
            if drop.validated_at < validated_at:
                raise StaleDrop(
                    f"the drop of {drop.as_of} was validated at {drop.validated_at}, and its revision {revision}, with "
                    f"another content, at {validated_at}: clear the task validate to read what is in the landing "
                    "directory now"
                )
            revision += 1
        unchanged = (digest, code) == (drop.digest, step_digest(__package__))
        if not unchanged:
            for file in FILES:
                _replace(connection, drop, file, archive)
            labels = count_labels(connection, drop.as_of) if LABELS.name in drop.files else {}
            actions = count_actions(connection, drop.as_of) if ACTIONS.name in drop.files else {}
            _log_labels(labels)
            _log_actions(actions)
            # Acceptance is history: content that was loaded once is loaded again without this check.
            if not (loaded_before or _was_accepted(connection, drop)):
                find_strangers({LABELS: labels, ACTIONS: actions}).raise_if_any(drop.as_of.isoformat())
        execute(connection, "loading/record_revision", {
            "as_of": drop.as_of, "revision": revision, "digest": drop.digest, "code_digest": step_digest(__package__),
            "validated_at": max(drop.validated_at, validated_at),
            "rules": drop.rules,
            "files": json.dumps({name: asdict(accepted) for name, accepted in drop.files.items()}),
            "profile": drop.profile and json.dumps(drop.profile),
            "accepted": drop.accept and json.dumps(asdict(drop.accept)),
            "landed_digests": [drop.landed_digest] if drop.landed_digest else [],
            "erased_rows": drop.erased_rows,
        })  # fmt: skip
        execute(connection, "holds/lift", {"as_of": drop.as_of})
    if unchanged:
        return Outcome(UNCHANGED, f"revision {revision} of {drop.as_of} has this content", {"revision": revision})
    rows = {name: accepted.rows for name, accepted in drop.files.items()}
    figures = {
        "revision": revision,
        "rows": rows,
        "labels": {day.isoformat(): asdict(of) for day, of in labels.items()},
        "actions": {day.isoformat(): asdict(of) for day, of in actions.items()},
        **({"erased_rows": drop.erased_rows} if drop.erased_rows else {}),
    }
    return Outcome(DONE, f"loaded as revision {revision} of {drop.as_of}", figures)


def _was_accepted(connection: Connection, drop: AcceptedDrop) -> bool:
    found = execute(connection, "loading/accepted", {"as_of": drop.as_of, "digest": drop.digest}).fetchone()
    return found is not None and found[0]


def _log_labels(labels: Mapping[date, Labels]) -> None:
    for day, of in labels.items():
        if of.waiting:
            log.warning("labels of %s: %d came, %d changed; they wait: it has no snapshot", day, of.came, of.changed)
        else:
            level = logging.INFO if of.matched == of.came else logging.WARNING
            log.log(level, "labels of %s: %d came, %d matched, %d changed", day, of.came, of.matched, of.changed)


def _log_actions(actions: Mapping[date, Actions]) -> None:
    for day, of in actions.items():
        if of.waiting:
            log.warning("actions of %s: %d came; they wait: it has no snapshot", day, of.came)
        else:
            level = logging.INFO if of.matched == of.came else logging.WARNING
            log.log(level, "actions of %s: %d came, %d matched", day, of.came, of.matched)


def _newest_withdrawn(connection: Connection, drop: AcceptedDrop) -> int:
    """Return the newest revision of a withdrawn AS_OF, 0 without one: revision numbers continue after a withdrawal."""
    found = execute(connection, "withdrawal/newest_revision", {"as_of": drop.as_of}).fetchone()
    if found is None:
        return 0
    revision, withdrawn_at = found
    if drop.validated_at < withdrawn_at:
        raise StaleDrop(
            f"the drop of {drop.as_of} was validated at {drop.validated_at}, and withdrawn at {withdrawn_at}: clear "
            "the task validate if the drop in the landing directory is to be loaded"
        )
    return revision


def _replace(connection: Connection, drop: AcceptedDrop, file: File, archive: Location) -> None:
    table = f"raw.{file.table}"
    with month(connection, table, drop.as_of) as partition:
        execute(connection, "loading/delete", {"as_of": drop.as_of}, table=partition)
        if file.name in drop.files:
            copied = copy_rows(connection, partition, raw_rows(drop, file, archive))
            log.info("%s: %d rows for %s", table, copied, drop.as_of)


def raw_rows(drop: AcceptedDrop, file: File, archive: Location) -> Iterator[pa.Table]:
    """Yield the rows of an archived file in batches of bounded size, with the columns of its table in raw.*.

    Raises:
        ArchiveError: the file is missing from the archive, or damaged.
        DropRejected: it breaks the rules that it was accepted by.
    """
    violations = Violations()
    with open_archived(archive, drop.files[file.name].sha256) as stream:
        for rows in read_rows(file, stream, violations, drop.rules):
            # Accepted files have no violations, unless the code of their rules was changed.
            violations.raise_if_any(drop.as_of.isoformat())
            yield _with_as_of(file, rows.table, drop.as_of)
    violations.raise_if_any(drop.as_of.isoformat())


def _with_as_of(file: File, table: pa.Table, as_of: date) -> pa.Table:
    """Return the table in the column order of raw.*, with the drop's AS_OF first."""
    dates = pa.repeat(pa.scalar(as_of, pa.date32()), len(table))
    columns = {"as_of": dates}
    if file in ROW_DATES:
        columns[ROW_DATES[file]] = table[ROW_DATE.name] if ROW_DATE.name in table.column_names else dates
    return pa.table(columns | {each.name: table[each.name] for each in file.columns if each is not ROW_DATE})
