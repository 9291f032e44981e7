"""What came of a backfill: made once it is over, and kept in Postgres."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from statistics import median

from pydantic import BaseModel, ConfigDict, ValidationError

from operators.backfill.held_back import HeldBack, count_held_back
from operators.backfill.night_settings import NightSettings
from operators.backfill.packer import Packer
from operators.backfill.store import (
    MOST_LOOKED_AT,
    Backfill,
    Counts,
    ShardRecord,
    find_backfill,
    list_shards,
    named_items,
    read_counts,
    read_scan,
    waiting_items,
)
from operators.backfill.waits import MOST_RETURNS
from operators.database import Database, transaction
from operators.errors import NightreelError
from operators.queries import query

MOST_NAMED = 20
"""Assets that failed, or are too long, of which a report says the name."""


class ReportUnreadable(NightreelError):
    """A report that a version of Nightreel wrote which this one does not know."""


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
    """An asset that no night is long enough for."""

    name: str
    expected_s: float
    longest_s: float


class PausedTime(_Model):
    """A pause, as far as it lay in the backfill's window; `resumed_at` is none while it goes on."""

    paused_at: datetime
    paused_by: str
    reason: str
    resumed_at: datetime | None
    lasted_s: float


class BackfillReport(_Model):
    """What came of a backfill.

    `nights_left` is none where nothing was done that would tell a pace; a night lasts `night_s`. `is_window_too_short`
    is told where nothing was launched. Of the runs, Airflow never started `withdrawn`, which `shards` does not count,
    and `fruitless` came to none of their files. What has a default is not in reports of older versions.
    """

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
    night_s: float | None = None
    are_nights_set: bool = True
    is_window_too_short: bool = False
    withdrawn: int = 0
    fruitless: int = 0
    held_back: HeldBack = HeldBack()
    pauses: tuple[PausedTime, ...] = ()
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
    withdrawn, fruitless = _count_futile(database, backfill_id)
    started_at = min((shard.launched_at for shard in shards if shard.launched_at), default=None)
    ended_at = max((shard.ended_at for shard in shards if shard.ended_at), default=None)
    scan = read_scan(database, backfill.scan_id)
    work, failed_assets = _read_work(database, backfill_id)
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
        nights_left=nights_left(counts, started_at, ended_at, settings.night),
        night_s=settings.night.total_seconds(),
        are_nights_set=settings.hours is not None,
        is_window_too_short=not shards and _is_too_short(database, backfill, packer),
        withdrawn=withdrawn,
        fruitless=fruitless,
        held_back=count_held_back(database, backfill),
        pauses=_read_pauses(database, backfill, datetime.now(UTC)),
        work=work,
        truth=compare_with_truth(shards),
        failed_assets=failed_assets,
        too_long=find_too_long(database, backfill_id, packer, settings.night),
    )


def read_report(backfill: Backfill) -> BackfillReport | None:
    """The report as it was kept, by this version or another; none while there is none.

    Raises:
        ReportUnreadable: it lacks what every report has.
    """
    if backfill.report is None:
        return None
    try:
        return BackfillReport.model_validate(backfill.report, extra="ignore")
    except ValidationError as error:
        raise ReportUnreadable(
            f"a report must be one that this version knows: that of {backfill.run_id} lacks, or has in another form, "
            f"{', '.join('.'.join(map(str, found['loc'])) for found in error.errors())}; "
            f"read it with `make psql`, in the table backfill, backfill_id {backfill.backfill_id}"
        ) from error


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


def nights_left(counts: Counts, started_at: datetime | None, ended_at: datetime | None, night: timedelta) -> int | None:
    """Nights until all is done at this pace; none where nothing was done to tell it by."""
    if not counts.left:
        return 0
    if started_at is None or ended_at is None or ended_at <= started_at or not counts.expected_done_s:
        return None
    pace = counts.expected_done_s / (ended_at - started_at).total_seconds()
    return max(1, math.ceil(counts.expected_left_s / (pace * night.total_seconds())))


def find_too_long(database: Database, backfill_id: int, packer: Packer, night: timedelta) -> tuple[LongAsset, ...]:
    """What waits and is expected not to end in a night, the longest first."""
    items = named_items(database, backfill_id, "list_longest_items", MOST_NAMED)
    room_s = night.total_seconds()
    times = [(name, packer.time_alone(item)) for name, item in items if not packer.fits_alone(item, room_s)]
    return tuple(LongAsset(name=name, expected_s=time.expected_s, longest_s=time.longest_s) for name, time in times)


def _is_too_short(database: Database, backfill: Backfill, packer: Packer) -> bool:
    """Whether of what goes first nothing is expected to end in the window."""
    first = list(islice(waiting_items(database, backfill.backfill_id), MOST_LOOKED_AT))
    return bool(first) and packer.pack(first, backfill.room_s(backfill.opens_at)) is None


def _count_futile(database: Database, backfill_id: int) -> tuple[int, int]:
    """Runs that were withdrawn, and those that came to none of their files."""
    asked = {"backfill_id": backfill_id, "most_returns": MOST_RETURNS}
    with transaction(database) as connection:
        row = connection.execute(query("count_futile_shards"), asked).one()
    return row.withdrawn, row.fruitless


def _read_pauses(database: Database, backfill: Backfill, now: datetime) -> tuple[PausedTime, ...]:
    window = {"opens_at": backfill.opens_at, "closes_at": backfill.closes_at}
    closes_at = min(now, backfill.closes_at or now)
    with transaction(database) as connection:
        rows = connection.execute(query("list_pauses"), window).mappings().all()
    return tuple(
        PausedTime(
            **row,
            lasted_s=(
                min(row["resumed_at"] or now, closes_at) - max(row["paused_at"], backfill.opens_at)
            ).total_seconds(),
        )
        for row in rows
    )


def _read_work(database: Database, backfill_id: int) -> tuple[tuple[StageWork, ...], tuple[FailedAsset, ...]]:
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
    return work, failed
