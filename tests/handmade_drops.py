"""Small handwritten drops: a test states the values it is about, the others are plausible defaults."""

import csv
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from churn.drops.accepted import AcceptedDrop
from churn.drops.contract import ACTIONS, LABELS, REQUIRED_FILES, File, Kind
from churn.drops.landing import ACCEPT, Drop
from churn.drops.loading import load
from churn.drops.snapshots import build_snapshots
from churn.drops.validation import validate

PLAUSIBLE = {
    "user_gender": "Female",
    "user_is_senior": "False",
    "has_family": "True",
    "has_dependents": "False",
    "months_active": "12",
    "plan_stream_tv": "True",
    "plan_stream_movies": "False",
    "contract_type": "Month-to-month",
    "paperless_billing": "True",
    "monthly_fee": "29.85",
    "total_paid": "358.2",
    "net_service": "DSL",
    "watch_hours_30d": "24.5",
    "avg_session_mins_7d": "29.1",
    "unique_devices_30d": "3",
    "skips_7d": "4",
    "rebuffer_events_7d": "1",
    "failed_payments_90d": "0",
    "support_tickets_90d": "2",
    "ticket_avg_resolution_hrs_90d": "16.0",
}

SIGNED_UP_BEFORE = timedelta(days=725)
"""Counted back from the drop's own date: a drop that equals the one before, byte for byte, is held."""

READ: dict[Kind, Callable[[str], object]] = {
    Kind.TEXT: str,
    Kind.DATE: date.fromisoformat,
    Kind.BOOLEAN: lambda text: {"true": True, "false": False}[text.lower()],
    Kind.COUNT: int,
    Kind.NUMBER: float,
}

Customers = Mapping[str, Mapping[str, object]]
Label = tuple[str, bool] | tuple[str, bool, date]
Action = tuple[str, str] | tuple[str, str, date]


def write_drop(
    landing: Path,
    as_of: date,
    customers: Customers | Iterable[str],
    labels: Iterable[Label] | None = None,
    actions: Iterable[Action] | None = None,
) -> Drop:
    """Write a drop, replacing an existing one. A label or an action of three values adds the column as_of."""
    plausible = {"signup_date": str(as_of - SIGNED_UP_BEFORE), **PLAUSIBLE}
    directory = landing / as_of.isoformat()
    directory.mkdir(parents=True, exist_ok=True)
    said = customers if isinstance(customers, Mapping) else {user: {} for user in customers}
    for file in REQUIRED_FILES:
        columns = [column.name for column in file.columns]
        rows = [{"user_id": user, **plausible, **values} for user, values in said.items()]
        _write(directory / file.name, columns, [[row[name] for name in columns] for row in rows])
    for file, given in ((LABELS, labels), (ACTIONS, actions)):
        (directory / file.name).unlink(missing_ok=True)
        if given is not None:
            rows_of_file = list(given)
            columns = [column.name for column in file.columns][: max(map(len, rows_of_file), default=2)]
            _write(directory / file.name, columns, rows_of_file)
    return Drop(as_of, directory)


def _write(path: Path, columns: list[str], rows: Iterable[Iterable[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([columns, *rows])


def write_manifest(drop: Drop) -> None:
    """Write the drop's manifest.json, matching its files."""
    entries = {}
    for path in drop.files():
        data = path.read_bytes()
        entries[path.name] = {"sha256": hashlib.sha256(data).hexdigest(), "rows": data.count(b"\n") - 1}
    (drop.path / "manifest.json").write_text(json.dumps(entries), encoding="utf-8")


def accept(drop: Drop, why: str = "a test wants it so") -> None:
    """Write the drop's _ACCEPT, replacing an existing one."""
    (drop.path / ACCEPT).write_text(why, encoding="utf-8")


def take_in(drop: Drop, database_url: str, archive: Path) -> None:
    """Validate and load the drop, and build its snapshots."""
    load(validate(drop, database_url, archive), database_url, archive)
    build_snapshots(drop.as_of, database_url)


def read_values(drop: Drop, file: File) -> list[dict[str, object]]:
    """Return the rows of a file of the drop, converted to the contract's types in plain Python."""
    with (drop.path / file.name).open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    return [
        {c.name: READ[c.kind](row[c.name]) if row[c.name] else None for c in file.columns if c.name in row}
        for row in rows
    ]


def validated_now(accepted: AcceptedDrop) -> AcceptedDrop:
    """The accepted drop with a new validation time, as if its content had just arrived again."""
    return replace(accepted, validated_at=datetime.now(UTC))
