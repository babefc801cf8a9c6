"""Applies the rule of version_rule.py to the registered versions and the history of Production."""

from collections.abc import Iterable
from datetime import date

from churn.gate import moves
from churn.postgres.database import Connection, execute
from churn.registry.model_version import ModelVersion
from churn.registry.state import in_production
from churn.scores.version_rule import Choice, choose_version


def choose_registered(connection: Connection, versions: Iterable[ModelVersion], as_of: date) -> Choice:
    """Return the version that scores `as_of`, of all registered `versions`."""
    there = {(each.version, each.run_id): each for each in versions}
    # History from before runs were recorded has the number alone.
    numbers = {version: each for (version, _), each in there.items()}
    promoted = [
        found
        for held in moves.promoted(connection)
        if (found := there.get((held.version, held.run_id)) if held.run_id else numbers.get(held.version))
    ]
    withdrawn = frozenset(day for day, *_ in execute(connection, "withdrawal/withdrawn"))
    production = in_production(there.values())
    return choose_version(as_of, production[-1] if production else None, promoted, withdrawn)
