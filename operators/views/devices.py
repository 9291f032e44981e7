"""The GPUs as they stand, what was leased of them, where stages run, and who changed that."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta

from sqlalchemy import Connection, RowMapping

from operators.database import Database, transaction
from operators.gpu.breaker import Breaker, BreakerState
from operators.gpu.breaker_store import breakers_at
from operators.gpu.configuration import GpuConfiguration, GpuDevice
from operators.gpu.lease import held_leases
from operators.gpu.standing import HOLDER_DEAD_AFTER_S, DeviceStanding, GpuState, HeldLease, device_standings
from operators.queries import query
from operators.routing import GPU_STAGES, DevicePolicy
from operators.views.vram import LeasedSpan, LeasedVram, leased_over_time
from stage_contract.gpu_health import DeviceHealth, HostHealth
from stage_contract.vocabulary import Stage

STEPS = 240
"""Of a chart: as many as a person can tell apart."""


@dataclass(frozen=True)
class ShownLease:
    """A lease that has not ended. `device_uuid` and the columns after it are none while it waits."""

    lease_id: int
    dag_id: str
    run_id: str
    task_id: str
    stage: Stage
    need_mib: int
    priority: int
    asked_at: datetime
    silent_s: float
    device_uuid: str | None
    leased_mib: int | None
    is_trial: bool | None
    granted_at: datetime | None
    peak_mib: int | None

    @property
    def is_abandoned(self) -> bool:
        """Whether its task is dead."""
        return self.silent_s >= HOLDER_DEAD_AFTER_S


@dataclass(frozen=True)
class ShownDevice:
    """A configured GPU. `seen` is what the agent reads of it, none where it tells nothing of it.

    `standing` leaves the breaker aside, so that its message is about the device's health.
    """

    device: GpuDevice
    standing: DeviceStanding
    seen: DeviceHealth | None
    breaker: Breaker
    leased: LeasedVram


@dataclass(frozen=True)
class StageRouting:
    """Where a stage runs. What comes after the policy is none where nobody ever chose."""

    stage: Stage
    policy: DevicePolicy
    changed_at: datetime | None = None
    changed_by: str | None = None
    reason: str | None = None


@dataclass(frozen=True)
class DevicesView:
    """All of it at one moment. `retired` are breakers of devices that are no longer configured, and not closed."""

    devices: tuple[ShownDevice, ...]
    retired: tuple[Breaker, ...]
    leases: tuple[ShownLease, ...]
    routing: tuple[StageRouting, ...]


def read_devices(
    database: Database, configuration: GpuConfiguration, health: HostHealth, now: datetime, hours: int
) -> DevicesView:
    """How everything stands, with the leases of the last `hours`. Nothing is written: whoever looks may not act."""
    held = held_leases(database)
    with transaction(database) as connection:
        stored = breakers_at(connection, now)
        spans = _leased_spans(connection, now - timedelta(hours=hours))
        leases = tuple(map(_shown_lease, connection.execute(query("list_active_leases")).mappings()))
        routing = _read_routing(connection)
    configured = {device.uuid for device in configuration.devices}
    return DevicesView(
        devices=_shown_devices(configuration, health, stored, held, spans, now, hours),
        retired=tuple(
            breaker
            for uuid, breaker in stored.items()
            if uuid not in configured and breaker.state is not BreakerState.CLOSED
        ),
        leases=leases,
        routing=routing,
    )


def _shown_devices(
    configuration: GpuConfiguration,
    health: HostHealth,
    stored: Mapping[str, Breaker],
    held: Mapping[str, Sequence[HeldLease]],
    spans: Mapping[str, Sequence[LeasedSpan]],
    now: datetime,
    hours: int,
) -> tuple[ShownDevice, ...]:
    seen = {device.device_uuid: device for device in health.devices}
    # A need of 0 MiB, and no breaker: what is left is health.
    standings = device_standings(GpuState(configuration, health, {}, held, now), 0, 0.0)
    return tuple(
        ShownDevice(
            device=device,
            standing=standing,
            seen=seen.get(device.uuid),
            breaker=stored.get(device.uuid, Breaker(device.uuid)),
            leased=leased_over_time(spans.get(device.uuid, ()), now - timedelta(hours=hours), now, STEPS),
        )
        for device, standing in zip(configuration.devices, standings, strict=True)
    )


def _leased_spans(connection: Connection, since: datetime) -> dict[str, list[LeasedSpan]]:
    spans: dict[str, list[LeasedSpan]] = {}
    for row in connection.execute(query("list_granted_leases"), {"since": since}):
        spans.setdefault(row.device_uuid, []).append(LeasedSpan(row.leased_mib, row.granted_at, row.ended_at))
    return spans


def _shown_lease(row: RowMapping) -> ShownLease:
    values = {field.name: row[field.name] for field in fields(ShownLease)}
    return ShownLease(**{**values, "stage": Stage(row["stage"]), "silent_s": float(row["silent_s"])})


def _read_routing(connection: Connection) -> tuple[StageRouting, ...]:
    chosen = {
        row.stage: StageRouting(Stage(row.stage), DevicePolicy(row.policy), row.changed_at, row.changed_by, row.reason)
        for row in connection.execute(query("list_stage_routing"))
    }
    return tuple(chosen.get(stage, StageRouting(stage, DevicePolicy.AUTO)) for stage in GPU_STAGES)
