"""AS_OF: the one date that a run works on, and the instant at which its snapshot becomes known.

AS_OF is a calendar date in UTC. The snapshot of AS_OF D is the state of the business at the end of day D; it is
known from D+1 00:00 UTC on, and that instant is its event_timestamp: an event during D must not see it.
"""

from datetime import UTC, date, datetime, time, timedelta


class AsOfError(ValueError):
    """AS_OF is missing, malformed, contradictory or after today."""


def today() -> date:
    """Return the present date in UTC."""
    return datetime.now(UTC).date()


def why_future(as_of: date, today: date) -> str | None:
    """Return why there can be no drop of `as_of` yet, None when `as_of` is not after `today`."""
    if as_of <= today:
        return None
    return (
        f"AS_OF {as_of} is after today, {today} (UTC), and would be served in place of every true date before it: "
        "correct the date; if a drop of it is loaded, take it back with make withdraw"
    )


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


def resolve_as_of(
    parameter: str | None, partition_key: str | None, logical_date: datetime | None, *, today: date
) -> date:
    """Return the AS_OF of a run: the parameter, else the partition key, else the logical date.

    Args:
        parameter: the run's `as_of` parameter, YYYY-MM-DD, None or empty when not given.
        partition_key: the run's partition key, YYYY-MM-DD, None for a run without one.
        logical_date: the run's logical date, aware, None for a run without one. It must be midnight in UTC.
        today: the last accepted date.

    Raises:
        AsOfError: all three are missing, one is not a date, the parameter disagrees with the partition key, the
            logical date is not midnight UTC, or the date is after `today`.
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
    # Midnight in another zone is ambiguous: in UTC it lies on the day before or after.
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
