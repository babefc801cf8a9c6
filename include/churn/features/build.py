"""One build of the online store: one AS_OF of all feature views, being written or served."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime

from churn.postgres.database import Connection, execute


class IncompleteBuild(RuntimeError):
    """A build lacks rows of its snapshot, or another build was served meanwhile; it is not served."""


@dataclass(frozen=True)
class Served:
    """The served build: its name, AS_OF, the digests of its drop and code, and the rows of each view."""

    build: str
    as_of: date
    drop_digest: str
    code_digest: str
    rows: Mapping[str, int]


@dataclass(frozen=True)
class Build:
    """A build that is being written.

    Attributes:
        number, begun_at: identify its row in online.builds.
        views: {feature view: {feature: its type in Postgres}}.
        replaces: the build that was served when this one began.
    """

    number: int
    begun_at: datetime
    as_of: date
    drop_digest: str
    code_digest: str
    views: Mapping[str, Mapping[str, str]]
    replaces: Served | None


def build_being_written(connection: Connection, as_of: date) -> tuple[int, datetime]:
    """Return the number and the start of the build that a materialization of `as_of` is writing.

    Raises:
        RuntimeError: no build of `as_of` is being written.
    """
    found = execute(connection, "online/build_being_written", {"as_of": as_of}).fetchone()
    if found is None:
        raise RuntimeError(
            f"no build of {as_of} is being written: materialize through churn.features.materialization (or trigger the "
            "DAG churn_materialize), which publishes what it wrote"
        )
    return found[0], found[1]
