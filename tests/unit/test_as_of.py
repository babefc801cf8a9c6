from datetime import UTC, date, datetime, time, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from churn import as_of as module
from churn.as_of import AsOfError, as_of_of, event_timestamp, parse_as_of, why_future

# The day after must exist too: the last instant of the calendar is the event_timestamp of no AS_OF.
DATES = st.dates(max_value=date(9999, 12, 30))
ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
INSTANTS = st.datetimes(min_value=datetime(2, 1, 1), max_value=datetime(9998, 12, 31), timezones=ZONES)  # noqa: DTZ001


def resolve_as_of(parameter, partition_key, logical_date, today=date.max):
    return module.resolve_as_of(parameter, partition_key, logical_date, today=today)


@given(DATES)
def test_a_date_is_parsed_from_its_name(as_of):
    assert parse_as_of(as_of.isoformat()) == as_of


@pytest.mark.parametrize(
    "text",
    [
        "",
        "today",
        "2024-1-5",
        "20240131",
        "2024-W05-3",
        "2024-02-30",
        "2024-01-31T00:00",
        " 2024-01-31",
        "٢024-01-31",
    ],
)
def test_a_text_that_is_not_the_name_of_a_date_is_refused_with_its_value(text):
    with pytest.raises(AsOfError) as error:
        parse_as_of(text)
    assert str(error.value) == f"AS_OF must be a calendar date like 2024-01-31, got {text!r}"


@given(DATES, st.none() | DATES, st.none() | INSTANTS)
def test_the_parameter_comes_first(parameter, key, logical_date):
    partition_key = key and parameter.isoformat()
    assert resolve_as_of(parameter.isoformat(), partition_key, logical_date) == parameter


@given(st.sampled_from([None, ""]), DATES, st.none() | INSTANTS)
def test_the_partition_key_comes_second(parameter, key, logical_date):
    assert resolve_as_of(parameter, key.isoformat(), logical_date) == key


@given(st.sampled_from([None, ""]), st.sampled_from([None, ""]), st.dates(date(1, 1, 3), date(9999, 12, 29)), ZONES)
def test_the_logical_date_at_midnight_utc_comes_third(parameter, key, day, zone):
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
    assert resolve_as_of(parameter, key, midnight.astimezone(zone)) == day


@given(INSTANTS)
def test_a_logical_date_that_is_not_midnight_in_utc_is_refused(logical_date):
    if logical_date.astimezone(UTC).time() == time.min:
        return
    with pytest.raises(AsOfError, match=r"not midnight, .* trigger again with the parameter as_of"):
        resolve_as_of(None, None, logical_date)


def test_a_logical_date_with_an_offset_is_refused_with_the_instant_that_it_is():
    tokyo = timezone(timedelta(hours=9))
    with pytest.raises(AsOfError) as error:
        resolve_as_of(None, None, datetime(2024, 2, 29, tzinfo=tokyo))
    assert str(error.value) == (
        "the logical date is 2024-02-28 15:00:00 UTC, not midnight, so it names no AS_OF: "
        "trigger again with the parameter as_of (a date like 2024-01-31)"
    )


@given(DATES, DATES)
def test_a_date_is_refused_when_it_is_after_today_and_not_before(as_of, today):
    assert (why_future(as_of, today) is not None) == (as_of > today)


@pytest.mark.parametrize(
    ("parameter", "key", "logical_date"),
    [
        ("2124-02-29", None, None),
        (None, "2124-02-29", None),
        (None, None, datetime(2124, 2, 29, tzinfo=UTC)),
    ],
    ids=["parameter", "partition key", "logical date"],
)
def test_a_run_of_a_date_after_today_is_refused_with_both_dates_and_what_to_do(parameter, key, logical_date):
    with pytest.raises(AsOfError) as error:
        resolve_as_of(parameter, key, logical_date, today=date(2026, 11, 28))
    assert str(error.value).startswith("AS_OF 2124-02-29 is after today, 2026-11-28 (UTC)")
    assert str(error.value).endswith("take it back with make withdraw")


@given(DATES, DATES, st.none() | INSTANTS)
def test_a_parameter_that_disagrees_with_the_partition_key_is_refused_with_both(parameter, key, logical_date):
    if parameter == key:
        return
    with pytest.raises(AsOfError, match=f"as_of={parameter} disagrees with the run's partition key {key}: trigger"):
        resolve_as_of(parameter.isoformat(), key.isoformat(), logical_date)


@pytest.mark.parametrize(("parameter", "key"), [("31.01.2024", None), (None, "2024-01-31|eu"), ("2024-01-31", "x")])
def test_a_parameter_or_partition_key_that_is_no_date_is_refused_even_where_the_other_is_one(parameter, key):
    with pytest.raises(AsOfError, match="must be a calendar date"):
        resolve_as_of(parameter, key, datetime(2024, 1, 31, tzinfo=UTC))


def test_a_run_without_any_of_the_three_is_refused_with_advice():
    with pytest.raises(AsOfError, match="has no AS_OF: trigger it with the parameter as_of"):
        resolve_as_of(None, None, None)


def test_a_snapshot_is_known_from_the_next_midnight_in_utc_on():
    assert event_timestamp(date(2024, 2, 29)) == datetime(2024, 3, 1, tzinfo=UTC)


@given(DATES, ZONES)
def test_the_as_of_of_an_event_timestamp_is_found_again_in_any_zone(as_of, zone):
    if date(1, 1, 2) < as_of < date(9999, 12, 29):
        assert as_of_of(event_timestamp(as_of).astimezone(zone)) == as_of
