"""What `.env` says of the nights."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.backfill.hours import next_window
from operators.backfill.night_settings import NightSettings

MINUTES = st.integers(0, 24 * 60 - 1).map(lambda minutes: f"{minutes // 60:02}:{minutes % 60:02}")


@given(opens=MINUTES, closes=MINUTES)
def test_a_night_is_as_long_as_its_window(opens, closes):
    hours = {"NIGHTREEL_NIGHT_HOURS": f"{opens}-{closes}"}
    settings = NightSettings.from_environment({**hours, "NIGHTREEL_NIGHT_DAYS": "mon-sun"})
    assert settings.hours
    window = next_window(settings.hours, datetime(2026, 11, 20, tzinfo=UTC))
    assert settings.night == window.closes_at - window.opens_at


@pytest.mark.parametrize(("window", "hours"), [(" 9:30-13:00 ", 3.5), ("22:00-06:00", 8), ("00:00-00:00", 24)])
def test_the_length_of_a_night_is_known_though_none_are_set(window, hours):
    settings = NightSettings.from_environment({"NIGHTREEL_NIGHT_HOURS": window})
    assert settings.hours is None
    assert settings.night == timedelta(hours=hours)
