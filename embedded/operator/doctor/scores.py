"""Check of the list of scores: the served AS_OF is scored, and its files are there."""

from datetime import date

from churn.drops.storage import storage_at
from churn.features.redis.server import OnlineStoreAway
from churn.postgres.database import connect, execute
from churn.registry.model_version import ModelVersion
from churn.scores.files import folder_of, why_unpublished
from churn.scores.run import Run, current_run
from embedded.environment import environment
from embedded.operator.as_of_state import served_as_of
from embedded.operator.doctor.finding import Finding, bad, ok, warn
from embedded.settings import Settings

CHECK = "list of scores"


def check_list(settings: Settings, versions: list[ModelVersion]) -> Finding:
    """Check the list of the AS_OF that is served online, the newest."""
    variables = environment(settings)
    try:
        as_of = served_as_of(settings)
    except OnlineStoreAway:
        return warn(CHECK, "which AS_OF is served is unknown", "mend the online store, then make doctor again")
    if as_of is None:
        return ok(CHECK, "no AS_OF is served yet")
    with connect(variables["CHURN_DATABASE_URL"]) as connection:
        run = current_run(connection, as_of)
        if run is None:
            from churn.scores.registered import choose_registered  # noqa: PLC0415 — a slow import, rarely needed

            choice = choose_registered(connection, versions, as_of)
            return judge_unscored(as_of, None if choice.version else choice.reason)
        snapshot = execute(connection, "scores/snapshot", {"as_of": as_of}).fetchone()
    is_current = snapshot is None or snapshot[0] == run.snapshot_digest
    return judge_list(run, is_current, _trouble(variables["SCORES_URL"], run))


def _trouble(location: str, run: Run) -> str | None:
    storage = storage_at(location)
    try:
        why = why_unpublished(storage, run)
    except (OSError, ValueError) as error:
        why = f"cannot be read: {error}"
    return f"{storage.where(folder_of(run))}: {why}" if why else None


def judge_unscored(as_of: date, why: str | None) -> Finding:
    """Judge an AS_OF without a list. `why` is why no version may score it. For how long, the freshness says."""
    if why:
        return warn(CHECK, f"{as_of} is not scored: {why}", f"make trigger AS_OF={as_of} scores it then")
    advice = f"churn_score starts when churn_train has ended; where no run is under way: make trigger AS_OF={as_of}"
    return warn(CHECK, f"{as_of} is not scored", advice)


def judge_list(run: Run, is_current: bool, trouble: str | None) -> Finding:
    """Judge the newest list of an AS_OF; `trouble` is what is wrong with its files."""
    found = f"{run.as_of}, revision {run.revision}: {run.rows} customers, scored by version {run.model_version}"
    again = f"make trigger AS_OF={run.as_of}"
    if trouble:
        return bad(
            CHECK, f"{found}; {trouble}", f"{again} publishes the files again; check that SCORES_URL is readable"
        )
    if not is_current:
        return warn(CHECK, f"{found}; its snapshot was built again since", f"where no run is under way: {again}")
    return ok(CHECK, found)
