"""Erasure from the landing directory: the files of drops, and their manifests, without the rows of the customers.

All files of a drop change together: the new ones are written into a directory in it, which is renamed when they are
complete. A call that was interrupted after that is finished by the next one, unless the sender has replaced the drop.

A drop that is still being written is left: validate leaves the customers out.
"""

import json
import logging
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path

from churn.drops.holds.record import find_holds
from churn.drops.landing import (
    MANIFEST,
    Drop,
    ManifestError,
    digest_of,
    is_complete,
    list_drops,
    open_plain,
    read_manifest,
    sha256_of,
)
from churn.drops.tombstones import AreErased, are_among, copy_without, find_lines
from churn.drops.watch import Loaded, find_loaded, is_settled
from churn.erasure.alone import alone
from churn.erasure.request import ErasureRefused, record_place
from churn.erasure.texts import Mentions
from churn.outcome import DONE, UNCHANGED, Outcome
from churn.postgres.database import Connection, connect, execute

log = logging.getLogger(__name__)

PLACE = "landing directory"
BEGUN, COMPLETE = ".erasing", ".erased"
SOURCES = "sources.json"
"""In both: the sha256 of each file that is replaced."""


def erase_landing(request: str, users: frozenset[str], database_url: str, landing: Path) -> Outcome:
    """Remove the rows of `users` from every complete drop in the landing directory, loaded or not.

    What cannot be written is left, and so is what names them and is no file of a drop; the rest is done.

    Raises:
        ErasureRefused: something with rows of them is left; the message names it.
    """
    drops, done = list_drops(landing), _Done()
    with alone(database_url), connect(database_url, autocommit=True) as connection:
        holds, loaded = find_holds(database_url), find_loaded(database_url)
        for drop in drops:
            done.looked_at += len(drop.files())
            try:
                if _is_being_written(drop, loaded):
                    log.warning("%s: left to validate, it is still being written", drop.path)
                elif _rewrite(drop, are_among(users), done) and drop.as_of in holds:
                    _renew_hold(connection, drop)
            except OSError as error:
                log.warning("%s: %s", drop.path, error)
                done.left.append(drop.path.name)
        figures = {"looked_at": done.looked_at, "rewritten": done.rewritten, "rows": done.rows}
        record_place(connection, request, PLACE, **figures)
    of_drops = {path for drop in drops for path in drop.files()}
    others = (path for path in sorted(landing.rglob("*")) if _is_plain(path) and path not in of_drops)
    named = _files_with(users, chain(done.doubtful, others))
    if left := sorted({*done.left, *(str(path.relative_to(landing)) for path in named)}):
        raise ErasureRefused(
            f"{', '.join(left)} in {landing} cannot be read or written here, or are no files of a drop: remove them, "
            "or write them without these customers (the archive has what was loaded); then clear the task"
        )
    if not done.rewritten:
        reason = f"none of {done.looked_at} files in the landing directory has rows of them"
        return Outcome(UNCHANGED, reason, figures)
    reason = f"{done.rewritten} of {done.looked_at} files are written again, {done.rows} rows fewer"
    return Outcome(DONE, reason, figures)


@dataclass
class _Done:
    """What was done in the landing directory, and the files that may name customers and were not written again."""

    looked_at: int = 0
    rewritten: int = 0
    rows: int = 0
    doubtful: list[Path] = field(default_factory=list)
    left: list[str] = field(default_factory=list)


def _is_being_written(drop: Drop, loaded: Loaded) -> bool:
    """Tell whether the sender may still write to the drop: what is loaded is whole, and so is what an interrupted call
    has begun to replace, though its files are new and their content is of no loaded drop."""
    if not is_complete(drop):
        return True
    if is_settled(drop) or (drop.path / COMPLETE).is_dir():
        return False
    content = digest_of({path.name: sha256_of(path) for path in drop.files()})
    return not any(content in (each.digest, *each.landed_digests) for each in loaded.get(drop.as_of, ()))


def _rewrite(drop: Drop, are_erased: AreErased, done: _Done) -> bool:
    """Write the files of a drop again without the customers; return whether any was."""
    begun, complete, before = drop.path / BEGUN, drop.path / COMPLETE, done.rewritten
    shutil.rmtree(begun, ignore_errors=True)
    if complete.is_dir():
        done.rewritten += _put_into_place(complete, drop.path)
    looked = {path.name: find_lines(partial(open_plain, path), are_erased) for path in drop.files()}
    done.doubtful += [drop.path / name for name, each in looked.items() if not each.is_whole]
    if found := {name: each.lines for name, each in looked.items() if each.lines}:
        begun.mkdir()
        _write(drop, begun, found)
        begun.rename(complete)
        done.rewritten += _put_into_place(complete, drop.path)
        done.rows += sum(map(len, found.values()))
    return done.rewritten > before


def _write(drop: Drop, begun: Path, found: Mapping[str, Sequence[int]]) -> None:
    """Write the new files, and the manifest if the drop has a valid one, into `begun`."""
    for name, lines in found.items():
        with open_plain(drop.path / name) as source, (begun / name).open("xb") as target:
            copy_without(source, target, lines)
        shutil.copymode(drop.path / name, begun / name)
    try:
        manifest = read_manifest(drop)
    except ManifestError:
        manifest = None  # validate rejects the drop, with the reason
    if manifest:
        files = {name: dict(entry) for name, entry in manifest.files.items()}
        for name in files.keys() & found.keys():
            files[name]["sha256"] = sha256_of(begun / name)
            if "rows" in files[name]:
                files[name]["rows"] -= len(found[name])
        (begun / MANIFEST).write_text(json.dumps(files, indent=2) + "\n", encoding="utf-8")
    # The manifest is moved last.
    names = [*found, *([MANIFEST] if manifest else [])]
    (begun / SOURCES).write_text(json.dumps({name: sha256_of(drop.path / name) for name in names}), encoding="utf-8")


def _put_into_place(complete: Path, drop: Path) -> int:
    """Move the files into the drop and remove their directory; return their number. Nothing replaces a file that the
    sender has written since."""
    sources = json.loads((complete / SOURCES).read_text(encoding="utf-8"))
    waiting = [name for name in sources if (complete / name).exists()]
    if any(not (drop / name).exists() or sha256_of(drop / name) != sources[name] for name in waiting):
        log.warning("%s: the sender has replaced it since it was begun", drop)
        waiting = []
    for name in waiting:
        (complete / name).replace(drop / name)
    shutil.rmtree(complete)
    return len([name for name in waiting if name != MANIFEST])


def _renew_hold(connection: Connection, drop: Drop) -> None:
    """Let the hold be of the drop as it is now: a person who accepted it need not do so again."""
    files = {path.name: sha256_of(path) for path in drop.files()}
    verdict = digest_of(files | drop.identity_of_rest())
    execute(connection, "erasure/renew_hold", {"as_of": drop.as_of, "content": digest_of(files), "verdict": verdict})


def _is_plain(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _files_with(users: frozenset[str], paths: Iterable[Path]) -> Iterator[Path]:
    """Yield the files that name one of `users` anywhere, and those that cannot be read."""
    mentions = Mentions(users)
    for path in paths:
        try:
            text = path.read_bytes().decode("utf-8", "replace")
        except OSError as error:
            log.warning("%s: %s", path, error)
            yield path
            continue
        if mentions.erased_from(text)[1]:
            yield path
