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
from operators.backfill.report import BackfillReport, report_lines
from operators.backfill.store import (
    Backfill,
    Counts,
    ScanCounts,
    ShardRecord,
    find_backfill,
    latest_backfill,
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


@dataclass(frozen=True)
class Progress:
    """How a backfill stands at `now`. `shards` are those under way; `started_at` is when the first was launched."""

    now: datetime
    backfill: Backfill
    counts: Counts
    shards: tuple[ShardRecord, ...]
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
        started_at=min((shard.launched_at for shard in shards if shard.launched_at), default=None),
        pause=find_pause(database),
        scan=read_scan(database, backfill.scan_id),
    )


def progress_lines(progress: Progress, zone: tzinfo) -> list[str]:
    """How a backfill stands, in words: a line each for the work, the end, a pause and the scan."""
    counts = progress.counts
    shown = [
        f"{counts.done} done, {counts.rejected} rejected, {counts.failed} failed, {counts.left} left; "
        f"{counts.media_done_s / 3600:.1f} h of media done, {counts.media_left_s / 3600:.1f} h left; "
        f"{len(progress.shards)} runs under way",
        _end_line(progress, zone),
    ]
    if progress.pause:
        shown.append(f"paused by {progress.pause.paused_by}: {progress.pause.reason}")
    if progress.scan and not progress.scan.has_ended:
        shown.append(f"the scan goes on: {progress.scan.files_found} files found, {progress.scan.files_hashed} hashed")
    return shown


def _end_line(progress: Progress, zone: tzinfo) -> str:
    closes_at, ends_at = progress.backfill.closes_at, progress.expected_end
    closing = f"launches until {_local(closes_at, zone)}" if closes_at else "launches until all is done"
    if not progress.backfill.is_open(progress.now):
        return "launches nothing more; waits for the runs under way"
    if ends_at is None or not progress.counts.left:
        return closing
    beyond = closes_at is not None and ends_at > closes_at
    return f"{closing}; at this pace all is done {'only ' if beyond else ''}about {_local(ends_at, zone)}"


def _local(instant: datetime, zone: tzinfo) -> str:
    return f"{instant.astimezone(zone):%Y-%m-%d %H:%M}"


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
    for name in ("Run", "Age", "Expected", "Media"):
        table.add_column(name, justify="left" if name == "Run" else "right")
    for shard in progress.shards:
        age = clock((progress.now - shard.launched_at).total_seconds()) if shard.launched_at else "not launched"
        table.add_row(shard.run_id, age, clock(shard.expected_s), clock(shard.media_s))
    return table


def show(database: Database, console: Console, zone: tzinfo, run_id: str | None = None) -> bool:
    """Print how the running backfills stand, or the last one; returns whether one is running.

    Raises:
        BackfillMissing: there was none yet.
    """
    running = [find_backfill(database, backfill_id) for backfill_id in open_backfills(database)]
    running = [backfill for backfill in running if run_id in (None, backfill.run_id)]
    for backfill in running:
        console.print(render(read_progress(database, backfill.backfill_id, datetime.now(UTC)), zone))
    if running:
        return True
    last = latest_backfill(database)
    if last is None:
        console.print("There was no backfill yet: start one with `make backfill FOLDER=archive`.")
        return False
    backfill = find_backfill(database, last)
    console.print(Text(f"The last backfill, {printable(backfill.run_id)}:", "bold"))
    for line in report_lines(BackfillReport.model_validate(backfill.report)):
        console.print(Text(printable_prose(line)))
    return False


def main(argv: Sequence[str] | None = None) -> int:
    """Print it, once or until it ends."""
    parser = argparse.ArgumentParser(prog="progress", description="How running backfills stand.")
    parser.add_argument("--run-id", help="only this run of archive_backfill")
    parser.add_argument("--watch", action="store_true", help="again every five seconds, until none is running")
    parser.add_argument("--color", action="store_true", help="colour even where the output is no terminal")
    arguments = parser.parse_args(argv)
    console = Console(force_terminal=arguments.color or None, highlight=False, emoji=False, markup=False)
    console.width = WIDTH
    try:
        database, zone = connect(), NightSettings.from_environment().zone
        while show(database, console, zone, arguments.run_id) and arguments.watch:
            time.sleep(WATCH_EVERY_S)
    except (NightreelError, OperationalError) as error:
        sys.stderr.write(f"{printable_prose(str(error))}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
