"""compare_columns: hold an AS_OF against what its version was trained on and against an earlier AS_OF.

It never blocks a drop: that is the contract's part, and that of holds.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

import pyarrow as pa
from feast import FeatureService, FeatureStore
from psycopg.types.json import Jsonb

from churn.as_of import event_timestamp
from churn.code import step_digest
from churn.drift.findings import began
from churn.drift.reading import SCORE, read_features, read_scores, sampled_below
from churn.drift.reference import profiles_of
from churn.drift.rule import BEFORE, TOO_FEW, VERSION, WEEK_BEFORE, Finding, Reference, judge
from churn.drift.version import NoReference, reference_of
from churn.features.store import FEATURE_SERVICE, feature_types, open_store
from churn.outcome import DONE, UNCHANGED, Outcome
from churn.postgres.database import Connection, compose, connect, execute, lock, lock_session
from churn.scores.run import Run, current_run

SAME_WEEKDAY_WITHIN = 28
"""Days. Where drops are daily, the AS_OF a week before replaces the AS_OF before, since use differs by weekday; after a
missing drop, the one of two weeks before does. Where they are monthly, the AS_OF before is the only recent one."""


class NothingToCompare(RuntimeError):
    """The AS_OF has no snapshot."""


class InputsChanged(RuntimeError):
    """A snapshot or list changed while it was compared; nothing was written. Run the task again."""


@dataclass(frozen=True)
class Date:
    """A snapshot, and its list if that is of this snapshot."""

    as_of: date
    digest: str
    rows: int
    run: Run | None


@dataclass(frozen=True)
class Night:
    """What is compared.

    Attributes:
        name: of the earlier date as a reference: BEFORE or WEEK_BEFORE.
    """

    now: Date
    earlier: Date | None
    name: str

    @property
    def has_same_version(self) -> bool:
        """One version scored both dates."""
        of = [each.run and (each.run.model_version, each.run.model_run_id) for each in (self.now, self.earlier) if each]
        return len(of) == 2 and of[0] is not None and of[0] == of[1]

    @property
    def inputs(self) -> str:
        """The digest of all that the findings depend on."""
        now, earlier = self.now, self.earlier
        of = [
            [now.digest, now.run and [now.run.revision, now.run.model_version, now.run.model_run_id]],
            earlier and [earlier.as_of.isoformat(), earlier.digest],
            earlier and earlier.run and self.has_same_version and earlier.run.revision,
            step_digest(__package__),
        ]
        return hashlib.sha256(json.dumps(of).encode()).hexdigest()


def compare_columns(as_of: date, database_url: str) -> Outcome:
    """Compare each feature and the scores of `as_of` with its references, and write the next revision of its findings.

    UNCHANGED if the newest revision is of the same snapshots, lists, version and code, or if there is no reference.

    Raises:
        NothingToCompare: there is no snapshot of `as_of`.
        InputsChanged: a snapshot or list changed meanwhile.
    """
    with connect(database_url, autocommit=True) as connection:
        lock_session(connection, "drift", as_of.isoformat())
        night = _read_night(connection, as_of)
        last = execute(connection, "drift/newest", {"as_of": as_of}).fetchone()
        if last and last[1] == night.inputs:
            return Outcome(UNCHANGED, f"{as_of} was compared with the same references", {"revision": last[0]})
        store = open_store(database_url)
        run = night.now.run
        service = store.get_feature_service(run.feature_service if run else FEATURE_SERVICE)
        try:
            if run is None:
                raise NoReference("no version scored this snapshot")
            references, why_not = [Reference(VERSION, reference_of(connection, store, run, database_url))], None
        except NoReference as missing:
            references, why_not = [], str(missing)
        references += _earlier(connection, store, service, night)
        if not references:
            return Outcome(UNCHANGED, f"{as_of} has nothing to be compared with: no earlier snapshot, and {why_not}")
        found = judge(_columns(connection, store, service, night.now, with_scores=run is not None), references)
        revision = (last[0] if last else 0) + 1
        with connection.transaction():
            lock(connection, "as_of", as_of.isoformat())
            if _read_night(connection, as_of) != night:
                raise InputsChanged(f"snapshots or lists changed while {as_of} was compared: run the task again")
            rows = [{**values, "revision": revision} for values in _rows(night, found)]
            connection.cursor().executemany(compose("drift/record"), rows)
        figures = {
            "revision": revision,
            "model_version": run and run.model_version,
            "references": [str(each) for each in references],
            "too_few_rows": sorted({each.column for each in found if each.finding == TOO_FEW}),
            "drifted": sorted({each.column for each in found if each.flagged}),
            "began": sorted({each.column_name for each in began(connection, as_of)}),
        }
    return Outcome(DONE, _reason(night, references, found, why_not), figures)


def _read_night(connection: Connection, as_of: date) -> Night:
    snapshot = execute(connection, "drift/snapshot", {"as_of": as_of}).fetchone()
    if snapshot is None:
        raise NothingToCompare(f"there is no snapshot of {as_of}: run churn_snapshot for it first")
    earlier = execute(connection, "drift/earlier", {"as_of": as_of, "within": SAME_WEEKDAY_WITHIN}).fetchone()
    now = _date(connection, as_of, *snapshot)
    if earlier is None:
        return Night(now, None, BEFORE)
    *of, is_same_weekday = earlier
    return Night(now, _date(connection, *of), WEEK_BEFORE if is_same_weekday else BEFORE)


def _date(connection: Connection, as_of: date, digest: str, rows: int) -> Date:
    run = current_run(connection, as_of)
    return Date(as_of, digest, rows, run if run and run.snapshot_digest == digest else None)


def _earlier(connection: Connection, store: FeatureStore, service: FeatureService, night: Night) -> list[Reference]:
    """Return the reference of the earlier AS_OF. Scores of another version are not comparable."""
    if night.earlier is None:
        return []
    columns = _columns(connection, store, service, night.earlier, with_scores=night.has_same_version)
    return [Reference(night.name, profiles_of(columns), night.earlier.as_of)]


def _columns(
    connection: Connection, store: FeatureStore, service: FeatureService, of: Date, *, with_scores: bool
) -> dict[str, pa.ChunkedArray]:
    values = {"event_timestamp": event_timestamp(of.as_of), "below": sampled_below(of.rows)}
    table = read_features(connection, store, service, "drift/entities", values)
    columns = {name: table[name] for name in feature_types(service)}
    return {**columns, SCORE: read_scores(connection, of.run)} if with_scores and of.run else columns


def _rows(night: Night, found: Sequence[Finding]) -> Iterator[dict[str, Any]]:
    run = night.now.run
    for each in found:
        yield {
            "as_of": night.now.as_of,
            "model_version": run and run.model_version,
            "model_run_id": run and run.model_run_id,
            "reference": each.reference.name,
            "reference_as_of": each.reference.as_of,
            "column_name": each.column,
            "rows": each.rows,
            "reference_rows": each.reference_rows,
            "finding": each.finding,
            "flagged": each.flagged,
            "effect": each.answer and each.answer.effect,
            "effect_limit": each.reference.limit,
            "test": each.answer and each.answer.test,
            "statistic": each.answer and each.answer.statistic,
            "p_value": each.answer and each.answer.p_value,
            "detail": each.detail,
            "distribution": each.distribution and Jsonb(asdict(each.distribution)),
            "inputs_digest": night.inputs,
        }


def _reason(night: Night, references: Sequence[Reference], found: Sequence[Finding], why_not: str | None) -> str:
    drifted = sorted({each.column for each in found if each.flagged})
    said = f"{', '.join(drifted)} drifted" if drifted else "no column drifted"
    against = " and ".join(map(str, references))
    missing = f"; not against the training data: {why_not}" if why_not else ""
    return f"{night.now.as_of} against {against}: {said}{missing}"
