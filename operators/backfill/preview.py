"""What a backfill would do: its plan, made and thrown away."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from itertools import islice

from sqlalchemy import Connection, Engine

from operators.backfill.backlog import backlog_totals, extend_plan
from operators.backfill.estimate import Estimate, item_work, stretched
from operators.backfill.held_back import HeldBack, count_held_back
from operators.backfill.night_settings import NightSettings
from operators.backfill.pace import runs_wanted
from operators.backfill.packer import Learned, Packer
from operators.backfill.report import LongAsset, find_too_long
from operators.backfill.report_text import NO_NIGHTS, TOO_LONG_REMEDY, counted, held_back_line, hours_long
from operators.backfill.store import (
    MOST_LOOKED_AT,
    NewBackfill,
    PackedShard,
    WaitingItem,
    find_backfill,
    named_items,
    open_backfill,
    waiting_items,
)
from operators.gpu.configuration import GpuConfiguration
from operators.report import clock
from operators.routing import DevicePolicy
from operators.scan.rules import ScanRules

MOST_SHOWN = 20
NO_END_S = math.inf


@dataclass(frozen=True)
class ShardPreview:
    """A shard that would be launched."""

    assets: int
    media_s: float
    time: Estimate


@dataclass(frozen=True)
class Plan:
    """What a backfill would do.

    `on_cpu` and `on_gpu` are how long all of it takes by the clock, with as many runs side by side as keep the pools
    busy; without a GPU the second is for one. `nights` are as long as `night`, whether nights are set or not.
    """

    assets: int
    guessed: int
    media_s: float
    guessed_media_s: float
    shards: int
    on_cpu: Estimate
    on_gpu: Estimate
    has_gpu: bool
    nights: int
    night: timedelta
    are_nights_set: bool
    held_back: HeldBack
    first_shards: tuple[ShardPreview, ...]
    first_assets: tuple[str, ...]
    too_long: tuple[LongAsset, ...]


@dataclass
class _Totals:
    """Work of all that waits on either device, summed as it is read."""

    cpu: Estimate
    gpu: Estimate


def preview(
    database: Engine,
    new: NewBackfill,
    settings: NightSettings,
    gpus: GpuConfiguration,
    rules: ScanRules,
    now: datetime,
) -> Plan:
    """The plan of a backfill that is not kept: all is rolled back."""
    with database.connect() as connection:
        try:
            return _make_plan(connection, new, settings, gpus, rules, now)
        finally:
            connection.rollback()


def _make_plan(
    connection: Connection,
    new: NewBackfill,
    settings: NightSettings,
    gpus: GpuConfiguration,
    rules: ScanRules,
    now: datetime,
) -> Plan:
    connection.begin()
    has_gpu = bool(gpus.devices) and new.scope.device is not DevicePolicy.CPU
    learned = Learned.read(connection)
    backfill_id = open_backfill(connection, new)
    rates, densities = learned.rates, learned.densities
    extend_plan(connection, backfill_id, new.scope, new.wanted, rates, densities, has_gpu, now, rules)
    packer = Packer(learned, new.scope, has_gpu, settings.shard_minutes)
    totals = _Totals(Estimate(), Estimate())
    found = backlog_totals(connection, backfill_id)
    share_s = found.expected_s / runs_wanted(settings.cpu_slots, gpus.slots if has_gpu else 0)
    shards, first = _pack_all(_summed(waiting_items(connection, backfill_id), learned, totals), packer, share_s)
    on_cpu = _by_the_clock(totals.cpu, shards, Packer(learned, new.scope, False, settings.shard_minutes), settings, 0)
    gpu_packer = Packer(learned, new.scope, True, settings.shard_minutes)
    on_gpu = _by_the_clock(totals.gpu, shards, gpu_packer, settings, max(1, gpus.slots))
    here = on_gpu if has_gpu else on_cpu
    return Plan(
        assets=found.assets,
        guessed=found.guessed,
        media_s=found.media_s,
        guessed_media_s=found.guessed_media_s,
        shards=shards,
        on_cpu=on_cpu,
        on_gpu=on_gpu,
        has_gpu=has_gpu,
        nights=math.ceil(here.expected_s / settings.night.total_seconds()),
        night=settings.night,
        are_nights_set=settings.hours is not None,
        held_back=count_held_back(connection, find_backfill(connection, backfill_id)),
        first_shards=first,
        first_assets=tuple(name for name, _ in named_items(connection, backfill_id, "list_first_items", MOST_SHOWN)),
        too_long=find_too_long(connection, backfill_id, packer, settings.night),
    )


def _summed(items: Iterator[WaitingItem], learned: Learned, totals: _Totals) -> Iterator[WaitingItem]:
    for item in items:
        totals.cpu += item_work(item.facts, item.stages, False, learned.rates)
        totals.gpu += item_work(item.facts, item.stages, True, learned.rates)
        yield item


def _pack_all(items: Iterator[WaitingItem], packer: Packer, share_s: float) -> tuple[int, tuple[ShardPreview, ...]]:
    """How many shards there would be, and the first of them."""
    shards, first = 0, list[ShardPreview]()
    buffer = list(islice(items, MOST_LOOKED_AT))
    while packed := packer.pack(buffer, NO_END_S, share_s):
        shards += 1
        if len(first) < MOST_SHOWN:
            first.append(_shown(packed))
        taken = len(packed.asset_ids)
        buffer = buffer[taken:] + list(islice(items, taken))
    return shards, tuple(first)


def _shown(packed: PackedShard) -> ShardPreview:
    return ShardPreview(len(packed.asset_ids), packed.media_s, packed.time)


def _by_the_clock(work: Estimate, shards: int, packer: Packer, settings: NightSettings, gpu_slots: int) -> Estimate:
    """How long all of it takes with runs side by side: the stretch of one holds that it runs beside others."""
    total = stretched(work, packer.overhead_s * shards, packer.learned.stretch)
    at_once = max(1, min(runs_wanted(settings.cpu_slots, gpu_slots), shards))
    return Estimate(total.expected_s / at_once, total.shortest_s / at_once, total.longest_s / at_once)


def plan_summary(plan: Plan, zone: tzinfo) -> list[str]:
    """What fits a note."""
    held_back = [held_back_line(plan.held_back, zone)] if plan.held_back else []
    if not plan.assets:
        nothing = "nothing else lacks a current result" if held_back else "nothing lacks a current result"
        return [f"dry run: {nothing}; nothing would be launched", *held_back]
    guessed = (
        f" ({plan.guessed_media_s / 3600:.1f} h of it, in {counted(plan.guessed, 'asset')}, reckoned from file sizes)"
        if plan.guessed
        else ""
    )
    lines = [
        f"dry run: {counted(plan.assets, 'asset')}, {plan.media_s / 3600:.1f} h of media{guessed}; "
        f"{counted(plan.shards, 'shard')}",
        f"on the CPU {_span(plan.on_cpu)}; on a GPU {_span(plan.on_gpu)}"
        + ("" if plan.has_gpu else " (none is used here)"),
        f"nights of {_night(plan)} needed: {plan.nights}{'' if plan.are_nights_set else NO_NIGHTS}",
        *held_back,
    ]
    if plan.too_long:
        lines.append(
            f"{counted(len(plan.too_long), 'asset')} too long for a night of {_night(plan)}; {TOO_LONG_REMEDY}"
        )
    return lines


def plan_lines(plan: Plan, zone: tzinfo) -> list[str]:
    """The whole plan, a line each: the sums, the first runs, the first assets."""
    shards = [
        f"shard {number}: {counted(shard.assets, 'asset')}, {clock(shard.media_s)} of media, {_span(shard.time)}"
        for number, shard in enumerate(plan.first_shards, start=1)
    ]
    too_long = [
        f"too long for a night of {_night(plan)}: {asset.name}, up to {clock(asset.longest_s)}"
        for asset in plan.too_long
    ]
    first = [f"first: {name}" for name in plan.first_assets]
    return [*plan_summary(plan, zone), *too_long, *shards, *first]


def _night(plan: Plan) -> str:
    return hours_long(plan.night.total_seconds())


def _span(time: Estimate) -> str:
    return f"{clock(time.expected_s)} ({clock(time.shortest_s)} to {clock(time.longest_s)})"
