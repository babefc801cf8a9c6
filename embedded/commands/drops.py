"""Copies drops to the landing directory: the directories of DROPS, or six generated months.

A rename makes each drop visible as a whole. A drop that is there already is replaced only if its content differs.
"""

import filecmp
import shutil
from datetime import date
from pathlib import Path

from churn.as_of import today, why_future
from churn.drops.landing import list_drops
from embedded.settings import Settings

CUSTOMERS, MONTHS, SEED = 7000, 6, 7


class DropsError(ValueError):
    """A directory has no drops, or one of a date after today."""


def find_drops(directory: Path) -> dict[date, Path]:
    """Return the drops of `directory` (its subdirectories named YYYY-MM-DD), oldest first.

    Raises:
        DropsError: there are none, or one of them is of a date after today.
    """
    if not directory.is_dir():
        raise DropsError(f"DROPS={directory} is not a directory")
    drops = {drop.as_of: drop.path for drop in list_drops(directory)}
    if not drops:
        raise DropsError(f"{directory} holds no drop: a drop is a directory named after its AS_OF, like 2024-01-31")
    if reason := why_future(max(drops), today()):
        raise DropsError(f"{drops[max(drops)]}: {reason}")
    return drops


def generated_drops(settings: Settings) -> Path:
    """Return the directory of the default drops; the first call generates them."""
    directory = settings.home / "generated"
    if not directory.exists():
        from churn.synthetic.generate import write_drops  # noqa: PLC0415

        draft = directory.with_name(".generated")
        shutil.rmtree(draft, ignore_errors=True)
        write_drops(draft, customers=CUSTOMERS, months=MONTHS, seed=SEED)
        draft.rename(directory)
    return directory


def land(drop: Path, landing: Path) -> bool:
    """Copy `drop` into the landing directory under its name, and return whether that changed anything."""
    target = landing / drop.name
    if target.exists() and _same(drop, target):
        return False
    landing.mkdir(parents=True, exist_ok=True)
    incoming, outgoing = landing / f".incoming-{drop.name}", landing / f".outgoing-{drop.name}"
    for leftover in (incoming, outgoing):
        shutil.rmtree(leftover, ignore_errors=True)
    shutil.copytree(drop, incoming)
    if target.exists():
        target.rename(outgoing)
    incoming.rename(target)
    shutil.rmtree(outgoing, ignore_errors=True)
    return True


def _same(left: Path, right: Path) -> bool:
    names = {path.relative_to(left) for path in left.rglob("*") if path.is_file()}
    if names != {path.relative_to(right) for path in right.rglob("*") if path.is_file()}:
        return False
    return all(filecmp.cmp(left / name, right / name, shallow=False) for name in names)
