"""Finds pending drops in the landing directory: complete, and not loaded or changed since they were loaded.

A drop of a future date is never pending. Withdrawn content is pending only with a newer _ACCEPT. The log gives the
reason.
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
"""Minimum age of the files of a drop without manifest.json or _SUCCESS: a copy may still be running."""

Files = Mapping[str, Mapping[str, Any]]
"""{file: {sha256, rows, bytes, modified_ns}}."""

NO_HOLDS: Mapping[date, Hold] = {}


@dataclass(frozen=True)
class Revision:
    """Content that is not loaded again: the loaded revision of its AS_OF, or a withdrawn one.

    `landed_digests` are those of the drop with rows of erased customers that were left out or removed since.
    """

    revision: int
    digest: str
    files: Files
    withdrawn_at: datetime | None
    landed_digests: Sequence[str] = ()


Loaded = Mapping[date, Sequence[Revision]]
"""The loaded and withdrawn revisions of each AS_OF, newest first."""


@dataclass(frozen=True)
class Seen:
    """A revision whose files lie in the landing directory with other modification times than recorded."""

    as_of: date
    revision: Revision
    files: Files


@dataclass(frozen=True)
class PendingDrop:
    """A pending drop, the revision that loading it would create, and the digest of everything that is judged."""

    as_of: date
    revision: int
    digest: str

    @property
    def run_id(self) -> str:
        """The id of the drop's run. It is stable, so a rejected drop is tried again only when its content,
        manifest.json or _ACCEPT changes."""
        return f"landing__{self.as_of}__revision_{self.revision}__{self.digest[:12]}"


def find_pending(landing: Path, database_url: str) -> list[PendingDrop]:
    """Return the pending drops, oldest first.

    New modification times of loaded content are recorded, so the next look does not hash the files again. Holds of
    removed drops are deleted.
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
    """Tell whether a held drop was removed, or replaced by the loaded content."""
    drop = find_drop(landing, hold.as_of)
    if drop is None:
        # If the landing directory itself is missing (not mounted), keep the hold.
        return landing.is_dir()
    try:
        times = _times(drop)
    except OSError:
        # It cannot be read, or was just moved away; the next look tells.
        return False
    revisions = loaded.get(hold.as_of, ())
    return any(each.withdrawn_at is None and times == _times_on_record(each.files) for each in revisions)


def find_loaded(database_url: str) -> Loaded:
    """Return the loaded and the withdrawn revisions."""
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
    """Return the pending drops, oldest first, given the loaded revisions and the holds."""
    pending = []
    for drop in list_drops(landing):
        try:
            found = pending_of(drop, loaded, holds, remember)
        except OSError as error:
            # A file that is unreadable or was just removed must not block the other drops.
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
    """Return the pending drop, None if the drop is not pending.

    A held drop is pending only when it must be compared again.

    Args:
        remember: called with a loaded revision whose files have new modification times.

    Raises:
        OSError: the drop cannot be read, or was just removed.
    """
    if reason := _why_not_yet(drop):
        log.info("%s: not yet, %s", drop.path, reason)
        return None
    revisions = loaded.get(drop.as_of, ())
    # Taken before the files are read, so a change during the read shows at the next look.
    times = _times(drop)
    # Compare size and modification time first: hashing reads every file.
    alike = next((each for each in revisions if times == _times_on_record(each.files)), None)
    if alike and not drop.links() and _is_refused(drop, alike):
        return None
    # A symlink is not followed but counts as content, so that validate rejects it.
    content = {path.name: sha256_of(path) for path in drop.files()} | {path.name: "a link" for path in drop.links()}
    for revision in revisions:
        if digest_of(content) in (revision.digest, *revision.landed_digests) and _is_refused(drop, revision):
            if remember:
                remember(Seen(drop.as_of, revision, _with_times(revision.files, times)))
            return None
    verdict_on = content | drop.identity_of_rest()
    if held := holds.get(drop.as_of):
        if not is_to_be_compared(held, digest_of(verdict_on), _nearest_earlier(drop.as_of, loaded)):
            log.info("%s: held, a person must accept it: %s", drop.path, "; ".join(held.findings))
            return None
        # Each comparison gets its own run, even when the same content was compared before.
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
    if not is_settled(drop):
        return f"a file changed less than {QUIET_SECONDS} seconds ago and there is neither {MANIFEST} nor {SUCCESS}"
    return None


def is_settled(drop: Drop) -> bool:
    """Tell whether no file of the drop is being written any more, as far as one can tell."""
    if any((drop.path / name).is_file() for name in (MANIFEST, SUCCESS)):
        return True
    return time.time() - drop.changed_ns() / 1e9 > QUIET_SECONDS


def _is_refused(drop: Drop, revision: Revision) -> bool:
    """Tell whether content of this revision is not loaded again."""
    if revision.withdrawn_at is None:
        return True
    if drop.is_accepted_since(revision.withdrawn_at):
        return False
    log.info(
        "%s: not loaded again, this content was withdrawn on %s: to load it anyway, write a file %s that says "
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
