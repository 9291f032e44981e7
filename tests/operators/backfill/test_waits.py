from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.backfill.hours import NightHours, next_window, parse_hours
from operators.backfill.waits import after_failure
from tests.operators.backfill.test_hours import HOURS, INSTANTS


@given(HOURS | st.none(), INSTANTS)
def test_each_failure_waits_longer_and_the_fourth_parks(hours: NightHours | None, failed_at: datetime) -> None:
    waits = [wait for failures in (1, 2, 3) if (wait := after_failure(failures, failed_at, hours))]

    assert failed_at < waits[0] < waits[1] < waits[2]
    assert after_failure(4, failed_at, hours) is None
    assert after_failure(9, failed_at, hours) is None


@given(HOURS, INSTANTS)
def test_after_the_first_failure_it_is_ready_when_the_next_night_opens(hours: NightHours, failed_at: datetime) -> None:
    assert after_failure(1, failed_at, hours) == next_window(hours, failed_at).opens_at


@pytest.mark.parametrize(("failures", "day"), [(1, 23), (2, 24), (3, 26)])
def test_nights_are_counted_and_not_days(failures: int, day: int) -> None:
    weekdays = parse_hours("22:00-06:00", "mon-fri", "Europe/Berlin")
    on_friday_night = datetime(2026, 11, 21, 3, 30, tzinfo=ZoneInfo("Europe/Berlin"))

    expected = datetime(2026, 11, day, 22, tzinfo=ZoneInfo("Europe/Berlin"))
    assert after_failure(failures, on_friday_night.astimezone(UTC), weekdays) == expected


def test_without_nights_it_is_ready_at_the_same_time_another_day() -> None:
    failed_at = datetime(2026, 11, 21, 14, tzinfo=UTC)

    waits = [after_failure(failures, failed_at, None) for failures in (1, 2, 3)]
    assert waits == [failed_at + timedelta(hours=hours) for hours in (23, 47, 95)]
