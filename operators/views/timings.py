"""What pages tell of phase timings: runs, one run, one task, and all of them over some nights."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from operators.database import Database, transaction
from operators.queries import query
from operators.views.timeline import Bar, Lane, Timeline, draw, lay_axis

MOST_LANES = 200
MOST_SERIES = 500
SLOWEST = 15
TASK_ATTEMPTS = 20


@dataclass(frozen=True)
class RunFilter:
    """Which runs: those that began in `[since, until)`. None: whatever."""

    dag_id: str | None = None
    run_id: str | None = None
    outcome: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True)
class TimedRun:
    """A run. Seconds of kinds are summed over all attempts, which run side by side; `wall_s` is not."""

    dag_id: str
    run_id: str
    started_at: datetime
    outcome: str
    covered_s: float
    wall_s: float
    assets: int
    media_s: float
    wait_s: float
    overhead_s: float
    work_s: float

    @property
    def coverage(self) -> float | None:
        """The share of its wall time that phases account for, 0 to 1; none for a run of no length."""
        return min(1.0, self.covered_s / self.wall_s) if self.wall_s > 0 else None

    def share(self, seconds: float) -> float | None:
        """Of all its time, 0 to 1; none while nothing is recorded."""
        total_s = self.wait_s + self.overhead_s + self.work_s
        return seconds / total_s if total_s else None


@dataclass(frozen=True)
class Series:
    """Phases that are alike: where, on what, with which models. Only those that ended in order are counted.

    `part` is the stage, or the task where there is none. Percentiles are at most 10 % off, and mostly less than 2 %.
    """

    part: str
    phase: str
    variant: str | None
    device: str | None
    model_names: str
    compute_type: str | None
    n: int
    sum_s: float
    p50_s: float
    p95_s: float
    p99_s: float


@dataclass(frozen=True)
class StageNight:
    """What a stage did on one variant in one night, all attempts summed. No stage: tasks without a container."""

    night: date
    stage: str | None
    variant: str | None
    wait_s: float
    overhead_s: float
    work_s: float
    media_s: float


@dataclass(frozen=True)
class SlowAsset:
    """A media asset and the work on it in one run. `ratio` is work per length; the longest phase is named.

    What an unknown length or a missing phase would tell is none.
    """

    dag_id: str
    run_id: str
    asset_id: str
    work_s: float
    media_s: float | None
    ratio: float | None
    name: str | None
    part: str | None
    phase: str | None
    longest_s: float | None


@dataclass(frozen=True)
class Scope:
    """A run, or one task of it."""

    dag_id: str
    run_id: str
    task_id: str | None = None
    map_index: int = -1

    def row(self) -> dict[str, object]:
        """As parameters."""
        return {"dag_id": self.dag_id, "run_id": self.run_id, "task_id": self.task_id, "map_index": self.map_index}


@dataclass(frozen=True)
class PhaseRow:
    """One phase as it was recorded. `span_s` is longer than `duration_s` where it came in turns with others."""

    task_id: str
    map_index: int
    try_number: int
    phase: str
    kind: str
    variant: str | None
    device: str | None
    asset_id: str | None
    name: str | None
    started_at: datetime
    duration_s: float
    span_s: float
    outcome: str
    counters: Mapping[str, float]
    peak_rss_mib: float | None
    peak_vram_mib: float | None


@dataclass(frozen=True)
class TaskAttempt:
    """An attempt at a task. One that goes on is reckoned up to now."""

    run_id: str
    map_index: int
    try_number: int
    variant: str | None
    device: str | None
    model_names: str
    compute_type: str | None
    outcome: str
    message: str
    started_at: datetime
    wall_s: float
    wait_s: float
    overhead_s: float
    work_s: float
    media_s: float


@dataclass(frozen=True)
class TaskPhase:
    """How long a phase took in the task's last attempts. Percentiles are exact."""

    phase: str
    kind: str
    variant: str | None
    device: str | None
    n: int
    sum_s: float
    p50_s: float
    p95_s: float
    longest_s: float
    peak_rss_mib: float | None
    peak_vram_mib: float | None


def read_dags(database: Database) -> list[str]:
    """Ids of the DAGs that have runs."""
    return [str(row.dag_id) for row in _rows(database, "list_timed_dags", {})]


def read_runs(database: Database, wanted: RunFilter, offset: int = 0, limit: int = 1) -> list[TimedRun]:
    """The last that began first."""
    row = {
        "dag_id": wanted.dag_id,
        "run_id": wanted.run_id,
        "outcome": wanted.outcome,
        "since": wanted.since,
        "until": wanted.until,
        "offset": offset,
        "limit": limit,
    }
    return [TimedRun(**found._mapping) for found in _rows(database, "page_timed_runs", row)]


def read_series(database: Database, first_night: date, last_night: date) -> list[Series]:
    """All kinds of phases in these nights, by part, the most costly of each first. Nights begin at noon, UTC."""
    row = {"first_night": first_night, "last_night": last_night, "limit": MOST_SERIES}
    return [Series(**found._mapping) for found in _rows(database, "list_phase_percentiles", row)]


def read_stage_nights(database: Database, since: datetime, until: datetime, zone: ZoneInfo) -> list[StageNight]:
    """By night, of runs that began in `[since, until)`."""
    row = {"since": since, "until": until, "zone": zone.key}
    return [StageNight(**found._mapping) for found in _rows(database, "list_stage_nights", row)]


def read_slowest(database: Database, since: datetime, until: datetime, by_ratio: bool) -> list[SlowAsset]:
    """Of runs that began in `[since, until)`: the most work first, or the most per second of media."""
    row = {"since": since, "until": until, "by_ratio": by_ratio, "limit": SLOWEST}
    return [SlowAsset(**found._mapping) for found in _rows(database, "list_slowest_assets", row)]


def read_timeline(database: Database, scope: Scope) -> Timeline | None:
    """The attempts and what they did, drawn; none when there is no attempt.

    At most `MOST_LANES`, the first ones. Phases too short for a bar are summed in the database, so that a run of many
    assets stays small.
    """
    with transaction(database) as connection:
        lanes = [Lane(**found._mapping) for found in _in(connection, "list_lanes", scope.row() | {"limit": MOST_LANES})]
        if not lanes:
            return None
        axis = lay_axis(lanes)
        row = scope.row() | {"begins_at": axis.begins_at, "least_s": axis.least_s}
        return draw(axis, lanes, [Bar(**found._mapping) for found in _in(connection, "list_bars", row)])


def read_phases(database: Database, scope: Scope, offset: int, limit: int) -> list[PhaseRow]:
    """In the order in which they began, which is that of a bar's `number`."""
    row = scope.row() | {"offset": offset, "limit": limit}
    return [PhaseRow(**found._mapping) for found in _rows(database, "page_phases", row)]


def read_task_attempts(database: Database, dag_id: str, task_id: str, offset: int, limit: int) -> list[TaskAttempt]:
    """Over all runs, the last that began first."""
    row = {"dag_id": dag_id, "task_id": task_id, "offset": offset, "limit": limit}
    return [TaskAttempt(**found._mapping) for found in _rows(database, "page_task_attempts", row)]


def read_task_phases(database: Database, dag_id: str, task_id: str) -> list[TaskPhase]:
    """Over the last `TASK_ATTEMPTS` attempts, the most costly first."""
    row = {"dag_id": dag_id, "task_id": task_id, "attempts": TASK_ATTEMPTS}
    return [TaskPhase(**found._mapping) for found in _rows(database, "list_task_phases", row)]


def _rows(database: Database, name: str, row: Mapping[str, Any]) -> list[Any]:
    with transaction(database) as connection:
        return _in(connection, name, row)


def _in(connection: Connection, name: str, row: Mapping[str, Any]) -> list[Any]:
    return list(connection.execute(query(name), dict(row)))
