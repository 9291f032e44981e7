"""How everything stands that rules and dashboards ask for: read from Postgres in one go, changing nothing."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, Engine

from operators.backfill.pause import find_pause
from operators.backfill.progress import Progress, read_progress
from operators.backfill.store import open_backfills
from operators.gpu.breaker import Breaker
from operators.gpu.breaker_store import breakers_at
from operators.gpu.configuration import GpuConfiguration
from operators.queries import query
from operators.routing import GPU_STAGES

RECENT = timedelta(hours=1)
"""The window of what happened lately: rows can be deleted, so that a sum over all of them could go down."""


@dataclass(frozen=True)
class PhaseUse:
    """How often a phase ended in the night under way (which begins at noon, UTC), and how long that took together.

    `part` is the stage, or the task where there is none. Variant and device are empty where none is known.
    """

    part: str
    phase: str
    variant: str
    device: str
    occurrences: int
    total_s: float


@dataclass(frozen=True)
class PhaseSpread:
    """How long a phase took in the night under way: half of them, and 19 of 20, took no more; at most 5 % off."""

    part: str
    phase: str
    variant: str
    occurrences: int
    median_s: float
    p95_s: float


@dataclass(frozen=True)
class EndedAttempts:
    """Attempts that ended in the last hour."""

    part: str
    variant: str
    outcome: str
    count: int


@dataclass(frozen=True)
class Fallbacks:
    """How often in the last hour the CPU took work that was meant for a GPU.

    `cause` is `chosen` (no GPU was usable when the stage was to begin), `moved` (it had no GPU left before it began)
    or `device_failed` (while it ran).
    """

    stage: str
    cause: str
    count: int


@dataclass(frozen=True)
class DeviceUse:
    """A GPU that is configured, or whose breaker is not closed. Capacity is none where it is not configured."""

    breaker: Breaker
    capacity_mib: int | None
    leases: int
    leased_mib: int


@dataclass(frozen=True)
class LeasesWaiting:
    """Leases that wait for VRAM, and how long the one that waits longest has waited."""

    count: int
    longest_s: float


@dataclass(frozen=True)
class Reading:
    """All of it at `now`. `read_s` is how long reading took."""

    now: datetime
    phase_uses: tuple[PhaseUse, ...]
    phase_spreads: tuple[PhaseSpread, ...]
    attempts: tuple[EndedAttempts, ...]
    fallbacks: tuple[Fallbacks, ...]
    runs_under_way: dict[str, int]
    devices: tuple[DeviceUse, ...]
    waiting: LeasesWaiting
    backfills: tuple[Progress, ...]
    is_paused: bool
    parked: int
    read_s: float


def read_media(engine: Engine, gpus: GpuConfiguration, deadline_s: float) -> Reading:
    """Read it in one transaction that cannot write. No statement runs longer than `deadline_s`.

    Raises:
        SQLAlchemyError: the database does not answer, or not in time.
    """
    started_s = time.monotonic()
    with engine.connect().execution_options(postgresql_readonly=True) as connection, connection.begin():
        connection.execute(query("limit_statements"), {"limit_ms": int(deadline_s * 1000)})
        now: datetime = connection.execute(query("database_clock")).scalar_one()
        recent = {"since": now - RECENT}
        devices, waiting = _read_devices(connection, gpus, now)
        return Reading(
            now=now,
            phase_uses=tuple(PhaseUse(*row) for row in connection.execute(query("metrics_phase_uses"), {"now": now})),
            phase_spreads=tuple(
                PhaseSpread(*row) for row in connection.execute(query("metrics_phase_spreads"), {"now": now})
            ),
            attempts=tuple(EndedAttempts(*row) for row in connection.execute(query("metrics_attempts"), recent)),
            fallbacks=tuple(
                Fallbacks(*row)
                for row in connection.execute(query("metrics_fallbacks"), {**recent, "stages": list(GPU_STAGES)})
            ),
            runs_under_way={row.dag_id: row.runs for row in connection.execute(query("metrics_runs_under_way"))},
            devices=devices,
            waiting=waiting,
            backfills=tuple(read_progress(connection, number, now) for number in open_backfills(connection)),
            is_paused=find_pause(connection) is not None,
            parked=connection.execute(query("count_failures")).one().parked,
            read_s=time.monotonic() - started_s,
        )


def _read_devices(
    connection: Connection, gpus: GpuConfiguration, now: datetime
) -> tuple[tuple[DeviceUse, ...], LeasesWaiting]:
    leases = connection.execute(query("list_active_leases")).all()
    breakers = breakers_at(connection, now)
    capacities = {device.uuid: device.capacity_mib for device in gpus.devices}
    shown = [*capacities, *sorted(uuid for uuid in breakers if uuid not in capacities)]
    held = {uuid: [row.leased_mib for row in leases if row.device_uuid == uuid] for uuid in shown}
    devices = tuple(
        DeviceUse(breakers.get(uuid, Breaker(uuid)), capacities.get(uuid), len(held[uuid]), sum(held[uuid]))
        for uuid in shown
    )
    return devices, _waiting((row.asked_at for row in leases if row.device_uuid is None), now)


def _waiting(asked: Iterable[datetime], now: datetime) -> LeasesWaiting:
    waits_s = [(now - asked_at).total_seconds() for asked_at in asked]
    return LeasesWaiting(len(waits_s), max(waits_s, default=0.0))
