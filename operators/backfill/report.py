"""What came of a backfill: made once it is over, kept in Postgres, told on a terminal and in a note."""

import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from statistics import median

from pydantic import BaseModel, ConfigDict

from operators.backfill.hours import NightHours, next_window
from operators.backfill.night_settings import NightSettings
from operators.backfill.packer import Packer
from operators.backfill.store import (
    Backfill,
    Counts,
    ShardRecord,
    find_backfill,
    list_shards,
    named_items,
    read_counts,
    read_scan,
)
from operators.database import Database, transaction
from operators.queries import query
from operators.report import clock

MOST_NAMED = 20
"""Assets that failed, or are too long, of which a report says the name."""

TOO_LONG_REMEDY = "process it by hand with `make process`, or make NIGHTREEL_NIGHT_HOURS longer"


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class StageWork(_Model):
    """What a stage did on one variant: on how many assets, of which length together, in which work time."""

    stage: str
    variant: str
    assets: int
    media_s: float
    work_s: float


class Truth(_Model):
    """The estimate against the truth, over the shards that ended.

    `ratio` is the median of what a run took to what was expected; `within_longest` the share of runs, 0 to 1, that
    took no more than the longest expected (nine in ten should).
    """

    shards: int
    expected_s: float
    took_s: float
    ratio: float
    within_longest: float


class FailedAsset(_Model):
    """An asset that failed; parked, or tried again from `not_before` on."""

    name: str
    failures: int
    not_before: datetime | None
    is_parked: bool
    reason: str


class LongAsset(_Model):
    """An asset that no such window is long enough for."""

    name: str
    expected_s: float
    longest_s: float


class BackfillReport(_Model):
    """What came of a backfill. `nights_left` is none where nothing was done, or no night's length is known."""

    run_id: str
    opens_at: datetime
    closes_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    shards: int
    done: int
    rejected: int
    failed: int
    left: int
    under_way: int
    media_done_s: float
    media_left_s: float
    expected_left_s: float
    is_plan_complete: bool
    nights_left: int | None
    parked_in_all: int
    work: tuple[StageWork, ...] = ()
    truth: Truth | None = None
    failed_assets: tuple[FailedAsset, ...] = ()
    too_long: tuple[LongAsset, ...] = ()

    @property
    def media_per_hour(self) -> float | None:
        """Hours of media for each hour from the first launch to the last end; none where nothing ended."""
        if not self.started_at or not self.ended_at or self.ended_at <= self.started_at:
            return None
        return self.media_done_s / (self.ended_at - self.started_at).total_seconds()


def make_report(database: Database, backfill_id: int, settings: NightSettings, packer: Packer) -> BackfillReport:
    """What came of a backfill so far.

    Raises:
        BackfillMissing: there is none of this number.
    """
    backfill, counts = find_backfill(database, backfill_id), read_counts(database, backfill_id)
    shards = list_shards(database, backfill_id)
    started_at = min((shard.launched_at for shard in shards if shard.launched_at), default=None)
    ended_at = max((shard.ended_at for shard in shards if shard.ended_at), default=None)
    scan = read_scan(database, backfill.scan_id)
    work, failed_assets, parked = _read_work(database, backfill_id)
    return BackfillReport(
        run_id=backfill.run_id,
        opens_at=backfill.opens_at,
        closes_at=backfill.closes_at,
        started_at=started_at,
        ended_at=ended_at,
        shards=len(shards),
        done=counts.done,
        rejected=counts.rejected,
        failed=counts.failed,
        left=counts.left,
        under_way=counts.under_way,
        media_done_s=counts.media_done_s,
        media_left_s=counts.media_left_s,
        expected_left_s=counts.expected_left_s,
        is_plan_complete=backfill.is_planned and (bool(backfill.scope.asset_ids) or bool(scan and scan.is_complete)),
        nights_left=nights_left(counts, started_at, ended_at, night_length(backfill, settings.hours)),
        parked_in_all=parked,
        work=work,
        truth=compare_with_truth(shards),
        failed_assets=failed_assets,
        too_long=find_too_long(database, backfill, packer),
    )


def compare_with_truth(shards: Sequence[ShardRecord]) -> Truth | None:
    """How long shards took against what was expected; none where none has ended."""
    ended = [(shard, shard.took_s) for shard in shards if shard.took_s is not None and shard.expected_s > 0]
    if not ended:
        return None
    return Truth(
        shards=len(ended),
        expected_s=sum(shard.expected_s for shard, _ in ended),
        took_s=sum(took_s for _, took_s in ended),
        ratio=median(took_s / shard.expected_s for shard, took_s in ended),
        within_longest=sum(took_s <= shard.longest_s for shard, took_s in ended) / len(ended),
    )


def night_length(backfill: Backfill, hours: NightHours | None) -> timedelta | None:
    """How long a night lasts: this one, else the next one of the settings; none where there are none."""
    if backfill.closes_at:
        return backfill.closes_at - backfill.opens_at
    if hours is None:
        return None
    window = next_window(hours, backfill.opens_at)
    return window.closes_at - window.opens_at


def nights_left(
    counts: Counts, started_at: datetime | None, ended_at: datetime | None, night: timedelta | None
) -> int | None:
    """Nights until all is done at this pace; none where that cannot be told."""
    if not counts.left:
        return 0
    if night is None or started_at is None or ended_at is None or ended_at <= started_at or not counts.expected_done_s:
        return None
    pace = counts.expected_done_s / (ended_at - started_at).total_seconds()
    return max(1, math.ceil(counts.expected_left_s / (pace * night.total_seconds())))


def find_too_long(database: Database, backfill: Backfill, packer: Packer) -> tuple[LongAsset, ...]:
    """What waits and is expected not to end in any window of this length, the longest first."""
    if backfill.closes_at is None:
        return ()
    room_s = (backfill.closes_at - backfill.opens_at).total_seconds()
    items = named_items(database, backfill.backfill_id, "list_longest_items", MOST_NAMED)
    times = [(name, packer.time_alone(item)) for name, item in items if not packer.fits_alone(item, room_s)]
    return tuple(LongAsset(name=name, expected_s=time.expected_s, longest_s=time.longest_s) for name, time in times)


def _read_work(database: Database, backfill_id: int) -> tuple[tuple[StageWork, ...], tuple[FailedAsset, ...], int]:
    key = {"backfill_id": backfill_id}
    with transaction(database) as connection:
        work = tuple(
            StageWork.model_validate(dict(row)) for row in connection.execute(query("backfill_work"), key).mappings()
        )
        failed = tuple(
            FailedAsset(
                name=row.name,
                failures=row.failures,
                not_before=row.not_before,
                is_parked=row.is_parked,
                reason=row.message,
            )
            for row in connection.execute(query("list_failed_items"), {**key, "most": MOST_NAMED})
        )
        parked: int = connection.execute(query("count_parked")).scalar_one()
    return work, failed, parked


def report_lines(report: BackfillReport) -> list[str]:
    """The whole report, a line each."""
    lines = [*summary_lines(report), *_work_lines(report)]
    if report.truth:
        lines.append(_truth_line(report.truth))
    lines += [
        f"failed: {asset.name} ({_fate(asset)}): {asset.reason or 'no reason was recorded'}"
        for asset in report.failed_assets
    ]
    lines += [
        f"too long for this window: {asset.name}, up to {clock(asset.longest_s)}; {TOO_LONG_REMEDY}"
        for asset in report.too_long
    ]
    return lines


def summary_lines(report: BackfillReport) -> list[str]:
    """What fits a note: how much ended how, how fast, and how much is left."""
    pace = f", {report.media_per_hour:.1f} h of media per hour" if report.media_per_hour is not None else ""
    lines = [
        f"{report.done} done, {report.rejected} rejected, {report.failed} failed, {report.left} left, "
        f"in {report.shards} runs",
        f"{report.media_done_s / 3600:.1f} h of media{pace}; {report.media_left_s / 3600:.1f} h left",
        _nights_line(report),
    ]
    if report.under_way:
        lines.append(f"{report.under_way} assets are in runs that have not ended; the next backfill takes them over")
    if report.parked_in_all:
        lines.append(f"{report.parked_in_all} assets are parked after failing too often; “retry parked” takes them")
    if report.too_long:
        lines.append(f"{len(report.too_long)} assets are too long for this window; {TOO_LONG_REMEDY}")
    return lines


def _nights_line(report: BackfillReport) -> str:
    least = "" if report.is_plan_complete else "at least, since the scan has not come to its end: "
    if report.nights_left == 0:
        return f"{least}nothing is left"
    if report.nights_left is None:
        return f"{least}how many nights remain is unknown: nothing was done to tell the pace by"
    return f"{least}{report.nights_left} more nights at this pace"


def _work_lines(report: BackfillReport) -> list[str]:
    return [
        f"{work.stage} on {'the GPU' if work.variant == 'cuda' else 'the CPU'}: {work.assets} assets, "
        f"{clock(work.media_s)} of media in {clock(work.work_s)} of work"
        for work in report.work
    ]


def _truth_line(truth: Truth) -> str:
    return (
        f"runs took {clock(truth.took_s)} where {clock(truth.expected_s)} were expected: half of them more than "
        f"{truth.ratio:.2f} times that; {truth.within_longest:.0%} no more than the longest expected"
    )


def _fate(asset: FailedAsset) -> str:
    if asset.is_parked:
        return f"parked after {asset.failures} failures"
    return f"tried again from {asset.not_before:%Y-%m-%d %H:%M} UTC on" if asset.not_before else "asked for anew"
