"""How running backfills stand: `python -m operators.backfill.progress`; with none running, the last one's report."""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text
from sqlalchemy.exc import OperationalError

from operators.backfill.night_settings import NightSettings
from operators.backfill.pause import Pause, find_pause
from operators.backfill.report import read_report
from operators.backfill.report_text import counted, local, report_lines
from operators.backfill.store import (
    Backfill,
    BackfillMissing,
    Counts,
    ScanCounts,
    ShardRecord,
    backfill_of_run,
    begun_shards,
    find_backfill,
    latest_backfills,
    list_shards,
    open_backfills,
    read_counts,
    read_scan,
)
from operators.clean_text import printable, printable_prose
from operators.database import Database, connect
from operators.errors import NightreelError
from operators.report import clock

WIDTH = 100
BAR_CELLS = 40
WATCH_EVERY_S = 5.0
BACKFILL_DAG = "archive_backfill"
"""The DAG whose runs are backfills."""

# Airflow starts a run, and its first task, within seconds; later where all of its light slots are taken.
SOON = timedelta(minutes=2)


@dataclass(frozen=True)
class Progress:
    """How a backfill stands at `now`.

    `shards` are those under way, `begun` those of them whose runs Airflow has started; `started_at` is when the first
    one was launched.
    """

    now: datetime
    backfill: Backfill
    counts: Counts
    shards: tuple[ShardRecord, ...]
    begun: frozenset[int]
    started_at: datetime | None
    pause: Pause | None
    scan: ScanCounts | None

    @property
    def share(self) -> float:
        """How much of the expected work has ended, 0 to 1."""
        total_s = self.counts.expected_done_s + self.counts.expected_left_s
        return self.counts.expected_done_s / total_s if total_s else 0.0

    @property
    def expected_end(self) -> datetime | None:
        """When all is done at the pace so far; none while nothing was done."""
        if not self.counts.expected_done_s or self.started_at is None:
            return None
        passed_s = (self.now - self.started_at).total_seconds()
        return self.now + timedelta(seconds=passed_s * self.counts.expected_left_s / self.counts.expected_done_s)


def shard_state(progress: Progress, shard: ShardRecord) -> str:
    """`runs`; `queued`, in Airflow; or `asked for`, while Airflow has not taken its run."""
    if shard.shard_id in progress.begun:
        return "runs"
    return "asked for" if shard.launched_at is None else "queued"


def read_progress(database: Database, backfill_id: int, now: datetime) -> Progress:
    """How a backfill stands.

    Raises:
        BackfillMissing: there is none of this number.
    """
    backfill = find_backfill(database, backfill_id)
    shards = list_shards(database, backfill_id)
    return Progress(
        now=now,
        backfill=backfill,
        counts=read_counts(database, backfill_id),
        shards=tuple(shard for shard in shards if shard.ended_at is None),
        begun=begun_shards(database, backfill_id),
        started_at=min((shard.launched_at for shard in shards if shard.launched_at), default=None),
        pause=find_pause(database),
        scan=read_scan(database, backfill.scan_id),
    )


def progress_lines(progress: Progress, zone: tzinfo) -> list[str]:
    """How a backfill stands, in words: a line each for the work, the end, what keeps runs waiting, and the scan."""
    counts = progress.counts
    shown = [
        f"{counts.done} done, {counts.rejected} rejected, {counts.failed} failed, {counts.left} left; "
        f"{counts.media_done_s / 3600:.1f} h of media done, {counts.media_left_s / 3600:.1f} h left; "
        f"{counted(len(progress.shards), 'run')} under way",
        _end_line(progress, zone),
    ]
    if progress.pause:
        since = local(progress.pause.paused_at, zone)
        shown.append(
            f"paused by {progress.pause.paused_by} since {since}: {progress.pause.reason}; `make resume` lets it go on"
        )
    shown += _stall_lines(progress)
    if progress.scan and not progress.scan.has_ended:
        shown.append(f"the scan goes on: {progress.scan.files_found} files found, {progress.scan.files_hashed} hashed")
    return shown


def _stall_lines(progress: Progress) -> list[str]:
    asked_for = [shard for shard in progress.shards if shard_state(progress, shard) == "asked for"]
    late = [
        shard
        for shard in progress.shards
        if shard_state(progress, shard) == "queued" and shard.launched_at and progress.now - shard.launched_at > SOON
    ]
    lines = []
    if asked_for and not progress.pause:
        lines.append(
            f"{counted(len(asked_for), 'run')} asked for and not taken by Airflow: if that stays, the log of "
            "launch_shards says why"
        )
    if late:
        lines.append(
            f"{counted(len(late), 'run')} waiting to be started by Airflow: is process_media paused there, or are too "
            "many runs active?"
        )
    return lines


def _end_line(progress: Progress, zone: tzinfo) -> str:
    closes_at, ends_at = progress.backfill.closes_at, progress.expected_end
    closing = f"launches until {local(closes_at, zone)}" if closes_at else "launches until all is done"
    if not progress.backfill.is_open(progress.now):
        return "launches nothing more; waits for the runs under way"
    if ends_at is None or not progress.counts.left:
        return closing
    beyond = closes_at is not None and ends_at > closes_at
    return f"{closing}; at this pace all is done {'only ' if beyond else ''}about {local(ends_at, zone)}"


def render(progress: Progress, zone: tzinfo) -> RenderableType:
    """For a terminal: a bar, the words, and the runs under way with their age."""
    filled = round(BAR_CELLS * progress.share)
    bar = Text.assemble(
        (f"{printable(progress.backfill.run_id)}  ", "bold"),
        ("━" * filled, "green"),
        ("━" * (BAR_CELLS - filled), "dim"),
        f"  {progress.share:.0%}",
    )
    lines = [Text(printable_prose(line)) for line in progress_lines(progress, zone)]
    return Group(bar, *lines, *([_shards(progress)] if progress.shards else []))


def _shards(progress: Progress) -> RenderableType:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("Run", "State", "Age", "Expected", "Media"):
        table.add_column(name, justify="left" if name in ("Run", "State") else "right")
    for shard in progress.shards:
        age = clock((progress.now - shard.launched_at).total_seconds()) if shard.launched_at else ""
        state = shard_state(progress, shard)
        table.add_row(shard.run_id, state, age, clock(shard.expected_s), clock(shard.media_s))
    return table


def show(database: Database, console: Console, zone: tzinfo, backfill_ids: Sequence[int]) -> bool:
    """Print how backfills stand, and the reports of those that are over; returns whether one is running.

    Raises:
        ReportUnreadable: another version wrote a report, and this one cannot read it.
    """
    if not backfill_ids:
        console.print("There was no backfill yet: start one with `make backfill FOLDER=archive`.")
    backfills = [find_backfill(database, backfill_id) for backfill_id in backfill_ids]
    for backfill in backfills:
        report = read_report(backfill)
        if report is None:
            console.print(render(read_progress(database, backfill.backfill_id, datetime.now(UTC)), zone))
            continue
        console.print(Text(f"{printable(backfill.run_id)}, which began {local(backfill.opens_at, zone)}:", "bold"))
        for line in report_lines(report, zone):
            console.print(Text(printable_prose(line)))
    return any(backfill.report is None for backfill in backfills)


def choose(database: Database, run_id: str | None, last: int | None) -> list[int]:
    """Which backfills to show: that of a run, the last so many that are over, or all that are running, else the last.

    Raises:
        BackfillMissing: this run opened none.
    """
    if run_id is not None:
        found = backfill_of_run(database, BACKFILL_DAG, run_id)
        if found is None:
            raise BackfillMissing(
                f"a run must have opened a backfill: {run_id!r} of {BACKFILL_DAG} has not, or is not there; "
                '`make progress ARGS="--last 5"` names the last ones'
            )
        return [found]
    return latest_backfills(database, last) if last else open_backfills(database) or latest_backfills(database, 1)


def _above_zero(given: str) -> int:
    number = int(given)
    if number < 1:
        raise argparse.ArgumentTypeError(f"it must be at least 1: {number}")
    return number


def main(argv: Sequence[str] | None = None) -> int:
    """Print it, once or until it ends."""
    parser = argparse.ArgumentParser(prog="progress", description="How running backfills stand.")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--run-id", help="only this run of archive_backfill")
    which.add_argument("--last", type=_above_zero, help="the reports of so many that are over, the newest last")
    parser.add_argument("--watch", action="store_true", help="again every five seconds, until none is running")
    parser.add_argument("--color", action="store_true", help="colour even where the output is no terminal")
    arguments = parser.parse_args(argv)
    console = Console(force_terminal=arguments.color or None, highlight=False, emoji=False, markup=False)
    console.width = WIDTH
    try:
        database, zone = connect(), NightSettings.from_environment().zone
        # A night that ends meanwhile leaves its report, and another may have begun.
        while show(database, console, zone, choose(database, arguments.run_id, arguments.last)) and arguments.watch:
            time.sleep(WATCH_EVERY_S)
    except (NightreelError, OperationalError) as error:
        sys.stderr.write(f"{printable_prose(str(error))}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
