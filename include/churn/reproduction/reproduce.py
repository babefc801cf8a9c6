"""reproduce: rebuild a model version from the archive and compare it with the recorded one, bit for bit.

The drops of the version's lineage are loaded from the archive into a scratch database by the usual steps; then the
recipe search runs with the recorded parameters. raw.*, the snapshots and the landing directory are not used, and MLflow
and the database `churn` are only read.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import psycopg
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from churn.drops.accepted import AcceptedDrop, AcceptedFile
from churn.drops.archive import ArchiveError, newest_content, open_archived
from churn.drops.loading import load
from churn.drops.snapshots import build_snapshots
from churn.drops.storage import Location
from churn.features.store import apply_definitions, open_store
from churn.postgres.database import Connection, connect, one
from churn.reason import Refused
from churn.registry.client import get_version, is_missing
from churn.registry.erased import TRAINED_ON_ERASED
from churn.registry.model_version import LONGEST_VALUE, MODEL_NAME, ModelNotLoadable, ModelVersion
from churn.reproduction.bit_for_bit import Check, compare, set_difference
from churn.reproduction.scratch import scratch_database
from churn.training import recipe
from churn.training.candidate import fit_candidate
from churn.training.environment import environment_differences
from churn.training.lineage import code_differences, commit_differences, read_lineage
from churn.training.sample import Sample
from churn.training.sources import labelled_dates
from churn.training.training_set import TrainingSet, build_training_set

Say = Callable[[str], None]
TRAINING_SET = "training set"


class NotReproducible(Refused):
    """The version does not exist, has no lineage or unreadable tags, or was made with customers who were erased."""


@dataclass(frozen=True)
class Reproduction:
    """The result of a reproduction.

    Attributes:
        compared: the parts found equal, in the order of comparison.
        difference: the first difference in words, beginning with environment, data, code or record; None if all is
            equal.
        notes: other differences: of the checkout, and if all is equal, of code and environment.
    """

    version: int
    compared: tuple[str, ...]
    difference: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def equal(self) -> bool:
        return self.difference is None

    def __str__(self) -> str:
        verdict = "equal, bit for bit" if self.equal else f"not equal. First difference: {self.difference}"
        lines = [f"version {self.version}: {verdict}", *(f"  equal: {each}" for each in self.compared)]
        return "\n".join([*lines, *(f"  note: {note}" for note in self.notes)])


def reproduce(version: int, database_url: str, archive: Location, say: Say) -> Reproduction:
    """Reproduce a version and compare it with the recorded one.

    Args:
        database_url: the database `churn`; the scratch database is created on the same server and dropped at the end.
        say: receives progress messages.

    Raises:
        NotReproducible: the version does not exist, has no lineage or unreadable tags, or was trained or graded on
            customers who were erased.
    """
    found, lineage = _find(version, database_url)
    environment = [*environment_differences(lineage["environment"])]
    code, checkout = [*code_differences(lineage)], tuple(commit_differences(lineage))
    compared: list[str] = []

    def differs(difference: str) -> Reproduction:
        return Reproduction(version, tuple(compared), difference, checkout)

    try:
        for what, difference in _checks(found, lineage, database_url, archive, say):
            if difference:
                return differs(_first(environment, code, what, difference))
            say(f"equal: {what}")
            compared.append(what)
    except ArchiveError as error:
        return differs(f"data: {error}")
    except (psycopg.OperationalError, MlflowException):
        raise
    except Exception as error:
        # Other code or libraries may fail in any way; with the same ones this is a bug.
        if not environment and not code:
            raise
        return differs(_first(environment, code, "the reproduction failed", f"{type(error).__name__}: {error}"))
    return Reproduction(version, tuple(compared), notes=(*environment, *code, *checkout))


def _first(environment: Sequence[str], code: Sequence[str], what: str, difference: str) -> str:
    """Return the likely cause of a difference, given that all archived files are unchanged."""
    if environment:
        return f"environment: {environment[0]}; this may be why {what} differs: {difference}"
    if code:
        return f"code: {code[0]}; this may be why {what} differs: {difference}"
    if what == TRAINING_SET:
        return f"data: {difference}"
    return f"record: {what}: {difference}, although data, code and environment are equal: MLflow's record differs"


def _find(version: int, database_url: str) -> tuple[ModelVersion, dict[str, Any]]:
    try:
        found = get_version(MlflowClient(), version)
    except MlflowException as error:
        if is_missing(error):
            raise NotReproducible(f"there is no version {version} of {MODEL_NAME}") from None
        raise
    if why := _why_erased(found, database_url):
        raise NotReproducible(f"version {version} of {MODEL_NAME} {why}")
    lineage = read_lineage(found.run_id) if found.run_id else None
    if lineage is None:
        raise NotReproducible(
            f"version {version} of {MODEL_NAME} keeps no lineage.json: it was registered by hand, or by older "
            f"code; run its AS_OF {found.tags.get('as_of', '')} again to train one that does"
        )
    try:
        found.as_of, found.threshold, found.feature_service  # noqa: B018 — raises if unreadable
    except ModelNotLoadable as error:
        raise NotReproducible(str(error)) from None
    return found, lineage


def _why_erased(found: ModelVersion, database_url: str) -> str | None:
    """Return why a version from whose files customers were erased cannot be reproduced; None for any other."""
    with connect(database_url) as connection:
        key = {"version": found.version, "run_id": found.run_id}
        erased_on, learned = one(connection, "erasure/removed_from_version", key)
    if (tag := found.tags.get(TRAINED_ON_ERASED)) is not None or learned:
        return (
            f"learned from customers who were erased on {str(tag or erased_on)[:LONGEST_VALUE]}: their rows are "
            "neither in the archive nor in the training set any more, so it cannot be made again"
        )
    if erased_on:
        return (
            f"did not learn from customers who were erased on {erased_on}, but its training set or its evidence held "
            "them, as those of a cohort it is graded on: without them neither can be made again as it was"
        )
    return None


def _checks(
    found: ModelVersion, lineage: Mapping[str, Any], database_url: str, archive: Location, say: Say
) -> Iterator[Check]:
    drops = _drops_of(lineage, database_url)
    say(f"checking the archived files of {len(drops)} drops")
    for drop in drops:
        _check_archived(drop, lineage, archive)
    yield f"{sum(len(drop.files) for drop in drops)} archived files of {len(drops)} drops", None
    training_set = _rebuild(found, lineage, database_url, archive, say)
    yield TRAINING_SET, set_difference(found, training_set)
    say(f"choosing and fitting the recipe on {len(training_set.table)} rows")
    candidate = fit_candidate(training_set, _parameters_of(found, lineage))
    yield from compare(found, lineage, candidate, training_set, database_url)


def _parameters_of(found: ModelVersion, lineage: Mapping[str, Any]) -> recipe.Parameters:
    # A version from before churn_v2 compared no feature services.
    return recipe.parameters_of({"feature_services": [found.feature_service], **lineage["parameters"]})


def _check_archived(drop: AcceptedDrop, lineage: Mapping[str, Any], archive: Location) -> None:
    for name, file in drop.files.items():
        try:
            with open_archived(archive, file.sha256):
                pass  # leaving the block reads the rest and compares the hash
        except ArchiveError as error:
            revision = lineage["drops"][drop.as_of.isoformat()]["revision"]
            raise ArchiveError(f"{name} of the drop of {drop.as_of}, revision {revision}: {error}") from error


def _drops_of(lineage: Mapping[str, Any], database_url: str) -> list[AcceptedDrop]:
    """Return the drops of the lineage. A file that was written again without erased customers, none of whom was in the
    training set, is named by its new content."""
    with connect(database_url) as connection:
        newest = newest_content(connection)

    def now(file: AcceptedFile) -> AcceptedFile:
        return replace(file, sha256=newest(file.sha256))

    drops = [AcceptedDrop.from_json({"as_of": as_of, **of}) for as_of, of in sorted(lineage["drops"].items())]
    return [replace(drop, files={name: now(file) for name, file in drop.files.items()}) for drop in drops]


def _rebuild(
    found: ModelVersion, lineage: Mapping[str, Any], database_url: str, archive: Location, say: Say
) -> TrainingSet:
    services = _parameters_of(found, lineage).feature_services
    with scratch_database(database_url) as scratch:
        for drop in _drops_of(lineage, database_url):
            say(f"loading the drop of {drop.as_of}")
            load(drop, scratch, archive, loaded_before=True)
            build_snapshots(drop.as_of, scratch)
        apply_definitions(scratch)
        say(f"building the training set of {found.as_of}")
        with connect(scratch) as connection:
            samples = _samples_of(lineage, connection, found.as_of)
        return build_training_set(open_store(scratch), services, found.as_of, scratch, samples)


def _samples_of(lineage: Mapping[str, Any], connection: Connection, as_of: date) -> dict[date, Sample]:
    """Return the labelled dates that a version learned from, and its sample of each."""
    recorded = lineage["training_set"]
    if "samples" in recorded:
        return {date.fromisoformat(day): Sample(**shares) for day, shares in recorded["samples"].items()}
    # A version from before samples has all customers; one from before label periods learned from the newest labelled
    # dates, however close.
    dates = [date.fromisoformat(day) for day in recorded.get("dates", [])]
    return {day: Sample() for day in dates or labelled_dates(connection, as_of, days=1)}
