"""The timeline of a run: a lane for each attempt, its phases as bars on an axis of time. Decides; does no I/O."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby

WIDTH = 1000.0
"""Of the axis, in units of the drawing."""

# A bar is at least four units wide, so that it can be seen and pointed at. What is shorter is drawn together.
FEWEST_UNITS = 4.0
SMALLEST_UNITS = 2.0

# Idle time, such as the hours until somebody clears a task, is cut where it would push the rest together.
LONG_GAP = 0.2
SHORTEST_CUT_S = 60.0
CUT_UNITS = 28.0

MOST_TICKS = 8
STEPS_S = (0.1, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)

LABEL_UNITS, ROW_UNITS, LANE_GAP_UNITS = 17.0, 13.0, 9.0


@dataclass(frozen=True)
class Lane:
    """An attempt. It lasts from the beginning of its first phase, which may be a wait, in `[begins_at, ends_at)`."""

    task_id: str
    map_index: int
    try_number: int
    stage: str | None
    variant: str | None
    device: str | None
    outcome: str
    message: str
    joined_try_number: int | None
    begins_at: datetime
    ends_at: datetime
    is_running: bool

    @property
    def key(self) -> tuple[str, int, int]:
        """Tells the attempts of a run apart."""
        return self.task_id, self.map_index, self.try_number


@dataclass(frozen=True)
class Bar:
    """A phase of an attempt, or several short ones; seconds are by kind.

    `number` is the place of the first among all phases of the run, from 1; `failed` and `interrupted` count phases.
    """

    task_id: str
    map_index: int
    try_number: int
    number: int
    phases: int
    phase: str
    begins_at: datetime
    ends_at: datetime
    duration_s: float
    wait_s: float
    overhead_s: float
    work_s: float
    failed: int
    interrupted: int

    @property
    def key(self) -> tuple[str, int, int]:
        """Of its attempt."""
        return self.task_id, self.map_index, self.try_number


@dataclass(frozen=True)
class Stretch:
    """Time that the axis shows, in `[begins_at, ends_at)`, from `x` on."""

    begins_at: datetime
    ends_at: datetime
    x: float


@dataclass(frozen=True)
class Cut:
    """Idle time that the axis leaves out, from `x` on."""

    x: float
    length_s: float


@dataclass(frozen=True)
class Axis:
    """Where instants are. `least_s` is what the narrowest bar stands for."""

    stretches: tuple[Stretch, ...]
    cuts: tuple[Cut, ...]
    units_per_s: float

    @property
    def begins_at(self) -> datetime:
        """The first instant."""
        return self.stretches[0].begins_at

    @property
    def least_s(self) -> float:
        """Phases that are shorter are drawn together."""
        return FEWEST_UNITS / self.units_per_s

    def x(self, instant: datetime) -> float:
        """From 0 to `WIDTH`; what lies in a cut is at its beginning."""
        shown = self.stretches[0]
        for stretch in self.stretches:
            if stretch.begins_at <= instant:
                shown = stretch
        inside = min(max(instant, shown.begins_at), shown.ends_at) - shown.begins_at
        return shown.x + inside.total_seconds() * self.units_per_s


@dataclass(frozen=True)
class Tick:
    """A mark of the axis."""

    x: float
    at: datetime


@dataclass(frozen=True)
class DrawnBar:
    """Where a bar is, and its look: `wait`, `overhead`, `work`, `cuda` or `failed`."""

    bar: Bar
    look: str
    x: float
    y: float
    width: float


@dataclass(frozen=True)
class DrawnLane:
    """Where a lane is. The attempt itself lasts from `x` on, over `width`."""

    lane: Lane
    y: float
    height: float
    x: float
    width: float
    bars: tuple[DrawnBar, ...]


@dataclass(frozen=True)
class Timeline:
    """All of it. `height` is that of the lanes."""

    axis: Axis
    ticks: tuple[Tick, ...]
    lanes: tuple[DrawnLane, ...]
    height: float


def lay_axis(lanes: Sequence[Lane]) -> Axis:
    """An axis over all lanes, of which there is at least one. Long idle times are cut out."""
    spans = _joined((lane.begins_at, lane.ends_at) for lane in lanes)
    busy_s = sum(_length_s(*span) for span in spans)
    shown: list[tuple[datetime, datetime]] = []
    for begins_at, ends_at in spans:
        if shown and _length_s(shown[-1][1], begins_at) <= max(SHORTEST_CUT_S, LONG_GAP * busy_s):
            shown[-1] = (shown[-1][0], ends_at)
        else:
            shown.append((begins_at, ends_at))
    shown_s = max(0.001, sum(_length_s(*span) for span in shown))
    units_per_s = (WIDTH - CUT_UNITS * (len(shown) - 1)) / shown_s
    stretches, cuts, x = [], [], 0.0
    for number, (begins_at, ends_at) in enumerate(shown):
        if number:
            cuts.append(Cut(x, _length_s(shown[number - 1][1], begins_at)))
            x += CUT_UNITS
        stretches.append(Stretch(begins_at, ends_at, x))
        x += _length_s(begins_at, ends_at) * units_per_s
    return Axis(tuple(stretches), tuple(cuts), units_per_s)


def draw(axis: Axis, lanes: Sequence[Lane], bars: Iterable[Bar]) -> Timeline:
    """Lanes in their order, one below the other. Bars that overlap in time get rows of their own in their lane."""
    of_lane: dict[tuple[str, int, int], list[Bar]] = {lane.key: [] for lane in lanes}
    for bar in bars:
        if bar.key in of_lane:
            of_lane[bar.key].append(bar)
    drawn, y = [], 0.0
    for lane in lanes:
        placed = _rows(_together(of_lane[lane.key], lane.variant, axis.least_s))
        rows = 1 + max((row for row, _, _ in placed), default=0)
        height = LABEL_UNITS + rows * ROW_UNITS
        x = axis.x(lane.begins_at)
        drawn_bars = tuple(_draw_bar(axis, bar, look, y + LABEL_UNITS + row * ROW_UNITS) for row, look, bar in placed)
        drawn.append(DrawnLane(lane, y, height, x, max(SMALLEST_UNITS, axis.x(lane.ends_at) - x), drawn_bars))
        y += height + LANE_GAP_UNITS
    return Timeline(axis, tuple(_ticks(axis)), tuple(drawn), y)


def look_of(bar: Bar, variant: str | None) -> str:
    """By what most of its time went into; one phase that failed is enough to show it."""
    if bar.failed:
        return "failed"
    seconds = {"work": bar.work_s, "overhead": bar.overhead_s, "wait": bar.wait_s}
    kind = max(seconds, key=lambda name: seconds[name])
    return "cuda" if kind == "work" and variant == "cuda" else kind


def _together(bars: Sequence[Bar], variant: str | None, least_s: float) -> list[tuple[str, Bar]]:
    """Neighbours that are too short to be told apart and look the same become one."""
    told: list[tuple[str, Bar]] = []
    for bar in sorted(bars, key=lambda bar: (bar.begins_at, bar.number)):
        look = look_of(bar, variant)
        if told and told[-1][0] == look:
            before = told[-1][1]
            gap_s = _length_s(before.ends_at, bar.begins_at)
            if all(_is_short(one, least_s) for one in (before, bar)) and abs(gap_s) < least_s:
                told[-1] = look, _sum(before, bar)
                continue
        told.append((look, bar))
    return told


def _is_short(bar: Bar, least_s: float) -> bool:
    return bar.phases > 1 or _length_s(bar.begins_at, bar.ends_at) < least_s


def _sum(one: Bar, other: Bar) -> Bar:
    return Bar(
        *one.key,
        number=min(one.number, other.number),
        phases=one.phases + other.phases,
        phase=one.phase,
        begins_at=one.begins_at,
        ends_at=max(one.ends_at, other.ends_at),
        duration_s=one.duration_s + other.duration_s,
        wait_s=one.wait_s + other.wait_s,
        overhead_s=one.overhead_s + other.overhead_s,
        work_s=one.work_s + other.work_s,
        failed=one.failed + other.failed,
        interrupted=one.interrupted + other.interrupted,
    )


def _rows(bars: Sequence[tuple[str, Bar]]) -> list[tuple[int, str, Bar]]:
    """The first row that is free again takes the next bar."""
    free_at: list[datetime] = []
    placed = []
    for look, bar in bars:
        # Clocks of a container and of its task differ by microseconds.
        begins_at = bar.begins_at + timedelta(milliseconds=1)
        row = next((row for row, free in enumerate(free_at) if free <= begins_at), len(free_at))
        free_at[row : row + 1] = [bar.ends_at]
        placed.append((row, look, bar))
    return placed


def _draw_bar(axis: Axis, bar: Bar, look: str, y: float) -> DrawnBar:
    x = axis.x(bar.begins_at)
    return DrawnBar(bar, look, x, y, max(SMALLEST_UNITS, axis.x(bar.ends_at) - x))


def _ticks(axis: Axis) -> list[Tick]:
    """At round instants, and few enough to be read."""
    shown_s = sum(_length_s(stretch.begins_at, stretch.ends_at) for stretch in axis.stretches)
    step_s = next((step for step in STEPS_S if shown_s / step <= MOST_TICKS), STEPS_S[-1] * (1 + shown_s // 400_000))
    ticks = []
    for stretch in axis.stretches:
        at_s = -(-stretch.begins_at.timestamp() // step_s) * step_s
        while at_s < stretch.ends_at.timestamp():
            at = datetime.fromtimestamp(at_s, UTC)
            ticks.append(Tick(axis.x(at), at))
            at_s += step_s
    return [next(same) for _, same in groupby(ticks, key=lambda tick: int(tick.x / 70))]


def _joined(spans: Iterable[tuple[datetime, datetime]]) -> list[tuple[datetime, datetime]]:
    joined: list[tuple[datetime, datetime]] = []
    for begins_at, ends_at in sorted(spans):
        if joined and begins_at <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], ends_at))
        else:
            joined.append((begins_at, ends_at))
    return joined


def _length_s(begins_at: datetime, ends_at: datetime) -> float:
    return (ends_at - begins_at).total_seconds()
