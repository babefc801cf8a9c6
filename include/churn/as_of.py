"""AS_OF: the date that a run works on, and the event_timestamp of its snapshot.

AS_OF is a calendar date in UTC. The snapshot of AS_OF D is the state of the business at the end of day D. Its
event_timestamp is D+1 00:00 UTC, so that an event during D does not see it.
"""

from datetime import UTC, date, datetime, time, timedelta


class AsOfError(ValueError):
    """A run has no AS_OF, contradictory ones, or one after today."""


def today() -> date:
    """Return today's date in UTC."""
    return datetime.now(UTC).date()


def why_future(as_of: date, today: date) -> str | None:
    """Return an error text if `as_of` is after `today`, else None."""
    if as_of <= today:
        return None
    return (
        f"AS_OF {as_of} is after today, {today} (UTC), and would be served in place of every true date before it: "
        "correct the date; if a drop of it is loaded already, take it back with make withdraw"
    )


def parse_as_of(text: str) -> date:
    """Parse an AS_OF (YYYY-MM-DD).

    Raises:
        AsOfError: `text` is not a calendar date in that form.
    """
    try:
        as_of = date.fromisoformat(text)
    except ValueError:
        as_of = None
    # fromisoformat() also accepts 20240131 and 2024-W05-3.
    if as_of is None or as_of.isoformat() != text:
        raise AsOfError(f"AS_OF must be a calendar date like 2024-01-31, got {text!r}")
    return as_of


def resolve_as_of(
    parameter: str | None, partition_key: str | None, logical_date: datetime | None, *, today: date
) -> date:
    """Return the AS_OF of a run: the parameter, else the partition key, else the logical date.

    Args:
        parameter: the run's `as_of` parameter, YYYY-MM-DD, None or empty if not given.
        partition_key: the run's partition key, YYYY-MM-DD, None for a run without one.
        logical_date: the run's logical date, aware, None for a run without one. It must be midnight in UTC.
        today: the last valid date.

    Raises:
        AsOfError: all three are missing, one is not a date, the parameter contradicts the partition key, the logical
            date is not midnight, or the date is after `today`.
    """
    asked = parse_as_of(parameter) if parameter else None
    keyed = parse_as_of(partition_key) if partition_key else None
    if asked and keyed and asked != keyed:
        raise AsOfError(
            f"the parameter as_of={asked} disagrees with the run's partition key {keyed}: "
            "trigger again with one of them, or with both the same"
        )
    as_of = asked or keyed or (_day_of(logical_date) if logical_date is not None else None)
    if as_of is None:
        raise AsOfError("this run has no AS_OF: trigger it with the parameter as_of (a date like 2024-01-31)")
    if reason := why_future(as_of, today):
        raise AsOfError(reason)
    return as_of


def _day_of(logical_date: datetime) -> date:
    # Midnight in another time zone is ambiguous: it lies on the previous or the next day in UTC.
    instant = logical_date.astimezone(UTC)
    if instant.time() != time.min:
        raise AsOfError(
            f"the logical date is {instant:%Y-%m-%d %H:%M:%S} UTC, not midnight, so it names no AS_OF: "
            "trigger again with the parameter as_of (a date like 2024-01-31)"
        )
    return instant.date()


def event_timestamp(as_of: date) -> datetime:
    """Return the instant from which the snapshot of `as_of` is known: the next day, 00:00 UTC."""
    return datetime.combine(as_of + timedelta(days=1), time.min, tzinfo=UTC)


def as_of_of(event_timestamp: datetime) -> date:
    """Return the AS_OF whose snapshot carries `event_timestamp` (aware); the inverse of event_timestamp()."""
    return event_timestamp.astimezone(UTC).date() - timedelta(days=1)
