"""Which drops of the landing directory wait to be worked on: complete, and not loaded or changed since.

A drop of a date after today never waits, nor does content that was withdrawn, until a newer _ACCEPT lies beside it. The
log says so.
"""

import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

from churn.as_of import today, why_future
from churn.drops.holds.record import Hold, find_holds, forget_hold, is_to_be_compared
from churn.drops.landing import (
    ACCEPT,
    MANIFEST,
    SUCCESS,
    Drop,
    digest_of,
    find_drop,
    is_complete,
    list_drops,
    sha256_of,
)
from churn.postgres.database import connect, execute

log = logging.getLogger(__name__)

QUIET_SECONDS = 30
"""How long a drop without manifest.json or _SUCCESS must rest: its files may still be on their way."""

Files = Mapping[str, Mapping[str, Any]]
"""{file: {sha256, rows, bytes, modified_ns}}."""

NO_HOLDS: Mapping[date, Hold] = {}


@dataclass(frozen=True)
class Revision:
    """Content that is not loaded again: the loaded one of its AS_OF, or one that was withdrawn."""

    revision: int
    digest: str
    files: Files
    withdrawn_at: datetime | None


Loaded = Mapping[date, Sequence[Revision]]
"""The revisions of each AS_OF that are not loaded again, the newest first."""


@dataclass(frozen=True)
class Seen:
    """A revision whose content lies in the landing directory in files that have other times than those on record."""

    as_of: date
    revision: Revision
    files: Files


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
    """Return the drops that wait, oldest first.

    The times of files whose content is loaded are recorded, so that the next look need not read them. The holds of
    drops that are not there any more are forgotten.
    """
    seen: list[Seen] = []
    loaded, holds = find_loaded(database_url), find_holds(database_url)
    pending = find_not_among(loaded, landing, holds, remember=seen.append)
    if seen:
        _record(seen, database_url)
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
    try:
        times = _times(drop)
    except OSError:
        # It cannot be read, or was just moved away; the next look tells.
        return False
    revisions = loaded.get(hold.as_of, ())
    return any(each.withdrawn_at is None and times == _times_on_record(each.files) for each in revisions)


def find_loaded(database_url: str) -> Loaded:
    """Return what is loaded, and what was withdrawn."""
    loaded: dict[date, list[Revision]] = {}
    with connect(database_url) as connection:
        for as_of, *revision in execute(connection, "loading/loaded_drops"):
            loaded.setdefault(as_of, []).append(Revision(*revision))
    return loaded


def is_loaded(as_of: date, loaded: Loaded) -> bool:
    """Tell whether a drop of `as_of` is loaded."""
    return any(each.withdrawn_at is None for each in loaded.get(as_of, ()))


def find_not_among(
    loaded: Loaded,
    landing: Path,
    holds: Mapping[date, Hold] = NO_HOLDS,
    remember: Callable[[Seen], None] | None = None,
) -> list[PendingDrop]:
    """Return the drops that wait where that is loaded and held, oldest first."""
    pending = []
    for drop in list_drops(landing):
        try:
            found = pending_of(drop, loaded, holds, remember)
        except OSError as error:
            # A file that cannot be read, or was just moved away, must not hold up the other drops.
            log.warning("%s: not yet, %s", drop.path, error)
            continue
        if found:
            pending.append(found)
            log.info("%s: to be loaded as revision %d", drop.path, found.revision)
    return pending


def pending_of(
    drop: Drop,
    loaded: Loaded,
    holds: Mapping[date, Hold] = NO_HOLDS,
    remember: Callable[[Seen], None] | None = None,
) -> PendingDrop | None:
    """Return what waits of a drop where that is loaded and held, None where nothing does.

    A held drop waits for a person, and is no pending one until it must be compared again.

    Args:
        remember: called with what had to be read to find out that it is loaded.

    Raises:
        OSError: the drop cannot be read, or was just moved away.
    """
    if reason := _why_not_yet(drop):
        log.info("%s: not yet, %s", drop.path, reason)
        return None
    revisions = loaded.get(drop.as_of, ())
    # Before they are read: a file that changes meanwhile has another time at the next look.
    times = _times(drop)
    # By size and time of change alone: hashing every drop at every look would read them all.
    alike = next((each for each in revisions if times == _times_on_record(each.files)), None)
    if alike and not drop.links() and _is_refused(drop, alike):
        return None
    # A link is not followed, and counts: it is for validate to reject it.
    content = {path.name: sha256_of(path) for path in drop.files()} | {path.name: "a link" for path in drop.links()}
    for revision in revisions:
        if revision.digest == digest_of(content) and _is_refused(drop, revision):
            if remember:
                remember(Seen(drop.as_of, revision, _with_times(revision.files, times)))
            return None
    verdict_on = content | drop.identity_of_rest()
    if held := holds.get(drop.as_of):
        if not is_to_be_compared(held, digest_of(verdict_on), _nearest_earlier(drop.as_of, loaded)):
            log.info("%s: held, a person must accept it: %s", drop.path, "; ".join(held.findings))
            return None
        # Each comparison is a run of its own, also of what was compared before.
        verdict_on["held_at"] = held.held_at.isoformat()
    return PendingDrop(drop.as_of, max((each.revision for each in revisions), default=0) + 1, digest_of(verdict_on))


def _nearest_earlier(as_of: date, loaded: Loaded) -> tuple[date, str] | None:
    there = ((day, each) for day, revisions in loaded.items() for each in revisions if each.withdrawn_at is None)
    found = max(((day, each.digest) for day, each in there if day < as_of), default=None)
    return found


def _why_not_yet(drop: Drop) -> str | None:
    if reason := why_future(drop.as_of, today()):
        return reason
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


def _is_refused(drop: Drop, revision: Revision) -> bool:
    """Tell whether a drop with the content of this revision does not wait."""
    if revision.withdrawn_at is None:
        return True
    if drop.is_accepted_since(revision.withdrawn_at):
        return False
    log.info(
        "%s: not loaded again, this content was withdrawn on %s: to load it all the same, write a file %s that says "
        "why; else remove the directory",
        drop.path,
        f"{revision.withdrawn_at:%Y-%m-%d %H:%M} UTC",
        ACCEPT,
    )
    return True


def _times(drop: Drop) -> dict[str, tuple[int, int]]:
    return {path.name: (path.stat().st_size, path.stat().st_mtime_ns) for path in drop.files()}


def _times_on_record(files: Files) -> dict[str, tuple[int, int]]:
    return {name: (file["bytes"], file["modified_ns"]) for name, file in files.items()}


def _with_times(files: Files, times: Mapping[str, tuple[int, int]]) -> Files:
    return {name: {**file, "bytes": times[name][0], "modified_ns": times[name][1]} for name, file in files.items()}


def _record(seen: Iterable[Seen], database_url: str) -> None:
    with connect(database_url) as connection:
        for each in seen:
            values = {"as_of": each.as_of, "revision": each.revision.revision, "digest": each.revision.digest}
            execute(connection, "loading/remember_files", {**values, "files": json.dumps(each.files)})
