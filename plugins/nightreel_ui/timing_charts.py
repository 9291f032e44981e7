"""Small charts of nights: where their bars and lines are. Decides; does no I/O."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from operators.views.timings import StageNight

KINDS = ("work", "overhead", "wait")
NIGHT_UNITS = 10.0
GAP_UNITS = 2.0
HEIGHT = 100.0
LINE_WIDTH, LINE_HEIGHT = 120.0, 26.0


@dataclass(frozen=True)
class Part:
    """Of a column: its kind, and where it is, from the top."""

    kind: str
    y: float
    height: float


@dataclass(frozen=True)
class Column:
    """One night. `seconds` are by kind."""

    night: date
    x: float
    width: float
    seconds: dict[str, float]
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class NightChart:
    """A column for each night that has runs. `top_s` is what the whole height stands for."""

    width: float
    top_s: float
    columns: tuple[Column, ...]


@dataclass(frozen=True)
class StageLine:
    """A stage on one variant over the nights.

    `rate` is seconds of media per second that its tasks were busy, `waited` the share of its time that was waiting;
    none where nothing was done. `points` draws the rate by night.
    """

    stage: str
    variant: str | None
    media_s: float
    busy_s: float
    rate: float | None
    waited: float | None
    best_rate: float
    points: tuple[tuple[float, float], ...]


def chart_nights(nights: Sequence[StageNight], first: date, last: date) -> NightChart:
    """All stages and tasks stacked by kind, from the `first` night to the `last`."""
    seconds: dict[date, dict[str, float]] = defaultdict(lambda: dict.fromkeys(KINDS, 0.0))
    for night in nights:
        seconds[night.night]["wait"] += night.wait_s
        seconds[night.night]["overhead"] += night.overhead_s
        seconds[night.night]["work"] += night.work_s
    top_s = max((sum(of_night.values()) for of_night in seconds.values()), default=0.0) or 1.0
    columns = tuple(_column(night, seconds[night], first, top_s) for night in sorted(seconds))
    return NightChart(NIGHT_UNITS * ((last - first).days + 1), top_s, columns)


def draw_stages(nights: Sequence[StageNight], first: date, last: date) -> list[StageLine]:
    """A line for each stage and variant, by name."""
    found: dict[tuple[str, str | None], list[StageNight]] = defaultdict(list)
    for night in nights:
        if night.stage:
            found[night.stage, night.variant].append(night)
    return [_line(key, found[key], first, last) for key in sorted(found, key=lambda key: (key[0], key[1] or ""))]


def _column(night: date, seconds: dict[str, float], first: date, top_s: float) -> Column:
    parts, y = [], HEIGHT
    for kind in KINDS:
        height = HEIGHT * seconds[kind] / top_s
        y -= height
        parts.append(Part(kind, y, height))
    return Column(
        night, NIGHT_UNITS * (night - first).days + GAP_UNITS / 2, NIGHT_UNITS - GAP_UNITS, seconds, tuple(parts)
    )


def _line(key: tuple[str, str | None], nights: Sequence[StageNight], first: date, last: date) -> StageLine:
    rates = {night.night: _rate(night.media_s, night.overhead_s + night.work_s) for night in nights}
    known = {night: rate for night, rate in sorted(rates.items()) if rate is not None}
    best, days = max(known.values(), default=0.0), max(1, (last - first).days)
    points = tuple(
        (
            2 + (LINE_WIDTH - 4) * (night - first).days / days,
            LINE_HEIGHT - 2 - (LINE_HEIGHT - 4) * (rate / best if best else 0),
        )
        for night, rate in known.items()
    )
    media_s = sum(night.media_s for night in nights)
    busy_s = sum(night.overhead_s + night.work_s for night in nights)
    wait_s = sum(night.wait_s for night in nights)
    waited = wait_s / (wait_s + busy_s) if wait_s + busy_s else None
    return StageLine(*key, media_s, busy_s, _rate(media_s, busy_s), waited, best, points)


def _rate(media_s: float, busy_s: float) -> float | None:
    return media_s / busy_s if busy_s and media_s else None
