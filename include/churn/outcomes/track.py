"""The track record of expectations: what was expected of each list whose labels came, and what came."""

from churn.outcomes.expected import Checked
from churn.postgres.database import Connection, compose
from churn.statistics import Estimate


def read_track(connection: Connection) -> list[Checked]:
    """Return the expected and the realized AUC on the customers that decide, by AS_OF."""
    return [
        Checked(as_of, Estimate.of_interval(auc, low, high), Estimate(realized, 0.0))
        for as_of, auc, low, high, realized in connection.execute(compose("outcomes/track"))
    ]
