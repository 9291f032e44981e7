"""How pages write figures: seconds, instants, sizes, shares. Without a value there is a dash."""

from collections.abc import Callable
from datetime import datetime, tzinfo
from typing import Any

from operators.report import clock, size

NOTHING = "\N{EN DASH}"


def seconds(value: float | None) -> str:
    """Short times to a figure that tells them apart: `0.03 s`, `4.2 s`, `123 s`."""
    if value is None:
        return NOTHING
    digits = 2 if abs(value) < 1 else 1 if abs(value) < 100 else 0
    return f"{value:.{digits}f} s"


def span(value: float | None) -> str:
    """Long times as a clock has them: `1:02:03`."""
    return NOTHING if value is None else clock(value)


def timecode(value: float | None) -> str:
    """A moment of the media as players show it, cut to the second: `0:04`, `1:02:03`."""
    if value is None:
        return NOTHING
    minutes, rest = divmod(int(value), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes}:{rest:02}"


def hours(value: float | None) -> str:
    """Seconds as hours of media: `12.3 h`."""
    return NOTHING if value is None else f"{value / 3600:.1f} h"


def number(value: float | None, digits: int = 0) -> str:
    """With a thin space between thousands."""
    return NOTHING if value is None else f"{value:,.{digits}f}".replace(",", "\u202f")


def share(value: float | None) -> str:
    """0 to 1 as percent."""
    return NOTHING if value is None else f"{value:.1%}"


def ratio(value: float | None) -> str:
    """How many times: `3.6` and the sign for it."""
    return NOTHING if value is None else f"{value:.{2 if value < 2 else 1}f}\N{MULTIPLICATION SIGN}"


def instant(value: datetime | None, zone: tzinfo) -> str:
    """A moment by the deployment's clocks."""
    return NOTHING if value is None else f"{value.astimezone(zone):%Y-%m-%d %H:%M:%S}"


def mib(value: float | None) -> str:
    """Memory, of which the unit is MiB."""
    return NOTHING if value is None else f"{number(value)} MiB"


def file_size(value: int | None) -> str:
    """Bytes, for people."""
    return NOTHING if value is None else size(value)


FILTERS: dict[str, Callable[..., Any]] = {
    "seconds": seconds,
    "span": span,
    "timecode": timecode,
    "hours": hours,
    "number": number,
    "share": share,
    "ratio": ratio,
    "instant": instant,
    "mib": mib,
    "file_size": file_size,
}
"""By their names in templates."""
