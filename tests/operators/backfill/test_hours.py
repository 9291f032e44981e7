"""Nights in several zones, over changes of the clock."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.backfill.hours import NightHours, Window, cron, next_window, parse_hours, window_at
from operators.errors import ChoiceInvalid

ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia")
TIMES = st.times().map(lambda at: at.replace(second=0, microsecond=0))
HOURS = st.builds(
    NightHours,
    TIMES,
    TIMES,
    st.frozensets(st.integers(0, 6), min_size=1),
    st.sampled_from(ZONES).map(ZoneInfo),
)
# Apia's calendar went without the 30th of December 2011; the others are changes of the clock in those zones.
CHANGES = [
    datetime(2011, 12, 30, 10, tzinfo=UTC),
    datetime(2026, 3, 29, 1, tzinfo=UTC),
    datetime(2026, 10, 25, 1, tzinfo=UTC),
    datetime(2026, 3, 8, 7, tzinfo=UTC),
    datetime(2026, 11, 1, 6, tzinfo=UTC),
    datetime(2026, 10, 3, 15, 30, tzinfo=UTC),
    datetime(2026, 4, 4, 15, tzinfo=UTC),
]
DAYS_S = 2 * 86_400
INSTANTS = st.one_of(
    st.integers(1_322_697_600, 1_893_456_000).map(lambda second: datetime.fromtimestamp(second, UTC)),
    st.builds(
        lambda change, seconds: change + timedelta(seconds=seconds),
        st.sampled_from(CHANGES),
        st.integers(-DAYS_S, DAYS_S),
    ),
)
BERLIN = "Europe/Berlin"


def hours(window: str, days: str = "mon-sun", zone: str = BERLIN) -> NightHours:
    found = parse_hours(window, days, zone)
    assert found
    return found


def local(year: int, month: int, day: int, hour: int, minute: int = 0, zone: str = BERLIN) -> datetime:
    return datetime(year, month, day, hour, minute, tzinfo=ZoneInfo(zone)).astimezone(UTC)


def length_h(window: Window) -> float:
    return (window.closes_at - window.opens_at) / timedelta(hours=1)


@given(HOURS, INSTANTS)
def test_windows_follow_each_other_and_never_overlap(night: NightHours, now: datetime) -> None:
    before = next_window(night, now)
    for _ in range(5):
        after = next_window(night, before.opens_at)
        assert before.opens_at < before.closes_at <= after.opens_at
        before = after


@given(HOURS, INSTANTS)
def test_the_window_that_is_open_holds_the_moment_and_the_next_one_lies_ahead(night: NightHours, now: datetime) -> None:
    window = window_at(night, now)

    assert window is None or window.opens_at <= now < window.closes_at
    assert now < next_window(night, now).opens_at


@given(HOURS, INSTANTS, st.floats(0, 0.999))
def test_a_window_is_open_from_its_first_moment_to_its_last(night: NightHours, now: datetime, share: float) -> None:
    window = next_window(night, now)

    assert window_at(night, window.opens_at) == window
    assert window_at(night, window.opens_at + (window.closes_at - window.opens_at) * share) == window
    assert window_at(night, window.closes_at) != window


def is_calm(night: NightHours, window: Window) -> bool:
    """Whether the clock changes at no time near the window."""
    around = (
        window.opens_at - timedelta(days=2),
        window.opens_at,
        window.closes_at,
        window.closes_at + timedelta(days=2),
    )
    return len({instant.astimezone(night.zone).utcoffset() for instant in around}) == 1


@given(HOURS, INSTANTS)
def test_a_window_is_on_one_of_its_days_at_its_times_where_the_clock_does_not_change(
    night: NightHours, now: datetime
) -> None:
    window = next_window(night, now)
    opens, closes = (instant.astimezone(night.zone) for instant in (window.opens_at, window.closes_at))

    if is_calm(night, window):
        assert opens.weekday() in night.days
        assert (opens.time(), closes.time()) == (night.opens, night.closes)


@given(HOURS, INSTANTS)
def test_a_window_is_a_day_at_most_give_or_take_an_hour(night: NightHours, now: datetime) -> None:
    window = next_window(night, now)
    most_h = 24 if is_calm(night, window) else 25

    assert 0 < length_h(window) <= most_h


@pytest.mark.parametrize(
    ("day", "zone", "length"),
    [
        ((2026, 6, 1), "Europe/Berlin", 8),
        ((2026, 3, 28), "Europe/Berlin", 7),
        ((2026, 10, 24), "Europe/Berlin", 9),
        ((2026, 3, 7), "America/New_York", 7),
        ((2026, 10, 31), "America/New_York", 9),
        ((2026, 10, 3), "Australia/Lord_Howe", 7.5),
        ((2026, 4, 4), "Australia/Lord_Howe", 8.5),
    ],
)
def test_a_night_over_a_change_of_the_clock_is_longer_or_shorter(
    day: tuple[int, int, int], zone: str, length: float
) -> None:
    night = hours("22:00-06:00", zone=zone)
    window = next_window(night, local(*day, 12, zone=zone))

    assert window.opens_at == local(*day, 22, zone=zone)
    assert length_h(window) == length


def test_a_time_that_the_clock_jumps_over_is_the_first_after_the_jump() -> None:
    noon_before = local(2026, 3, 28, 12)

    assert next_window(hours("02:30-06:00"), noon_before).opens_at == local(2026, 3, 29, 3)
    assert next_window(hours("22:00-02:30"), noon_before).closes_at == local(2026, 3, 29, 3)
    assert next_window(hours("02:10-02:50"), noon_before).opens_at == local(2026, 3, 30, 2, 10)


def test_of_a_time_that_is_there_twice_the_first_counts() -> None:
    window = next_window(hours("02:30-06:00"), local(2026, 10, 24, 12))

    assert window.opens_at == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert length_h(window) == 4.5


def test_equal_times_make_a_whole_day_and_days_without_a_gap() -> None:
    night = hours("06:00-06:00", "mon-tue")
    monday = next_window(night, local(2026, 11, 21, 12))
    tuesday = next_window(night, monday.opens_at)

    assert (length_h(monday), monday.closes_at) == (24, tuesday.opens_at)
    assert window_at(night, tuesday.closes_at) is None


def test_a_night_belongs_to_the_day_on_which_it_opens() -> None:
    night = hours("22:00-06:00", "fri")

    assert window_at(night, local(2026, 11, 21, 3)) is not None
    assert window_at(night, local(2026, 11, 20, 3)) is None
    assert window_at(night, local(2026, 11, 21, 23)) is None


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        ("mon-fri,sun", {0, 1, 2, 3, 4, 6}),
        ("fri-mon", {4, 5, 6, 0}),
        (" SAT , sun ", {5, 6}),
        ("wed-wed", {2}),
        ("mon-sun", set(range(7))),
    ],
)
def test_days_are_names_and_ranges_that_may_go_over_the_weekend(days: str, expected: set[int]) -> None:
    assert hours("22:00-06:00", days).days == expected


@pytest.mark.parametrize("days", ["", "  ", ","])
def test_no_days_are_no_nights(days: str) -> None:
    assert parse_hours("22:00-06:00", days, "UTC") is None


@pytest.mark.parametrize(
    ("window", "days", "zone", "told"),
    [
        ("22:00", "", "UTC", "NIGHTREEL_NIGHT_HOURS .* found '22:00'; correct"),
        ("24:00-06:00", "", "UTC", "NIGHTREEL_NIGHT_HOURS"),
        ("22:00-6:60", "", "UTC", "NIGHTREEL_NIGHT_HOURS"),
        ("22:00-06:00", "mon-", "UTC", "NIGHTREEL_NIGHT_DAYS .* found 'mon-'; use mon, tue"),
        ("22:00-06:00", "montag", "UTC", "NIGHTREEL_NIGHT_DAYS"),
        ("22:00-06:00", "", "Europe/Bonn", "NIGHTREEL_TIME_ZONE .* found 'Europe/Bonn'"),
        ("22:00-06:00", "", "", "NIGHTREEL_TIME_ZONE"),
        ("22:00-06:00", "", "../etc/passwd", "NIGHTREEL_TIME_ZONE"),
        ("22:00-06:00", "", "Europe", "NIGHTREEL_TIME_ZONE"),
    ],
)
def test_a_malformed_setting_is_refused_by_name(window: str, days: str, zone: str, told: str) -> None:
    with pytest.raises(ChoiceInvalid, match=told):
        parse_hours(window, days, zone)


def test_hours_without_days_are_refused() -> None:
    with pytest.raises(ChoiceInvalid, match="name at least one"):
        NightHours(time(22), time(6), frozenset(), ZoneInfo("UTC"))


@pytest.mark.parametrize(
    ("window", "days", "expected"),
    [
        ("22:05-06:00", "mon-sun", "5 22 * * *"),
        ("00:00-06:00", "mon-fri,sun", "0 0 * * 0,1,2,3,4,5"),
        ("9:30-10:00", "sat", "30 9 * * 6"),
    ],
)
def test_the_timetable_fires_when_windows_open(window: str, days: str, expected: str) -> None:
    assert cron(hours(window, days)) == expected
