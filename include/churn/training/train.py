"""train: fit a candidate on the training set of an AS_OF, log it to MLflow and register it."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime

from mlflow import MlflowClient

from churn.code import step_digest
from churn.features.store import open_offline_store
from churn.outcome import DONE, UNCHANGED, Outcome
from churn.postgres.database import Connection, connect, lock_session
from churn.postgres.personal_data import writing_personal_data
from churn.registry.client import ExperimentDeleted, find_versions, get_version, require_experiment
from churn.registry.model_version import MODEL_NAME
from churn.training import recipe
from churn.training.candidate import NotEnoughToLearn, fit_candidate
from churn.training.lineage import read_revisions
from churn.training.regime import REGIME_CHANGE, judged_of
from churn.training.registration import register
from churn.training.sources import Expired, drops_of, labelled_dates
from churn.training.superseded import renew
from churn.training.training_set import TrainingSet, build_training_set, known_since
from churn.training.uses import DROPS, USED_BY, to_tag

__all__ = ["DropsChanged", "ExperimentDeleted", "Expired", "NotEnoughToLearn", "train"]


USED_AT = "used_at"
"""Tag of a version: when a training last returned it as UNCHANGED. Retention keeps such a version for the gate."""


class DropsChanged(RuntimeError):
    """Drops changed while the training set was read, so it may mix two states; a retry helps."""


def lock_of(data_digest: str) -> tuple[str, str]:
    """Return the name of the lock that a training on these data holds."""
    return "train", data_digest


def used_at(instant: datetime) -> str:
    """Return an instant in UTC as the value of the tag USED_AT; the texts sort chronologically."""
    return instant.isoformat(timespec="seconds")


def train(as_of: date, database_url: str, parameters: recipe.Parameters | None = None) -> Outcome:
    """Fit, log and register the candidate of `as_of`, and return its version and figures.

    If a version of the same data digest, code and parameters exists, it is returned as UNCHANGED, whatever the AS_OF
    that trained it: most AS_OFs of a label period have one training set. A version's own AS_OF is the earliest at which
    its rows are known.

    Args:
        parameters: of the recipe; None for its defaults.

    Raises:
        NothingToLearn: no date up to `as_of` has both labels and a snapshot.
        NotEnoughToLearn: the training rows have one class only, or too few customers for the folds.
        Expired: retention removed dates of the training set.
        DropsChanged: drops of the training set changed while it was read.
        ExperimentDeleted: the MLflow experiment was deleted, and a person must restore it.
    """
    # Before the fit, whose result could not be logged otherwise.
    require_experiment(MlflowClient())
    parameters = parameters or recipe.Parameters()
    with writing_personal_data(database_url), connect(database_url, autocommit=True) as connection:
        training_set, drops = _read_training_set(as_of, parameters, database_url)
        # A concurrent training on the same rows waits, then finds the registered version. A session lock, because the
        # server may end a transaction that idles through a fit.
        lock_session(connection, *lock_of(training_set.digest))
        return _train(connection, training_set, drops, database_url, parameters)


def _train(
    connection: Connection,
    training_set: TrainingSet,
    drops: dict[date, str],
    database_url: str,
    parameters: recipe.Parameters,
) -> Outcome:
    as_of = training_set.as_of
    identity = {
        "data_digest": training_set.digest,
        "code_digest": step_digest(__package__),
        "parameters": json.dumps(parameters.to_json(), sort_keys=True),
    }
    same = [
        each
        for each in find_versions(MlflowClient(), {"data_digest": identity["data_digest"]})
        if identity.items() <= each.tags.items()
    ]
    if same:
        found = same[0]
        MlflowClient().set_model_version_tag(MODEL_NAME, str(found.version), USED_AT, used_at(datetime.now(UTC)))
        renew(as_of, training_set.digest, drops, database_url)
        figures = {"version": found.version, "run_id": found.run_id, **_news(found.tags, found.version)}
        return Outcome(UNCHANGED, f"version {found.version} was trained on this data by this code", figures)
    training_set = replace(training_set, as_of=known_since(connection, training_set, drops))
    _require_unchanged(as_of, drops, database_url)
    candidate = fit_candidate(training_set, parameters)
    # Later drops brought labels that change no row.
    revisions = read_revisions(
        {drop: digest for drop, digest in drops.items() if drop <= training_set.as_of}, database_url
    )
    tags = {
        **identity,
        "as_of": training_set.as_of.isoformat(),
        DROPS: to_tag(drops),
        USED_BY: json.dumps([as_of.isoformat()]),
    }
    version, run_id = register(candidate, training_set, parameters, tags, revisions, database_url=database_url)
    renew(as_of, training_set.digest, drops, database_url)
    news = _news(get_version(MlflowClient(), version).tags, version) if candidate.change else {}
    figures = {"version": version, "run_id": run_id, **candidate.metrics, **news}
    return Outcome(DONE, f"version {version}: {candidate}", figures)


def _news(tags: Mapping[str, str], version: int) -> dict[str, str]:
    """Return the regime change of a version as a figure, if no other version learned of the same one before."""
    if (change := judged_of(tags)) is None:
        return {}
    same = {name: tags[name] for name in ("graded_on", "graded_digest", REGIME_CHANGE)}
    others = [
        each for each in find_versions(MlflowClient(), {"graded_on": tags["graded_on"]}) if each.version < version
    ]
    return {} if any(same.items() <= each.tags.items() for each in others) else {"regime_change": str(change)}


def _read_training_set(
    as_of: date, parameters: recipe.Parameters, database_url: str
) -> tuple[TrainingSet, dict[date, str]]:
    """Return the training set and its drops. Feast reads each date on its own connection, so the drops are compared
    before and after."""
    drops = _drops_now(as_of, database_url)
    training_set = build_training_set(
        open_offline_store(database_url),
        parameters.feature_services,
        as_of,
        database_url,
        most_rows=parameters.training_rows,
    )
    _require_unchanged(as_of, drops, database_url)
    return training_set, drops


def _require_unchanged(as_of: date, drops: dict[date, str], database_url: str) -> None:
    if _drops_now(as_of, database_url) != drops:
        raise DropsChanged(f"drops up to {as_of} changed while its training set was read: run the task again")


def _drops_now(as_of: date, database_url: str) -> dict[date, str]:
    with connect(database_url) as connection:
        # Raises Expired.
        labelled_dates(connection, as_of)
        return drops_of(connection, [as_of])[as_of]
