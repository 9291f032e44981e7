"""When the night is: the hours, days and time zone in which backfills launch runs. Decides; does no I/O."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from operators.errors import ChoiceInvalid

HOURS_SETTING = "NIGHTREEL_NIGHT_HOURS"
DAYS_SETTING = "NIGHTREEL_NIGHT_DAYS"
ZONE_SETTING = "NIGHTREEL_TIME_ZONE"
DAY_NAMES = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
HOURS_FORM = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)-([01]?\d|2[0-3]):([0-5]\d)")
MINUTE = timedelta(minutes=1)
# A weekly night is lost when the clock jumps over the whole of it; the next but one never is.
DAYS_AHEAD = 22


@dataclass(frozen=True)
class Window:
    """Half-open, `[opens_at, closes_at)`, in UTC."""

    opens_at: datetime
    closes_at: datetime

    def __contains__(self, instant: datetime) -> bool:
        return self.opens_at <= instant < self.closes_at


@dataclass(frozen=True)
class NightHours:
    """A window that opens on each of `days` (Monday is 0) at `opens` and closes at the next `closes`, local time.

    Equal times make a window of a whole day. Where the clock changes, a night is as much longer or shorter: a time
    that the clock jumps over is the first one after the jump, and of a time that is there twice the first counts.
    A window that lies wholly in the jump does not take place.
    """

    opens: time
    closes: time
    days: frozenset[int]
    zone: ZoneInfo

    def __post_init__(self) -> None:
        if not self.days or not self.days <= set(range(7)):
            raise ChoiceInvalid(f"nights must have days, 0 (Monday) to 6: found {sorted(self.days)}; name at least one")


def parse_hours(window: str, days: str, zone: str) -> NightHours | None:
    """The hours that the settings name, such as `22:00-06:00`, `mon-fri,sun`, `Europe/Berlin`; none without days.

    A day is the one on which the window opens.

    Raises:
        ChoiceInvalid: one of them is malformed.
    """
    found = HOURS_FORM.fullmatch(window.strip())
    if not found:
        raise ChoiceInvalid(
            f"{HOURS_SETTING} must be two times of day, such as 22:00-06:00: found {window!r}; correct it in .env"
        )
    opens_hour, opens_minute, closes_hour, closes_minute = map(int, found.groups())
    named_days, named_zone = _parse_days(days), _parse_zone(zone)
    if not named_days:
        return None
    return NightHours(time(opens_hour, opens_minute), time(closes_hour, closes_minute), named_days, named_zone)


def window_at(hours: NightHours, now: datetime) -> Window | None:
    """The window that is open at `now`; none when all are closed."""
    today = now.astimezone(hours.zone).date()
    return next((window for window in _windows(hours, today, range(-2, 2)) if now in window), None)


def next_window(hours: NightHours, now: datetime) -> Window:
    """The first window that opens after `now`."""
    today = now.astimezone(hours.zone).date()
    windows = _windows(hours, today, range(-2, DAYS_AHEAD))
    return next(window for window in windows if window.opens_at > now)


def cron(hours: NightHours) -> str:
    """When windows open, as `minute hour * * days` in the hours' zone, for a cron timetable. Sunday is 0 there."""
    days = "*" if len(hours.days) == 7 else ",".join(str(day) for day in sorted((day + 1) % 7 for day in hours.days))
    return f"{hours.opens.minute} {hours.opens.hour} * * {days}"


def _windows(hours: NightHours, today: date, offsets: Iterable[int]) -> Iterable[Window]:
    for offset in offsets:
        day = today + timedelta(days=offset)
        if day.weekday() not in hours.days:
            continue
        closing_day = day if hours.opens < hours.closes else day + timedelta(days=1)
        window = Window(_instant(day, hours.opens, hours.zone), _instant(closing_day, hours.closes, hours.zone))
        if window.opens_at < window.closes_at:
            yield window


def _instant(day: date, at: time, zone: ZoneInfo) -> datetime:
    # Later local times must never become earlier instants, or windows would overlap: `fold` alone does not see to
    # that for times that the clock jumps over.
    local = datetime.combine(day, at)
    while local.replace(tzinfo=zone).astimezone(UTC).astimezone(zone).replace(tzinfo=None) != local:
        local += MINUTE
    return local.replace(tzinfo=zone).astimezone(UTC)


def _parse_days(given: str) -> frozenset[int]:
    days: set[int] = set()
    for entry in filter(None, (part.strip().lower() for part in given.split(","))):
        first, is_range, last = (part.strip() for part in entry.partition("-"))
        last = last if is_range else first
        if first not in DAY_NAMES or last not in DAY_NAMES:
            raise ChoiceInvalid(
                f"{DAYS_SETTING} must be days, such as mon-fri,sun, or empty for no nights: found {entry!r}; "
                f"use {', '.join(DAY_NAMES)} in .env"
            )
        start = DAY_NAMES.index(first)
        length = (DAY_NAMES.index(last) - start) % 7 + 1
        days |= {(start + step) % 7 for step in range(length)}
    return frozenset(days)


def _parse_zone(given: str) -> ZoneInfo:
    try:
        return ZoneInfo(given.strip())
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ChoiceInvalid(
            f"{ZONE_SETTING} must be a time zone of the IANA database, such as Europe/Berlin or UTC: found {given!r}; "
            "correct it in .env"
        ) from error
