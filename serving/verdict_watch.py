"""Reads the verdict on the served version, and how many columns drifted, for their gauges."""

import logging
import time
from collections.abc import Callable

import psycopg

from churn.drift.findings import drifted_columns
from churn.outcomes.standing import verdicts
from churn.postgres.database import connect
from serving.drift_gauge import DRIFT, DriftGauge
from serving.features import reason
from serving.served import ServedModel
from serving.verdict_gauges import VERDICT, VerdictGauges

log = logging.getLogger(__name__)

READ_EVERY_SECONDS = 60.0
"""A verdict changes when labels come, and drift with an AS_OF: once a day at most. A new version is read at once."""


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
        try:
            # Each read is a transaction of its own: a right that is missing for one may not remove the other.
            with connect(self._database_url, autocommit=True) as connection:
                _show("how many columns drifted", DRIFT, lambda: DRIFT.show(drifted_columns(connection)))
                if of is None:
                    VERDICT.hide()
                else:
                    verdict = f"the verdict on version {of[0]}"
                    _show(verdict, VERDICT, lambda: VERDICT.show(of[0], verdicts(connection).get(of)))
        except Exception as error:
            # No error here may end the polling thread.
            DRIFT.hide()
            VERDICT.hide()
            log.warning("verdict and drift cannot be read: %s", reason(error))


def _show(what: str, gauges: VerdictGauges | DriftGauge, show: Callable[[], None]) -> None:
    try:
        show()
    except psycopg.Error as error:
        gauges.hide()
        log.warning("%s cannot be read: %s", what, reason(error))
