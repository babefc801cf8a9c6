"""Which drops of the landing directory wait to be worked on: complete, and not loaded or changed since."""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from churn.database import connect, execute
from churn.held import Hold, find_holds, forget_hold, is_to_be_compared
from churn.landing import MANIFEST, SUCCESS, Drop, digest_of, find_drop, is_complete, list_drops, sha256_of

log = logging.getLogger(__name__)

QUIET_SECONDS = 30
"""How long a drop without manifest.json or _SUCCESS must rest: its files may still be on their way."""


NO_HOLDS: Mapping[date, Hold] = {}

Loaded = Mapping[date, tuple[Any, ...]]
"""Of each AS_OF that is loaded: its revision, the digest of its content, and its files."""


@dataclass(frozen=True)
class PendingDrop:
    """A drop that waits, the revision that loading it would make, and the sha256 of all that its verdict depends on."""

    as_of: date
    revision: int
    digest: str

    @property
    def run_id(self) -> str:
        """The id of the run that works on it: the same drop has the same id, so a rejected one is tried again when
        its content, manifest.json or _ACCEPT changed, not for ever."""
        return f"landing__{self.as_of}__revision_{self.revision}__{self.digest[:12]}"


def find_pending(landing: Path, database_url: str) -> list[PendingDrop]:
    """Return the drops that wait, oldest first; forget the holds of drops that are not there any more."""
    loaded, holds = find_loaded(database_url), find_holds(database_url)
    pending = find_not_among(loaded, landing, holds)
    for hold in holds.values():
        if _is_gone(landing, hold, loaded):
            forget_hold(database_url, hold)
    return pending


def _is_gone(landing: Path, hold: Hold, loaded: Loaded) -> bool:
    """Tell whether a held drop was taken away, or the one that is loaded was put back in its place."""
    drop = find_drop(landing, hold.as_of)
    if drop is None:
        # Not where the directory of all drops is away, as one that is not mounted.
        return landing.is_dir()
    return hold.as_of in loaded and _looks_loaded(drop, loaded[hold.as_of][2])


def find_loaded(database_url: str) -> Loaded:
    """Return what is loaded."""
    with connect(database_url) as connection:
        return {row[0]: row[1:] for row in execute(connection, "loading/loaded_drops")}


def find_not_among(loaded: Loaded, landing: Path, holds: Mapping[date, Hold] = NO_HOLDS) -> list[PendingDrop]:
    """Return the drops that wait where that is loaded and held, oldest first."""
    pending = []
    for drop in list_drops(landing):
        try:
            found = pending_of(drop, loaded, holds)
        except OSError as error:
            # A file that cannot be read, or was just moved away, must not hold up the other drops.
            log.warning("%s: not yet, %s", drop.path, error)
            continue
        if found:
            pending.append(found)
            log.info("%s: to be loaded as revision %d", drop.path, found.revision)
    return pending


def pending_of(drop: Drop, loaded: Loaded, holds: Mapping[date, Hold] = NO_HOLDS) -> PendingDrop | None:
    """Return what waits of a drop where that is loaded and held, None where nothing does.

    A held drop waits for a person, and is no pending one until it must be compared again.

    Raises:
        OSError: the drop cannot be read, or was just moved away.
    """
    revision, digest, files = loaded.get(drop.as_of, (0, None, {}))
    if reason := _why_not_yet(drop):
        log.info("%s: not yet, %s", drop.path, reason)
        return None
    if _looks_loaded(drop, files):
        return None
    # A link is not followed, and counts: it is for validate to reject it.
    content = {path.name: sha256_of(path) for path in drop.files()} | {path.name: "a link" for path in drop.links()}
    if digest_of(content) == digest:
        return None
    verdict_on = content | {path.name: sha256_of(path) for path in drop.says_of_itself()}
    if held := holds.get(drop.as_of):
        if not is_to_be_compared(held, digest_of(verdict_on), _nearest_earlier(drop.as_of, loaded)):
            log.info("%s: held, a person must accept it: %s", drop.path, "; ".join(held.findings))
            return None
        # Each comparison is a run of its own, also of what was compared before.
        verdict_on["held_at"] = held.held_at.isoformat()
    return PendingDrop(drop.as_of, revision + 1, digest_of(verdict_on))


def _nearest_earlier(as_of: date, loaded: Loaded) -> tuple[date, str] | None:
    nearest = max((each for each in loaded if each < as_of), default=None)
    return (nearest, loaded[nearest][1]) if nearest else None


def _why_not_yet(drop: Drop) -> str | None:
    if not is_complete(drop):
        return f"a required file, or one that {MANIFEST} names, is missing, or {MANIFEST} cannot be read"
    if not _is_settled(drop):
        return f"a file changed less than {QUIET_SECONDS} seconds ago and there is neither {MANIFEST} nor {SUCCESS}"
    return None


def _is_settled(drop: Drop) -> bool:
    if any((drop.path / name).is_file() for name in (MANIFEST, SUCCESS)):
        return True
    # The time of the last change of status: unlike that of the last change of content, a copy cannot bring it along.
    newest = max(path.lstat().st_ctime for path in (*drop.files(), *drop.links()))
    return time.time() - newest > QUIET_SECONDS


def _looks_loaded(drop: Drop, files: Mapping[str, Mapping[str, Any]]) -> bool:
    """Tell by size and time of change alone: hashing every drop at every look would read them all."""
    found = {path.name: (path.stat().st_size, path.stat().st_mtime_ns) for path in drop.files()}
    same = found == {name: (file["bytes"], file["modified_ns"]) for name, file in files.items()}
    return same and not drop.links()
