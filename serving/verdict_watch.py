"""Reads the verdict on the served version for its gauges."""

import logging
import time

from churn.outcomes.standing import verdicts
from churn.postgres.database import connect
from serving.features import reason
from serving.served import ServedModel
from serving.verdict_gauges import VERDICT

log = logging.getLogger(__name__)

READ_EVERY_SECONDS = 60.0
"""A verdict changes when labels come, once a day at most. A new version is read at once."""


class VerdictWatch:
    """Used by the polling thread alone, so that no request waits for it."""

    def __init__(self, database_url: str) -> None:
        self._database_url = database_url
        self._of: tuple[int, str] | None = None
        self._until = 0.0

    def look(self, served: ServedModel | None) -> None:
        """Update the gauges, if it is time. A failure is logged and removes them: serving does not depend on them."""
        of = (served.version, served.run_id) if served else None
        if of == self._of and time.monotonic() < self._until:
            return
        self._of, self._until = of, time.monotonic() + READ_EVERY_SECONDS
        if of is None:
            VERDICT.hide()
            return
        try:
            with connect(self._database_url) as connection:
                VERDICT.show(of[0], verdicts(connection).get(of))
        except Exception as error:
            # No error here may end the polling thread.
            VERDICT.hide()
            log.warning("the verdict on version %d cannot be read: %s", of[0], reason(error))
