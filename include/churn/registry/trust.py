"""Trust of versions that training did not record: registered by hand, or older than the upgrade.

`python -m churn.registry.trust`, with CHURN_DATABASE_URL and MLFLOW_TRACKING_URI in the environment, records every
version registered before the database was upgraded to record hashes. It is idempotent, and records nothing in a
database that was created with the table.
"""

import sys
from collections.abc import Iterator
from datetime import UTC, datetime

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from churn.outcome import DONE, UNCHANGED, Outcome
from churn.postgres.database import Connection, connect, lock
from churn.postgres.database_url import ask_for_url
from churn.reason import Refused, stated
from churn.registry import provenance
from churn.registry.client import get_version, is_missing, list_versions
from churn.registry.loading import fetched
from churn.registry.model_file import read_pipeline
from churn.registry.model_version import MODEL_NAME, ModelNotLoadable


class TrustRefused(Refused):
    """The version does not exist or cannot be loaded; nothing was recorded."""


def trust(version: int, who: str, why: str, database_url: str) -> Outcome:
    """Record the hashes of a version's current files, so that serving and the gate load it.

    Raises:
        TrustRefused: the version does not exist or cannot be loaded, or `why` is empty or too long.
    """
    who, why = stated(who, why, TrustRefused)
    try:
        found = get_version(MlflowClient(), version)
        with fetched(version) as directory:
            hashes = provenance.hashes_in(directory)
            # A person vouches for the file, so it may be read now, to report errors at once.
            read_pipeline(directory / provenance.MODEL)
    except ModelNotLoadable as error:
        raise TrustRefused(f"version {version} cannot be loaded: {error}; nothing was recorded") from error
    except MlflowException as error:
        if is_missing(error):
            raise TrustRefused(f"there is no version {version} of {MODEL_NAME}") from None
        raise
    figures = {"version": version}
    if provenance.first_unrecorded(hashes, database_url) is None:
        return Outcome(UNCHANGED, f"version {version} was trusted already: {_shown(hashes)}", figures)
    with connect(database_url) as connection:
        provenance.append(connection, hashes, found.run_id, who=who, why=why, version=version)
    return Outcome(DONE, f"version {version} is trusted: {_shown(hashes)}", figures)


def adopt(database_url: str) -> list[str]:
    """Record the files of every version registered before the upgrade, in one transaction, and return a line for each.
    Return no lines if this was done before, or if the database was created with the table."""
    with connect(database_url) as connection:
        lock(connection, "adopt versions")
        before = provenance.upgraded_at(connection)
        return list(_adopted(connection, before)) if before else []


def _adopted(connection: Connection, before: datetime) -> Iterator[str]:
    why = f"registered before {before:%Y-%m-%d %H:%M} UTC, when hashes began to be recorded"
    for each in reversed(list_versions(MlflowClient())):
        if datetime.fromtimestamp(each.creation_timestamp / 1000, UTC) >= before:
            continue
        version = int(each.version)
        try:
            with fetched(version) as directory:
                hashes = provenance.hashes_in(directory)
        except ModelNotLoadable as error:
            yield f"version {version} is not recorded: {error}"
            continue
        run_id = each.run_id or ""
        provenance.append(connection, hashes, run_id, who=provenance.UPGRADE, why=why, version=version)
        yield f"version {version} is trusted: {_shown(hashes)}"


def _shown(hashes: dict[str, str]) -> str:
    return ", ".join(f"{file} {sha256[:12]}…" for file, sha256 in hashes.items())


def main() -> None:
    database_url = ask_for_url("python -m churn.registry.trust", __doc__)
    lines = adopt(database_url)
    sys.stdout.write("".join(f"{line}\n" for line in lines) or "nothing to record\n")


if __name__ == "__main__":
    main()
