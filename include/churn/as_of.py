"""AS_OF: the one date that a run works on, and the instant at which its snapshot becomes known.

AS_OF is a calendar date in UTC. The snapshot of AS_OF D is the state of the business at the end of day D; it is
known from D+1 00:00 UTC on, and that instant is its event_timestamp: an event during D must not see it.
"""

from datetime import UTC, date, datetime, time, timedelta


class AsOfError(ValueError):
    """A run that does not say which AS_OF it works on, or says two different ones."""


def parse_as_of(text: str) -> date:
    """Return the AS_OF that `text` (YYYY-MM-DD) names.

    Raises:
        AsOfError: `text` is not a calendar date in that form.
    """
    try:
        as_of = date.fromisoformat(text)
    except ValueError:
        as_of = None
    # Python reads 20240131 and 2024-W05-3 too; one AS_OF has one name.
    if as_of is None or as_of.isoformat() != text:
        raise AsOfError(f"AS_OF must be a calendar date like 2024-01-31, got {text!r}")
    return as_of


def resolve_as_of(parameter: str | None, partition_key: str | None, logical_date: datetime | None) -> date:
    """Return the AS_OF of a run: the parameter, else the partition key, else the logical date.

    Args:
        parameter: the run's `as_of` parameter, YYYY-MM-DD, None or empty when not given.
        partition_key: the run's partition key, YYYY-MM-DD, None for a run without one.
        logical_date: the run's logical date, aware, None for a run without one. Its day in UTC counts.

    Raises:
        AsOfError: none of the three is there, one is not a date, or the parameter disagrees with the partition key.
    """
    asked = parse_as_of(parameter) if parameter else None
    keyed = parse_as_of(partition_key) if partition_key else None
    if asked and keyed and asked != keyed:
        raise AsOfError(
            f"the parameter as_of={asked} disagrees with the run's partition key {keyed}: "
            "trigger again with one of them, or with both the same"
        )
    if as_of := asked or keyed:
        return as_of
    if logical_date is not None:
        return logical_date.astimezone(UTC).date()
    raise AsOfError("this run has no AS_OF: trigger it with the parameter as_of (a date like 2024-01-31)")


def event_timestamp(as_of: date) -> datetime:
    """Return the instant from which the snapshot of `as_of` is known: the next day, 00:00 UTC."""
    return datetime.combine(as_of + timedelta(days=1), time.min, tzinfo=UTC)


def as_of_of(event_timestamp: datetime) -> date:
    """Return the AS_OF whose snapshot carries `event_timestamp` (aware); the inverse of event_timestamp()."""
    return event_timestamp.astimezone(UTC).date() - timedelta(days=1)
