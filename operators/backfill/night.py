"""One step of a night: settle what has ended, extend the plan, launch what fits.

All that must outlast the process is in Postgres, so a night may be killed between any two lines and goes on with the
next step. A shard is written down with its assets before its run is asked for. Its run's id follows from that: asking
twice is asking once.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial

import httpx
from sqlalchemy import Engine

from operators.airflow_api import UNREACHABLE
from operators.backfill.airflow_runs import MARK, AirflowRuns, shard_conf
from operators.backfill.backlog import extend_plan
from operators.backfill.closing import close_abandoned
from operators.backfill.night_settings import NightSettings
from operators.backfill.pace import rest_s, runs_to_launch, runs_wanted
from operators.backfill.packer import Learned, Packer
from operators.backfill.packing import MOST_ITEMS
from operators.backfill.pause import find_pause
from operators.backfill.progress import progress_lines, read_progress
from operators.backfill.scope import BackfillScope
from operators.backfill.settling import settle_shard, withdraw_shard
from operators.backfill.shards import (
    Shard,
    claim_shard,
    count_shards_under_way,
    forget_launch,
    fruitless_ends,
    mark_launched,
    shard_assets,
    shards_under_way,
    touch_shard,
)
from operators.backfill.store import (
    Backfill,
    begin_extension,
    begun_shards,
    find_backfill,
    hold_backfill,
    next_work_s,
    read_remainder,
)
from operators.gpu.configuration import GpuConfiguration
from operators.routing import DevicePolicy
from operators.scan.rules import ScanRules

SCAN_TASK = "scan_archive"
"""The task beside this one that makes files known."""

EXTEND_EVERY_S = 180.0
# While nothing waits, what the scan finds is taken up soon.
EXTEND_WHEN_IDLE_S = 20.0
# To look through a large archive takes its time: at most a sixth of the night's.
REST_AFTER_EXTENSION = 5.0
LEARN_EVERY_S = 600.0
NOTE_EVERY_S = 30.0
CLOSE_EVERY_S = 120.0
# A request that was given up may still reach Airflow. Only after this long is its absence there believed.
IN_FLIGHT = timedelta(seconds=60)

log = logging.getLogger(__name__)


@dataclass
class Night:
    """What a step needs. The rest of its fields is memory that may be lost: when something was last done."""

    database: Engine
    backfill_id: int
    settings: NightSettings
    gpus: GpuConfiguration
    rules: ScanRules
    open_airflow: Callable[[], AirflowRuns] = AirflowRuns
    clock: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))
    learned: Learned | None = None
    learned_s: float = 0.0
    extended_s: float | None = None
    extension_s: float = 0.0
    has_planned: bool = False
    noted_s: float | None = None
    closed_s: float | None = None
    errors: int = 0
    is_idle: bool = False

    def uses_gpu(self, scope: BackfillScope) -> bool:
        """Whether stages with a GPU build are reckoned as the GPU's."""
        return bool(self.gpus.devices) and scope.device is not DevicePolicy.CPU

    def wanted_runs(self, scope: BackfillScope) -> int:
        """Runs that keep the pools busy."""
        return runs_wanted(self.settings.cpu_slots, self.gpus.slots if self.uses_gpu(scope) else 0)

    def learn(self) -> Learned:
        """What recorded runs teach, not older than ten minutes."""
        if self.learned is None or time.monotonic() - self.learned_s > LEARN_EVERY_S:
            self.learned, self.learned_s = Learned.read(self.database), time.monotonic()
        return self.learned


@dataclass(frozen=True)
class Standing:
    """How the night stands after a step. `told` is for a person, a line each; empty where it is not due."""

    is_over: bool
    told: tuple[str, ...]


def tick(night: Night) -> Standing:
    """One step. Two at a time are not possible: the second does nothing.

    Raises:
        httpx.HTTPError: Airflow is away, or refuses.
        sqlalchemy.exc.SQLAlchemyError: the database is away.
    """
    with hold_backfill(night.database, night.backfill_id) as is_ours:
        if not is_ours:
            return Standing(False, ("another process goes on with it",))
        backfill = find_backfill(night.database, night.backfill_id)
        if backfill.finished_at:
            return Standing(True, ("it is over, and reported",))
        with night.open_airflow() as airflow:
            is_paused = find_pause(night.database) is not None
            _close_abandoned(night, backfill, airflow)
            for shard in shards_under_way(night.database, night.backfill_id):
                _attend_in_peace(night, backfill, shard, airflow, is_paused)
            # Read again: it is to be planned once more when an asset came back.
            is_planned = _extend(night, find_backfill(night.database, night.backfill_id), airflow)
            rest = _rest(night, backfill)
            night.is_idle = rest is None and _launch_more(night, backfill, airflow, is_paused)
            is_over = _is_over(night, backfill, is_planned, is_paused)
            told = _tell(night, backfill, airflow, rest, is_over)
    return Standing(is_over, told)


def _close_abandoned(night: Night, backfill: Backfill, airflow: AirflowRuns) -> None:
    """Take over the shards of backfills that somebody stopped: they would count as under way for ever."""
    if night.closed_s is not None and time.monotonic() - night.closed_s < CLOSE_EVERY_S:
        return
    night.closed_s = time.monotonic()
    own_run = (backfill.dag_id, backfill.run_id)
    for closed_id in close_abandoned(night.database, own_run, night.settings, night.gpus, airflow):
        log.info("backfill %d had ended without a report; it has one now", closed_id)


def _attend_in_peace(night: Night, backfill: Backfill, shard: Shard, airflow: AirflowRuns, is_paused: bool) -> None:
    """Attend to a shard; what Airflow refuses about one must not keep the others from being settled."""
    try:
        _attend(night, backfill, shard, airflow, is_paused)
    except httpx.HTTPStatusError as error:
        if error.response.is_server_error:
            raise
        log.warning("%s is left for the next step: %s", shard.run_id, error)


def _attend(night: Night, backfill: Backfill, shard: Shard, airflow: AirflowRuns, is_paused: bool) -> None:
    """Settle a shard whose run has ended; launch, or withdraw, one whose run is not there or has not begun."""
    run = airflow.find_run(shard.dag_id, shard.run_id)
    now = night.clock()
    may_launch = shard.backfill_id == backfill.backfill_id and _may_launch(backfill, shard, now)
    is_in_flight = now - shard.planned_at < IN_FLIGHT
    if run is None and shard.launched_at is None:
        if may_launch and not is_paused:
            _launch(night, shard, airflow)
        elif not is_in_flight:
            _withdraw(night, shard, now)
    elif run is None or run.has_ended:
        launched_at = shard.launched_at or (run.queued_at if run else None) or shard.planned_at
        ended_at = (run.ended_at if run else None) or now
        end = settle_shard(night.database, shard.shard_id, launched_at, ended_at, night.settings.hours)
        if end:
            log.info(
                "%s ended: %d done, %d rejected, %d failed, %d wait again",
                *(shard.run_id, end.done, end.rejected, end.failed, end.returned),
            )
    elif run.is_queued and not may_launch and not is_in_flight and not _has_begun(night, shard):
        # Should the answer be lost, the shard is found without its run, and withdrawn.
        forget_launch(night.database, shard.shard_id)
        if airflow.delete_run(shard.dag_id, shard.run_id):
            _withdraw(night, shard, now)
    elif shard.launched_at is None:
        mark_launched(night.database, shard.shard_id, run.queued_at or now)


def _has_begun(night: Night, shard: Shard) -> bool:
    """Whether its run has told of itself: one that is queued and has was cleared by a person."""
    return shard.shard_id in begun_shards(night.database, shard.backfill_id)


def _withdraw(night: Night, shard: Shard, now: datetime) -> None:
    if withdraw_shard(night.database, shard.shard_id, now):
        log.info("%s is withdrawn: its assets wait again", shard.run_id)


def _may_launch(backfill: Backfill, shard: Shard, now: datetime) -> bool:
    return backfill.is_open(now) and shard.longest_s <= backfill.room_s(now)


def _launch(night: Night, shard: Shard, airflow: AirflowRuns) -> None:
    asset_ids = shard_assets(night.database, shard.shard_id)
    asked_at = night.clock()
    touch_shard(night.database, shard.shard_id, asked_at)
    airflow.create_run(shard.dag_id, shard.run_id, shard_conf(shard, asset_ids))
    mark_launched(night.database, shard.shard_id, asked_at)
    log.info(
        "%s is launched: %d assets, %.1f min of media, %.1f min expected",
        *(shard.run_id, len(asset_ids), shard.media_s / 60, shard.expected_s / 60),
    )


def _extend(night: Night, backfill: Backfill, airflow: AirflowRuns) -> bool:
    """Take up what the scan made known, and what came back to other backfills; returns whether that was all."""
    if backfill.is_planned:
        return True
    has_scanned = airflow.has_task_ended(backfill.dag_id, backfill.run_id, SCAN_TASK)
    if not _extension_is_due(night, backfill, has_scanned):
        return False
    learned, begun_s = night.learn(), time.monotonic()
    with night.database.begin() as connection:
        if not begin_extension(connection, backfill.backfill_id, has_scanned):
            return True
        added = extend_plan(
            connection,
            backfill.backfill_id,
            backfill.scope,
            backfill.wanted,
            learned.rates,
            learned.densities,
            night.uses_gpu(backfill.scope),
            night.clock(),
            night.rules,
        )
    night.extended_s = time.monotonic()
    night.extension_s = night.extended_s - begun_s
    night.has_planned = has_scanned
    log.info("%d assets without current results are added to the plan", added)
    return has_scanned


def _extension_is_due(night: Night, backfill: Backfill, has_scanned: bool) -> bool:
    if has_scanned and not night.has_planned:
        return True
    every_s = max(
        EXTEND_WHEN_IDLE_S if night.is_idle else EXTEND_EVERY_S,
        REST_AFTER_EXTENSION * night.extension_s,
    )
    is_due = night.extended_s is None or time.monotonic() - night.extended_s >= every_s
    return is_due and backfill.is_open(night.clock())


def _rest(night: Night, backfill: Backfill) -> str | None:
    """Why nothing is launched for a while, for a person; none when it may be."""
    fruitless = fruitless_ends(night.database, backfill.backfill_id)
    if fruitless.ended_at is None:
        return None
    until = fruitless.ended_at + timedelta(seconds=rest_s(fruitless.ends, night.wanted_runs(backfill.scope)))
    if until <= night.clock():
        return None
    until_told = f"{until.astimezone(night.settings.zone):%H:%M:%S}"
    return (
        f"nothing is launched until {until_told}: the last {fruitless.ends} runs came to none of their files; "
        "see their logs"
    )


def _launch_more(night: Night, backfill: Backfill, airflow: AirflowRuns, is_paused: bool) -> bool:
    """Launch until the pools have enough to do; returns whether nothing that waits fits."""
    active, wanted = count_shards_under_way(night.database), night.wanted_runs(backfill.scope)
    to_launch = runs_to_launch(active, wanted, backfill.is_open(night.clock()), is_paused)
    # A run takes so many assets at most: what comes after those of all runs changes no share.
    most = wanted * MOST_ITEMS
    for launched in range(to_launch):
        # Of what the runs before it left: where all are launched at once, nothing stays over for one more.
        share_s = next_work_s(night.database, backfill.backfill_id, most) / (wanted - launched)
        planned_at = night.clock()
        room_s = backfill.room_s(planned_at)
        packer = Packer(night.learn(), backfill.scope, night.uses_gpu(backfill.scope), night.settings.shard_minutes)
        shard = claim_shard(night.database, backfill, planned_at, partial(packer.pack, room_s=room_s, share_s=share_s))
        if shard is None:
            return True
        # The claim may have waited; a shard that is late by now is withdrawn by a later step.
        if not _may_launch(backfill, shard, night.clock()):
            return False
        _launch(night, shard, airflow)
    return False


def _tell(night: Night, backfill: Backfill, airflow: AirflowRuns, rest: str | None, is_over: bool) -> tuple[str, ...]:
    """How it stands, every half minute, in the run's note, and at the end. To count a large plan takes its time."""
    is_due = night.noted_s is None or time.monotonic() - night.noted_s >= NOTE_EVERY_S
    if not is_due and not is_over:
        return ()
    progress = read_progress(night.database, night.backfill_id, night.clock())
    told = (*progress_lines(progress, night.settings.zone), *filter(None, [rest]))
    if is_due:
        _note(night, backfill, airflow, told)
    return told


def _note(night: Night, backfill: Backfill, airflow: AirflowRuns, told: tuple[str, ...]) -> None:
    night.noted_s = time.monotonic()
    try:
        airflow.note_run(backfill.dag_id, backfill.run_id, told, MARK)
    except UNREACHABLE as error:
        log.warning("The note could not be written: %s", error)


def _is_over(night: Night, backfill: Backfill, is_planned: bool, is_paused: bool) -> bool:
    remainder = read_remainder(night.database, night.backfill_id)
    if remainder.is_under_way:
        return False
    is_done = is_planned and (not remainder.is_waiting or (night.is_idle and not is_paused))
    return is_done or not backfill.is_open(night.clock())
