"""supersede: tag model versions whose training data have changed since.

The tag `drops` of a version records the digest of each drop in its training set. A version is superseded when a
training at an AS_OF that used it would read other drops now: one was corrected, came late, brought late labels, or was
withdrawn. The tag `superseded` says what changed and what to do. It is removed when the drops match again. Decisions
and the stage Production do not change.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date

from mlflow import MlflowClient

from churn.outcome import DONE, UNCHANGED, Outcome
from churn.postgres.database import Connection, connect, execute, lock_session, one
from churn.registry.client import find_versions
from churn.registry.client import production as find_production
from churn.registry.model_version import MODEL_NAME, ModelVersion
from churn.training.sources import drops_of
from churn.training.uses import Drops, Uses, add_use, uses_of

SUPERSEDED = "superseded"


def mark_superseded(database_url: str) -> Outcome:
    """Set or remove the tag `superseded` of every model version that has the tag `drops`."""
    with connect(database_url, autocommit=True) as connection:
        _lock(connection)
        client = MlflowClient()
        tagged, untagged = _mark(connection, client, filter(None, map(uses_of, find_versions(client, {}))))
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
    """Record the versions with this data digest as used by `as_of`, then mark all versions that it used.

    A drop can change without changing the training set; such a version is not superseded.
    """
    client = MlflowClient()
    with connect(database_url, autocommit=True) as connection:
        _lock(connection)
        for version in find_versions(client, {"data_digest": data_digest}):
            add_use(client, version, as_of, drops)
        used = [uses for each in find_versions(client, {}) if (uses := uses_of(each)) and as_of in uses.as_ofs]
        _mark(connection, client, used)


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
    uses = uses_of(version)
    return version.tags.get("as_of") == as_of.isoformat() or (uses is not None and as_of in uses.drops)


def _mark(connection: Connection, client: MlflowClient, used: Iterable[Uses]) -> tuple[list[int], list[int]]:
    """Update the tag of each version; return the versions that were tagged and those that were untagged."""
    used = list(used)
    now = drops_of(connection, {as_of for each in used for as_of in each.as_ofs})
    current = {as_of: each.version for each in used for as_of in each.as_ofs if each.drops_at(as_of) == now[as_of]}
    left = _Left.read(connection)
    tagged, untagged = [], []
    for each in used:
        version = each.version
        why = _why(each, now, current, left)
        if why == version.tags.get(SUPERSEDED):
            continue
        if why is None:
            client.delete_model_version_tag(MODEL_NAME, str(version.version), SUPERSEDED)
            untagged.append(version.version)
        else:
            client.set_model_version_tag(MODEL_NAME, str(version.version), SUPERSEDED, why)
            tagged.append(version.version)
    return tagged, untagged


def _why(uses: Uses, now: Mapping[date, Drops], current: Mapping[date, ModelVersion], left: _Left) -> str | None:
    """Return why a version is superseded at AS_OFs that used it and what to do, None if it is not."""
    changed = {
        as_of: changes
        # A withdrawn AS_OF uses nothing: it has no drop, and cannot be run again.
        for as_of in sorted(uses.as_ofs - left.withdrawn)
        if (changes := _changes(uses.drops_at(as_of), now[as_of], left.withdrawn))
    }
    said = [f"{changed[max(changed)]}; {_advice([*changed], current.get(max(changed)))}"] if changed else []
    as_of = uses.version.as_of
    if as_of in left.withdrawn:
        if not changed and (changes := _changes(uses.drops_at(as_of), now.get(as_of, {}), left.withdrawn)):
            said = [changes]
        said.append(f"its AS_OF {as_of} was withdrawn: {left.advice}")
    return "; ".join(said) or None


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


def _advice(as_ofs: list[date], successor: ModelVersion | None) -> str:
    """Return what to do about the AS_OFs, oldest first; `successor` is the version of the newest."""
    if successor:
        return f"version {successor.version} was trained on those of now"
    run = f"{as_ofs[0]} to {as_ofs[-1]}" if len(as_ofs) > 1 else f"{as_ofs[0]}"
    return f"run {run} again to train on those of now"
