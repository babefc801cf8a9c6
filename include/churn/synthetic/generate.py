"""Write realistic synthetic drops: `python -m churn.synthetic.generate --out DIR --customers N --months M --seed S`.

The same arguments give the same bytes, and more months only append drops. Each drop is written atomically: to a
temporary directory that is then renamed. An existing drop is kept if it is equal, else it is an error.
"""

import argparse
import json
import logging
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from churn.as_of import AsOfError, parse_as_of
from churn.drops.contract import USERS
from churn.drops.landing import MANIFEST, sha256_of
from churn.synthetic.drops import FIRST_AS_OF, ScenarioError, SyntheticDrop, simulate

log = logging.getLogger(__name__)

# Unquoted, as the real drops: no value contains a comma, a quote or a line end.
CSV = pa.csv.WriteOptions(quoting_style="none", quoting_header="none", batch_size=2**16)


def write_drops(out: Path, *, months: int, **scenario: Any) -> list[Path]:
    """Write the drops of simulate() and return their directories in order; only one drop is in memory at a time.

    Args:
        months, scenario: the arguments of simulate().

    Raises:
        ScenarioError: the arguments are invalid, or a different drop of the same AS_OF exists.
    """
    drops = simulate(months=months, **scenario)
    out.mkdir(parents=True, exist_ok=True)
    paths: list[Path] = []
    started = time.perf_counter()
    for drop in drops:
        paths.append(_write_drop(out, drop))
        rows, now = drop.tables[USERS.table].num_rows, time.perf_counter()
        log.info("%s (%d of %d): %d customers in %.1f s", paths[-1], len(paths), months, rows, now - started)
        started = now
    return paths


def _write_drop(out: Path, drop: SyntheticDrop) -> Path:
    target = out / drop.as_of.isoformat()
    # In the same file system, so that the rename is atomic; the dot hides it from churn_landing.
    with tempfile.TemporaryDirectory(dir=out, prefix=".writing-") as parent:
        directory = Path(parent) / target.name
        directory.mkdir()
        manifest = {}
        for name, table in drop.tables.items():
            file = directory / f"{name}.csv"
            pa.csv.write_csv(_as_text(table), file, CSV)
            manifest[file.name] = {"sha256": sha256_of(file), "rows": table.num_rows}
        (directory / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
        if not target.exists():
            directory.rename(target)
        elif not _same_manifest(target, directory):
            raise ScenarioError(f"{target} holds another drop: remove it, or write to another directory")
    return target


def _as_text(table: pa.Table) -> pa.Table:
    """Return the table with its booleans as True and False; Arrow writes them in lower case."""
    for index, field in enumerate(table.schema):
        if pa.types.is_boolean(field.type):
            table = table.set_column(index, field.name, pc.if_else(table[index], "True", "False"))
    return table


def _same_manifest(drop: Path, other: Path) -> bool:
    manifest = drop / MANIFEST
    return manifest.is_file() and manifest.read_bytes() == (other / MANIFEST).read_bytes()


def _as_of(text: str) -> date:
    try:
        return parse_as_of(text)
    except AsOfError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m churn.synthetic.generate",
        description="Write realistic synthetic drops, DIR/YYYY-MM-DD: customers who join and leave, and a "
        "churn signal that a good model finds with an AUC of about 0.83. The same arguments give "
        "the same bytes.",
        epilog="example: python -m churn.synthetic.generate --out /tmp/drops --customers 7000 --months 6 --seed 1",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="output directory; created if missing")
    parser.add_argument(
        "--customers",
        type=int,
        required=True,
        metavar="N",
        help="customers in the first drop; the others have about as many",
    )
    parser.add_argument(
        "--months",
        type=int,
        required=True,
        metavar="M",
        help="number of drops: month ends, or days with --daily",
    )
    parser.add_argument("--seed", type=int, required=True, metavar="S", help="a whole number >= 0")
    parser.add_argument(
        "--start",
        type=_as_of,
        default=FIRST_AS_OF,
        metavar="DATE",
        help="the first AS_OF (default: %(default)s)",
    )
    parser.add_argument("--daily", action="store_true", help="daily AS_OFs instead of month ends")
    parser.add_argument(
        "--churn-drift",
        type=float,
        default=0.0,
        metavar="X",
        help="the share of a quarter turn per month of the churn relationship; with 0.1 it is replaced "
        "after ten months, and a model's AUC falls by about 0.07 in five (default: 0, stable)",
    )
    parser.add_argument(
        "--late-labels",
        type=int,
        default=0,
        metavar="K",
        help="labels come K drops later, with a column as_of; the first K drops have no labels.csv "
        "(default: 0, each drop has its own labels)",
    )
    parser.add_argument(
        "--label-days",
        type=int,
        default=0,
        metavar="N",
        help="with --daily: customers leave day by day, and the drop of D + N says who left within the N days after D "
        "(default: 0, labels are drawn per drop)",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    parser = _parser()
    options = vars(parser.parse_args(arguments))
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        write_drops(options.pop("out"), **options)
    except ScenarioError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
