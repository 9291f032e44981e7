"""Leases: a task's claim on the VRAM of one device, in Postgres.

    ask ──► waiting ── try_grant ──► granted ── renew, renew, … ──► release
                                        └── its task silent, its container gone ──► reclaim

Nothing is granted over what a device has, less what other processes take: grants are made one at a time,
under a lock. What an earlier try of a task holds, a later one takes over.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, RowMapping

from operators.clean_text import storable
from operators.database import Database, transaction
from operators.errors import NightreelError
from operators.gpu import breaker as decide
from operators.gpu.breaker import Breaker, BreakerState
from operators.gpu.breaker_store import age_breakers, change, find_breaker
from operators.gpu.configuration import GpuConfiguration
from operators.gpu.lock import exclusive
from operators.gpu.needs import join_models
from operators.gpu.placement import Room, Sharing, Waiter, place
from operators.gpu.standing import (
    HOLDER_DEAD_AFTER_S,
    WORKING,
    DeviceStanding,
    GpuState,
    HeldLease,
    Hindrance,
    device_standings,
)
from operators.queries import query
from stage_contract.gpu_health import HealthVerdict, HostHealth
from stage_contract.request import TaskKey
from stage_contract.vocabulary import Stage

MOST_HOPEFUL_FIRST = (
    Hindrance.OWN_WORK,
    Hindrance.FOREIGN_USE,
    Hindrance.BREAKER,
    Hindrance.HEALTH,
    Hindrance.SIZE,
)
LeaseEnding = Literal["released", "reclaimed", "withdrawn"]


class LeaseLost(NightreelError):
    """The lease has ended, or was never granted: what runs under it must stop."""


@dataclass(frozen=True)
class LeaseRequest:
    """What a task asks for. `priority` is the task's weight; of two that wait the higher goes first."""

    task: TaskKey
    stage: Stage
    models: tuple[str, ...]
    compute_type: str
    batch_size: int
    need_mib: int
    priority: int
    container_name: str


@dataclass(frozen=True)
class Grant:
    """VRAM of one device. `is_trial`: its breaker is half-open, and this work decides whether it closes."""

    lease_id: int
    device_uuid: str
    leased_mib: int
    is_trial: bool


@dataclass(frozen=True)
class Refusal:
    """Why there is no grant now. `is_hopeless`: no device can serve within patience; go to the CPU.

    `blocked_by` own work means that it is only a matter of its turn: wait without limit. For anything else
    wait as long as patience goes.
    """

    reason: str
    is_hopeless: bool
    blocked_by: Hindrance


@dataclass(frozen=True)
class ReclaimedLease:
    """A lease that was taken back. `device_uuid` is none when it was still waiting."""

    lease_id: int
    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    container_name: str
    device_uuid: str | None


def ask(database: Database, request: LeaseRequest) -> int:
    """Join the queue, or take over what an earlier try of the task holds or waits for.

    What was granted stays as it was granted: compare `Grant.leased_mib` with the need.

    Returns:
        The lease's number.
    """
    row = {
        **request.task.model_dump(exclude={"try_number"}),
        "stage": request.stage,
        "models": storable(join_models(request.models)),
        "compute_type": request.compute_type,
        "batch_size": request.batch_size,
        "need_mib": request.need_mib,
        "priority": request.priority,
        "container_name": request.container_name,
    }
    with transaction(database) as connection:
        lease_id: int = connection.execute(query("ask_lease"), row).scalar_one()
    return lease_id


def try_grant(
    database: Database, lease_id: int, configuration: GpuConfiguration, health: HostHealth
) -> Grant | Refusal:
    """Grant the lease on one device if it is its turn and there is room, and tell that its task lives.

    Call it again every few seconds while it refuses. A lease that is granted already is given again, unless
    its device's breaker has opened since.

    Raises:
        LeaseLost: the lease has ended.
    """
    with exclusive(database) as (connection, now):
        own = connection.execute(query("touch_lease"), {"lease_id": lease_id}).first()
        if own is None:
            raise _lost(lease_id)
        breakers = age_breakers(connection, now)
        if own.device_uuid:
            return _granted_before(own, breakers.get(own.device_uuid, Breaker(own.device_uuid)))
        held, waiting = _active(connection, besides=lease_id)
        state = GpuState(configuration, health, breakers, held, now)
        standings = device_standings(state, own.need_mib, configuration.patience_s)
        request = Waiter(own.lease_id, own.need_mib, own.priority, own.asked_at)
        sharing = Sharing(configuration.whole_device)
        room = place(request, waiting, rooms(state, standings), sharing)
        if room is None:
            return refusal(Stage(own.stage), own.need_mib, standings)
        standing = next(found for found in standings if found.device_uuid == room.device_uuid)
        return _grant(connection, now, request, standing, sharing.leased_mib(room, request.need_mib), room.is_trial)


def renew(database: Database, lease_id: int, container_id: str | None = None, peak_mib: int | None = None) -> Breaker:
    """Tell that the lease's task lives, in which container it works, and how much that was seen to take.

    Returns:
        Its device's breaker. Unless that `allows` the lease, the container must stop.

    Raises:
        LeaseLost: the lease has ended, or was never granted.
    """
    row = {"lease_id": lease_id, "container_id": container_id, "peak_mib": peak_mib}
    with transaction(database) as connection:
        renewed = connection.execute(query("renew_lease"), row).first()
        if renewed is None:
            raise _lost(lease_id)
        return decide.pass_time(find_breaker(connection, renewed.device_uuid), renewed.renewed_at)


def release(database: Database, lease_id: int, ending: LeaseEnding = "released") -> None:
    """End the lease. Doing it again changes nothing.

    When it was a trial of which neither `succeed` nor `fail` was told, another may try the device.
    """
    with exclusive(database) as (connection, now):
        ended = connection.execute(query("end_lease"), {"lease_id": lease_id, "ending": ending}).first()
        if ended and ended.device_uuid:
            _abandon_trial(connection, now, ended.device_uuid, lease_id)


def reclaim(database: Database, container_is_there: Callable[[str], bool]) -> list[ReclaimedLease]:
    """Take back the leases of tasks that are silent, 20 s after their last word.

    A granted one only when its container, asked for by name, is not there any more or does not run.

    Returns:
        What was taken back by this call.
    """
    with transaction(database) as connection:
        silent = connection.execute(query("list_silent_leases"), {"silent_s": HOLDER_DEAD_AFTER_S}).all()
    reclaimed = []
    for lease in silent:
        # Asked outside of the lock: the engine may be slow.
        if lease.device_uuid and container_is_there(lease.container_name):
            continue
        with exclusive(database) as (connection, now):
            row = {"lease_id": lease.lease_id, "renewed_at": lease.renewed_at}
            if connection.execute(query("reclaim_lease"), row).first() is None:
                continue
            if lease.device_uuid:
                _abandon_trial(connection, now, lease.device_uuid, lease.lease_id)
        reclaimed.append(
            ReclaimedLease(
                lease.lease_id,
                lease.dag_id,
                lease.run_id,
                lease.task_id,
                lease.map_index,
                lease.container_name,
                lease.device_uuid,
            )
        )
    return reclaimed


def held_leases(database: Database) -> dict[str, list[HeldLease]]:
    """The granted leases of each device, the older first."""
    with transaction(database) as connection:
        return _active(connection)[0]


def rooms(state: GpuState, standings: tuple[DeviceStanding, ...]) -> list[Room]:
    """Devices that may be given work now. One that is too small for this work may suit others that wait."""
    return [
        Room(
            device_uuid=standing.device_uuid,
            usable_mib=standing.usable_mib,
            leased_mib=standing.leased_mib,
            leases=len(state.leases.get(standing.device_uuid, ())),
            rank=_rank(standing),
            is_trial=standing.breaker is BreakerState.HALF_OPEN,
        )
        for standing in standings
        if standing.verdict in WORKING
        and state.breakers.get(standing.device_uuid, Breaker(standing.device_uuid)).takes_work
    ]


def refusal(stage: Stage, need_mib: int, standings: tuple[DeviceStanding, ...]) -> Refusal:
    """Why nothing is granted. A device that nothing hinders is taken by own work, or kept for who came earlier."""
    by = {standing.hindrance or Hindrance.OWN_WORK for standing in standings}
    blocked = next((hindrance for hindrance in MOST_HOPEFUL_FIRST if hindrance in by), Hindrance.SIZE)
    told = "; ".join(f"{standing.label} {_said(standing)}" for standing in standings) or "no GPU is configured"
    is_hopeless = all(standing.hindrance and not standing.may_pass for standing in standings)
    return Refusal(f"{stage} needs {need_mib} MiB on one GPU: {told}", is_hopeless, blocked)


def _said(standing: DeviceStanding) -> str:
    if standing.hindrance:
        return standing.message
    free = standing.usable_mib - standing.leased_mib
    return f"has {max(0, free)} of {standing.usable_mib} MiB free, the rest is leased; its turn comes"


def _rank(standing: DeviceStanding) -> int:
    if standing.breaker is BreakerState.HALF_OPEN:
        return 2
    return 1 if standing.verdict is HealthVerdict.DEGRADED else 0


def _granted_before(own: Any, breaker: Breaker) -> Grant | Refusal:
    if breaker.allows(own.lease_id):
        return Grant(own.lease_id, own.device_uuid, own.leased_mib, own.is_trial)
    return Refusal(f"{own.device_uuid} failed since it was leased: {breaker.reason}", True, Hindrance.BREAKER)


def _grant(
    connection: Connection,
    now: datetime,
    request: Waiter,
    standing: DeviceStanding,
    leased_mib: int,
    is_trial: bool,
) -> Grant:
    row = {
        "lease_id": request.lease_id,
        "device_uuid": standing.device_uuid,
        "leased_mib": leased_mib,
        "capacity_mib": standing.capacity_mib,
        "foreign_mib": standing.foreign_mib,
        "is_trial": is_trial,
    }
    connection.execute(query("grant_lease"), row)
    if is_trial:
        change(
            connection,
            now,
            standing.device_uuid,
            lambda breaker: decide.begin_trial(breaker, now, request.lease_id),
        )
    return Grant(request.lease_id, standing.device_uuid, leased_mib, is_trial)


def _active(connection: Connection, besides: int | None = None) -> tuple[dict[str, list[HeldLease]], list[Waiter]]:
    """The granted leases by device, and those who wait and live."""
    held: dict[str, list[HeldLease]] = {}
    waiting = []
    for row in connection.execute(query("list_active_leases")).mappings():
        if row["lease_id"] == besides:
            continue
        if row["device_uuid"]:
            held.setdefault(row["device_uuid"], []).append(_held(row))
        elif row["silent_s"] < HOLDER_DEAD_AFTER_S:
            waiting.append(Waiter(row["lease_id"], row["need_mib"], row["priority"], row["asked_at"]))
    return held, waiting


def _held(row: RowMapping) -> HeldLease:
    values = {field.name: row[field.name] for field in fields(HeldLease)}
    return HeldLease(**{**values, "stage": Stage(row["stage"])})


def _abandon_trial(connection: Connection, now: datetime, device_uuid: str, lease_id: int) -> None:
    change(connection, now, device_uuid, lambda breaker: decide.abandon_trial(breaker, now, lease_id))


def _lost(lease_id: int) -> LeaseLost:
    return LeaseLost(
        f"a lease must be held by the task that works under it: lease {lease_id} has ended or was never granted; "
        "stop the work, its items are taken up by another attempt"
    )
