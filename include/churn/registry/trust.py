"""Trusting versions that training did not record: one registered by hand, or those from before an upgrade.

`python -m churn.registry.trust`, with CHURN_DATABASE_URL and MLFLOW_TRACKING_URI in the environment, records every
version that was registered before the database was upgraded to record hashes. It does so once: run again, or in a
database that was made with the table, it records nothing.
"""

import argparse
import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from churn.outcome import DONE, UNCHANGED, Outcome
from churn.postgres.database import Connection, connect, lock
from churn.registry import provenance
from churn.registry.client import find_versions, get_version, is_missing
from churn.registry.loading import fetched
from churn.registry.model_file import read_pipeline
from churn.registry.model_version import MODEL_NAME, ModelNotLoadable

MAX_WHY = 1000
"""Characters of a reason."""


class TrustRefused(RuntimeError):
    """There is no such version, or nothing could load it; nothing was recorded."""


def trust(version: int, who: str, why: str, database_url: str) -> Outcome:
    """Record the hashes of a version's files as they are now, so that serving and the gate load it.

    Raises:
        TrustRefused: the version does not exist or cannot be loaded, or `why` is empty or too long.
    """
    who, why = who.strip(), why.strip()
    if not who or not why or len(why) > MAX_WHY:
        raise TrustRefused(f"say who and why, the reason in at most {MAX_WHY} characters; got {who!r}, {why!r}")
    figures = {"version": version}
    try:
        found = get_version(MlflowClient(), version)
        with fetched(version) as directory:
            hashes = provenance.hashes_in(directory)
            # A person vouches for the file: what it holds may be looked at, so that they hear at once what is wrong.
            read_pipeline(directory / provenance.MODEL)
            try:
                provenance.require_recorded(version, directory, database_url)
            except provenance.NotTrusted:
                with connect(database_url) as connection:
                    provenance.append(connection, hashes, found.run_id, who=who, why=why, version=version)
                return Outcome(DONE, f"version {version} is trusted: {_shown(hashes)}", figures)
    except ModelNotLoadable as error:
        raise TrustRefused(f"version {version} cannot be loaded: {error}; nothing was recorded") from error
    except MlflowException as error:
        if is_missing(error):
            raise TrustRefused(f"there is no version {version} of {MODEL_NAME}") from None
        raise
    return Outcome(UNCHANGED, f"version {version} was trusted already: {_shown(hashes)}", figures)


def adopt(database_url: str) -> list[str]:
    """Record the files of every version that was registered before the upgrade, in one transaction, and return a line
    for each; nothing where that was done before, or the database was never without the table."""
    with connect(database_url) as connection:
        lock(connection, "adopt versions")
        before = provenance.upgraded_at(connection)
        return list(_adopted(connection, before)) if before else []


def _adopted(connection: Connection, before: datetime) -> Iterator[str]:
    client = MlflowClient()
    for each in find_versions(client, {}):
        made = client.get_model_version(MODEL_NAME, str(each.version)).creation_timestamp
        if datetime.fromtimestamp(made / 1000, UTC) >= before:
            continue
        try:
            with fetched(each.version) as directory:
                hashes = provenance.hashes_in(directory)
        except ModelNotLoadable as error:
            yield f"version {each.version} is not recorded: {error}"
            continue
        why = f"registered before {before:%Y-%m-%d %H:%M} UTC, when hashes began to be recorded"
        provenance.append(connection, hashes, each.run_id, who=provenance.UPGRADE, why=why, version=each.version)
        yield f"version {each.version} is trusted: {_shown(hashes)}"


def _shown(hashes: dict[str, str]) -> str:
    return ", ".join(f"{file} {sha256[:12]}…" for file, sha256 in hashes.items())


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m churn.registry.trust", description=__doc__)
    parser.add_argument("--database-url", default=os.environ.get("CHURN_DATABASE_URL"), help="a libpq URI")
    arguments = parser.parse_args()
    if not arguments.database_url:
        parser.error("set CHURN_DATABASE_URL or give --database-url")
    lines = adopt(arguments.database_url)
    sys.stdout.write("".join(f"{line}\n" for line in lines) or "nothing to record\n")


if __name__ == "__main__":
    main()
