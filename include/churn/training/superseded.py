"""supersede: tag model versions whose training data have changed since.

The tag `drops` of a version records the digest of each drop in its training set. A version is superseded when a
training at its AS_OF would read other drops now: one was corrected, came late, brought late labels, or was withdrawn.
The tag `superseded` says what changed and what to do. It is removed when the drops match again. Decisions and the stage
Production do not change.
"""

import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date

from mlflow import MlflowClient

from churn.outcome import DONE, UNCHANGED, Outcome
from churn.postgres.database import Connection, connect, execute, lock_session, one
from churn.registry.client import find_versions
from churn.registry.client import production as find_production
from churn.registry.model_version import MODEL_NAME, ModelNotLoadable, ModelVersion
from churn.training.training_set import drops_of

log = logging.getLogger(__name__)

DROPS = "drops"
SUPERSEDED = "superseded"

Drops = Mapping[date, str]
"""The drops of a training set: AS_OF → sha256 of the content."""


def mark_superseded(database_url: str) -> Outcome:
    """Set or remove the tag `superseded` of every model version that has the tag `drops`."""
    with connect(database_url, autocommit=True) as connection:
        _lock(connection)
        client = MlflowClient()
        tagged, untagged = _mark(connection, client, find_versions(client, {}))
    figures = {"tagged": tagged, "untagged": untagged}
    if not tagged and not untagged:
        return Outcome(UNCHANGED, "every tag `superseded` is up to date", figures)
    return Outcome(DONE, f"superseded: {_list(tagged)}; no longer: {_list(untagged)}", figures)


def supersede_withdrawn(as_of: date, database_url: str) -> Outcome:
    """Run mark_superseded() after the drop of `as_of` was withdrawn. The outcome's figure `ask` says what to do if the
    version in Production was trained with it."""
    outcome = mark_superseded(database_url)
    production = find_production(MlflowClient())
    with connect(database_url) as connection:
        left = _Left.read(connection)
    if production is None or as_of not in left.withdrawn or not _learned_from(production, as_of):
        return outcome
    question = (
        f"version {production.version} in Production was trained with the drop of {as_of}, which was withdrawn: "
        f"go back with make rollback, or {left.advice}, and let the gate decide"
    )
    return Outcome(outcome.outcome, f"{outcome.reason}; {question}", {**outcome.figures, "ask": question})


def withdrawn_drops(connection: Connection, version: ModelVersion) -> list[date]:
    """Return the AS_OFs of withdrawn drops that a version was trained with, oldest first."""
    return sorted(as_of for as_of in _Left.read(connection).withdrawn if _learned_from(version, as_of))


def renew(as_of: date, data_digest: str, drops: Drops, database_url: str) -> None:
    """Set the tag `drops` of the versions of `as_of` with this data digest, then mark all versions of `as_of`.

    A drop can change without changing the training set; such a version is not superseded.
    """
    client = MlflowClient()
    trained_then, these_data = {"as_of": as_of.isoformat()}, {"data_digest": data_digest}
    with connect(database_url, autocommit=True) as connection:
        _lock(connection)
        for version in find_versions(client, trained_then | these_data):
            if version.tags.get(DROPS) != to_tag(drops):
                client.set_model_version_tag(MODEL_NAME, str(version.version), DROPS, to_tag(drops))
        _mark(connection, client, find_versions(client, trained_then))


def to_tag(drops: Drops) -> str:
    """Return the value of the tag `drops`."""
    return json.dumps({as_of.isoformat(): digest for as_of, digest in sorted(drops.items())})


def _drops_of(version: ModelVersion) -> Drops | None:
    """Return the drops of a version; None without the tag, or if its tags are unreadable, so that one version does not
    block the others."""
    if DROPS not in version.tags:
        return None
    try:
        version.as_of  # noqa: B018 — raises if unreadable
        return {date.fromisoformat(as_of): digest for as_of, digest in json.loads(version.tags[DROPS]).items()}
    except (ModelNotLoadable, ValueError, AttributeError) as error:
        log.warning("cannot tell whether version %d is superseded: %s", version.version, error)
        return None


def _list(versions: list[int]) -> str:
    return ", ".join(f"version {version}" for version in sorted(versions)) or "none"


def _lock(connection: Connection) -> None:
    """Serialize the marking, with a session lock: the server may end a transaction that idles during MLflow calls."""
    lock_session(connection, "superseded")


@dataclass(frozen=True)
class _Left:
    """The withdrawn AS_OFs, and the newest AS_OF with a drop."""

    withdrawn: frozenset[date]
    newest: date | None

    @staticmethod
    def read(connection: Connection) -> "_Left":
        withdrawn = frozenset(as_of for as_of, *_ in execute(connection, "withdrawal/withdrawn"))
        return _Left(withdrawn, one(connection, "gate/newest_drop")[0])

    @property
    def advice(self) -> str:
        return f"run {self.newest}, the newest AS_OF that is left" if self.newest else "load another drop: none is left"


def _learned_from(version: ModelVersion, as_of: date) -> bool:
    return version.tags.get("as_of") == as_of.isoformat() or as_of in (_drops_of(version) or {})


def _mark(
    connection: Connection, client: MlflowClient, versions: Iterable[ModelVersion]
) -> tuple[list[int], list[int]]:
    """Update the tag of each version; return the versions that were tagged and those that were untagged."""
    made_of = [(version, drops) for version in versions if (drops := _drops_of(version)) is not None]
    now = drops_of(connection, {version.as_of for version, _ in made_of})
    current = {version.as_of: version for version, drops in made_of if drops == now[version.as_of]}
    left = _Left.read(connection)
    tagged, untagged = [], []
    for version, drops in made_of:
        why = _why(version.as_of, drops, now[version.as_of], current.get(version.as_of), left)
        if why == version.tags.get(SUPERSEDED):
            continue
        if why is None:
            client.delete_model_version_tag(MODEL_NAME, str(version.version), SUPERSEDED)
            untagged.append(version.version)
        else:
            client.set_model_version_tag(MODEL_NAME, str(version.version), SUPERSEDED, why)
            tagged.append(version.version)
    return tagged, untagged


def _why(as_of: date, then: Drops, now: Drops, successor: ModelVersion | None, left: _Left) -> str | None:
    """Return why a version of `as_of` is superseded and what to do, None if it is not."""
    changes = _changes(then, now, left.withdrawn)
    if as_of in left.withdrawn:
        # It cannot be run again: it has no drop.
        return "; ".join(filter(None, (changes, f"its AS_OF {as_of} was withdrawn: {left.advice}")))
    return f"{changes}; {_advice(as_of, successor)}" if changes else None


def _changes(then: Drops, now: Drops, withdrawn: frozenset[date]) -> str | None:
    missing = [as_of for as_of in then if as_of not in now]
    changes = {
        "corrected": [as_of for as_of in then if as_of in now and now[as_of] != then[as_of]],
        "new": [as_of for as_of in now if as_of not in then],
        "withdrawn": [as_of for as_of in missing if as_of in withdrawn],
        "no longer used": [as_of for as_of in missing if as_of not in withdrawn],
    }
    said = [f"{', '.join(map(str, sorted(as_ofs)))} {change}" for change, as_ofs in changes.items() if as_ofs]
    return f"the drops that it was trained on changed: {'; '.join(said)}" if said else None


def _advice(as_of: date, successor: ModelVersion | None) -> str:
    if successor:
        return f"version {successor.version} was trained on those of now"
    return f"run {as_of} again to train on those of now"
