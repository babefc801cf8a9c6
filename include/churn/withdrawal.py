"""withdraw: take a drop back, so that the system holds what it would hold had the drop never come.

This module removes the data, in one transaction. churn.materialization serves what is left, and churn.superseded tags
the model versions. Each of the three may be run again: a withdrawal that was killed is finished by the next run.
"""

from collections.abc import Mapping
from datetime import date, datetime

from churn.database import Connection, execute


def is_withdrawn(connection: Connection, as_of: date) -> bool:
    """Tell whether the drop of `as_of` was withdrawn, and none has been loaded since."""
    found = execute(connection, "withdrawal/is_withdrawn", {"as_of": as_of}).fetchone()
    return bool(found and found[0])


def withdrawn_content(connection: Connection, as_of: date) -> Mapping[str, datetime]:
    """Return {digest: when it was withdrawn} of the contents of `as_of` that are not loaded again.

    Such a content is accepted by a file _ACCEPT that was written after that instant.
    """
    return dict(execute(connection, "withdrawal/contents", {"as_of": as_of}).fetchall())
