"""Backfills for a person: those under way, those that are over, what failed in them, and when the next one begins."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo

from operators.backfill.hours import Window, next_window, window_at
from operators.backfill.night_settings import NightSettings
from operators.backfill.pause import Pause, find_pause
from operators.backfill.progress import Progress, progress_lines, read_progress
from operators.backfill.report import ReportUnreadable, read_report
from operators.backfill.report_text import report_lines
from operators.backfill.store import Backfill, find_backfill, open_backfills
from operators.clean_text import printable, printable_prose
from operators.database import Database, transaction
from operators.queries import query

MOST_UNDER_WAY = 200
"""Runs of one backfill that are shown at a time; the pools' slots keep them far fewer."""


@dataclass(frozen=True)
class ShownRun:
    """A run of `process_media` that takes a part of a backfill.

    `launched_at` is when Airflow took it, `began_at` when it began there; none while it has not. `outcome` is none
    while it is under way. Of its `assets`, `ended` are done, rejected or failed.
    """

    shard_id: int
    dag_id: str
    run_id: str
    planned_at: datetime
    launched_at: datetime | None
    began_at: datetime | None
    ended_at: datetime | None
    outcome: str | None
    expected_s: float
    media_s: float
    assets: int
    ended: int

    @property
    def state(self) -> str:
        """How it ended; else `runs`, `queued` in Airflow, or `asked for` while Airflow has not taken it."""
        if self.outcome:
            return self.outcome
        return "asked for" if self.launched_at is None else "runs" if self.began_at else "queued"

    def took_s(self, now: datetime) -> float | None:
        """From being taken by Airflow to its end, or until now; none while it has not been taken."""
        return ((self.ended_at or now) - self.launched_at).total_seconds() if self.launched_at else None


@dataclass(frozen=True)
class OpenNight:
    """A backfill under way, in figures and in words."""

    progress: Progress
    lines: tuple[str, ...]
    runs: tuple[ShownRun, ...]

    @property
    def ends_late(self) -> bool:
        """Whether it will not be done before it closes, at the pace so far."""
        closes_at, ends_at = self.progress.backfill.closes_at, self.progress.expected_end
        return closes_at is not None and ends_at is not None and ends_at > closes_at


@dataclass(frozen=True)
class PastNight:
    """A backfill that is over, in figures; one is none where its report does not tell."""

    backfill_id: int
    dag_id: str
    run_id: str
    opens_at: datetime
    closes_at: datetime | None
    finished_at: datetime
    runs: int | None
    done: int | None
    rejected: int | None
    failed: int | None
    left_over: int | None
    media_done_s: float | None
    media_left_s: float | None


@dataclass(frozen=True)
class PastPause:
    """A pause; it is in force while nobody resumed."""

    paused_at: datetime
    paused_by: str
    reason: str
    resumed_at: datetime | None
    resumed_by: str | None


@dataclass(frozen=True)
class FailureCounts:
    """Assets that failed in backfills and have not succeeded since."""

    waiting: int
    parked: int


@dataclass(frozen=True)
class Failure:
    """One of them. `not_before` none: it is parked. `name` is none where the catalog has no place of it."""

    asset_id: str
    failures: int
    failed_at: datetime
    not_before: datetime | None
    reason: str
    name: str | None
    is_there: bool

    @property
    def is_parked(self) -> bool:
        """Whether only a person has it tried again."""
        return self.not_before is None


@dataclass(frozen=True)
class NextNight:
    """When backfills begin by themselves; `is_open`: that one has begun. No window: there are no nights."""

    window: Window | None
    is_open: bool
    folders: Sequence[str]


def next_night(settings: NightSettings, now: datetime) -> NextNight:
    """The night that is open, else the next one."""
    folders = settings.scope.folders
    if settings.hours is None:
        return NextNight(None, False, folders)
    current = window_at(settings.hours, now)
    return NextNight(current or next_window(settings.hours, now), current is not None, folders)


def pause_in_force(database: Database) -> Pause | None:
    """Who paused backfills, if they are paused."""
    return find_pause(database)


def last_pauses(database: Database, limit: int) -> list[PastPause]:
    """The last one first."""
    with transaction(database) as connection:
        return [PastPause(*row) for row in connection.execute(query("list_last_pauses"), {"limit": limit})]


def open_nights(database: Database, now: datetime, zone: tzinfo) -> list[OpenNight]:
    """Backfills under way, the first one first."""
    return [read_open_night(database, backfill_id, now, zone) for backfill_id in open_backfills(database)]


def read_open_night(database: Database, backfill_id: int, now: datetime, zone: tzinfo) -> OpenNight:
    """How a backfill stands.

    Raises:
        BackfillMissing: there is none of this number.
    """
    progress = read_progress(database, backfill_id, now)
    runs = night_runs(database, backfill_id, MOST_UNDER_WAY, only_under_way=True)
    lines = tuple(printable_prose(line) for line in progress_lines(progress, zone))
    return OpenNight(progress, lines, tuple(runs))


def find_night(database: Database, backfill_id: int) -> Backfill:
    """A backfill, under way or over.

    Raises:
        BackfillMissing: there is none of this number.
    """
    return find_backfill(database, backfill_id)


def told_report(backfill: Backfill, zone: tzinfo) -> list[str]:
    """The report of a backfill, a line each; none while it is under way."""
    try:
        report = read_report(backfill)
    except ReportUnreadable as error:
        return [str(error)]
    return [printable_prose(line) for line in report_lines(report, zone)] if report else []


def past_nights(database: Database, limit: int, offset: int = 0) -> list[PastNight]:
    """Backfills that are over, the last one first."""
    with transaction(database) as connection:
        rows = connection.execute(query("page_past_nights"), {"limit": limit, "offset": offset})
        return [PastNight(*row) for row in rows]


def night_runs(
    database: Database, backfill_id: int, limit: int, offset: int = 0, *, only_under_way: bool = False
) -> list[ShownRun]:
    """The runs of a backfill: those under way first, then the last that ended."""
    asked = {"backfill_id": backfill_id, "only_under_way": only_under_way, "limit": limit, "offset": offset}
    with transaction(database) as connection:
        return [ShownRun(**row) for row in connection.execute(query("page_night_runs"), asked).mappings()]


def count_failures(database: Database) -> FailureCounts:
    """How many wait to be tried again, and how many are parked."""
    with transaction(database) as connection:
        return FailureCounts(*connection.execute(query("count_failures")).one())


def failures(database: Database, is_parked: bool | None, limit: int, offset: int = 0) -> list[Failure]:
    """Those that are parked, those that are not, or all; the last that failed first."""
    asked = {"is_parked": is_parked, "limit": limit, "offset": offset}
    with transaction(database) as connection:
        rows = connection.execute(query("page_failures"), asked).all()
    return [
        Failure(
            asset_id=row.asset_id,
            failures=row.failures,
            failed_at=row.failed_at,
            not_before=row.not_before,
            reason=printable_prose(row.reason),
            name=printable(row.name) if row.name else None,
            is_there=row.is_there,
        )
        for row in rows
    ]
