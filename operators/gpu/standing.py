"""How each device stands for some work: usable, or what is in its way and whether that may pass. Does no I/O."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from operators.gpu.breaker import Breaker, BreakerState
from operators.gpu.configuration import GpuConfiguration, GpuDevice
from stage_contract.gpu_health import DeviceHealth, HealthCode, HealthReason, HealthVerdict, HostHealth
from stage_contract.vocabulary import Stage

PASSING_CODES = frozenset({HealthCode.UNREACHABLE, HealthCode.NVML_HANGS, HealthCode.NVML_ERROR, HealthCode.NONSENSE})
"""Nothing is known then; a little later it may be."""

DRIVER_CODES = frozenset({HealthCode.DRIVER_MISMATCH, HealthCode.DRIVER_NOT_LOADED, HealthCode.NVML_MISSING})
"""Where the host is unhealthy for them, no device of it works. A mismatch that NVML works with is a warning only."""

MUTE_CODES = frozenset({HealthCode.UNREACHABLE, HealthCode.NONSENSE})
"""What is said of devices beside it counts for nothing."""

WORKING = frozenset({HealthVerdict.HEALTHY, HealthVerdict.DEGRADED})


HOLDER_DEAD_AFTER_S = 20.0
"""A lease's task renews it every few seconds; after so many without a word it is taken for dead."""


class Hindrance(StrEnum):
    """What keeps work off a device."""

    SIZE = "size"
    HEALTH = "health"
    BREAKER = "breaker"
    FOREIGN_USE = "foreign_use"
    OWN_WORK = "own_work"


@dataclass(frozen=True)
class HeldLease:
    """A granted lease that has not ended. `container_id` is none until its container was started."""

    lease_id: int
    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    stage: Stage
    device_uuid: str
    leased_mib: int
    container_name: str
    container_id: str | None
    is_trial: bool
    granted_at: datetime
    silent_s: float = 0.0
    peak_mib: int | None = None

    @property
    def is_abandoned(self) -> bool:
        """Whether its task is dead: only its container, if that still runs, keeps the VRAM."""
        return self.silent_s >= HOLDER_DEAD_AFTER_S


@dataclass(frozen=True)
class DeviceStanding:
    """A device as it stands for a need, in MiB. Without a hindrance it is usable.

    `usable_mib` is what our leases may take in all: the capacity, or less where other processes
    (`foreign_mib`) or containers of dead tasks (`abandoned_mib`) take some of that. `leased_mib` is what living
    tasks lease. `may_pass`: waiting as long as patience goes may help. `message` says it
    to a person, as the end of a sentence that begins with the device.
    """

    device_uuid: str
    name: str
    verdict: HealthVerdict
    breaker: BreakerState
    capacity_mib: int
    usable_mib: int
    foreign_mib: int
    abandoned_mib: int
    leased_mib: int
    hindrance: Hindrance | None
    may_pass: bool
    message: str

    @property
    def is_usable(self) -> bool:
        """Whether the work may go there, once our own leases leave room."""
        return self.hindrance is None

    @property
    def label(self) -> str:
        """UUID and name."""
        return f"{self.device_uuid} ({self.name})" if self.name else self.device_uuid


@dataclass(frozen=True)
class GpuState:
    """What is known about the deployment's devices at one moment.

    `breakers` lacks devices that never failed; `leases` are the granted ones by device.
    """

    configuration: GpuConfiguration
    health: HostHealth
    breakers: Mapping[str, Breaker]
    leases: Mapping[str, Sequence[HeldLease]]
    now: datetime


def device_standings(state: GpuState, need_mib: int, patience_s: float) -> tuple[DeviceStanding, ...]:
    """Every configured device, in order. Our own leases hinder nothing here: their end is waited for in the pool."""
    return tuple(_standing(state, device, need_mib, patience_s) for device in state.configuration.devices)


def foreign_mib(device: DeviceHealth, leases: Sequence[HeldLease]) -> int:
    """VRAM that is taken by processes outside of the leases' containers, in MiB.

    Where the driver does not tell what each process takes, the leases are thought to be drawn in full.
    """
    if device.used_mib is None:
        return 0
    containers = {lease.container_id for lease in leases if lease.container_id}
    own = [process.used_mib for process in device.processes if process.container_id in containers]
    if any(process.used_mib is None for process in device.processes):
        return max(0, device.used_mib - sum(lease.leased_mib for lease in leases))
    return max(0, device.used_mib - sum(used for used in own if used is not None))


def _standing(state: GpuState, device: GpuDevice, need_mib: int, patience_s: float) -> DeviceStanding:
    seen = next((found for found in state.health.devices if found.device_uuid == device.uuid), None)
    leases = state.leases.get(device.uuid, ())
    breaker = state.breakers.get(device.uuid, Breaker(device.uuid))
    verdict, reasons = _health(state.health, seen)
    foreign = foreign_mib(seen, leases) if seen else 0
    abandoned = sum(lease.leased_mib for lease in leases if lease.is_abandoned)
    usable = max(0, _usable_mib(device, seen, foreign) - abandoned)
    hindrance, may_pass, message = None, False, _well(verdict, reasons, usable)
    if device.capacity_mib < need_mib:
        hindrance, message = Hindrance.SIZE, _too_small(device, need_mib)
    elif verdict not in WORKING:
        hindrance, message = Hindrance.HEALTH, _sick(verdict, reasons)
        may_pass = bool(reasons) and all(reason.code in PASSING_CODES for reason in reasons)
    elif not breaker.takes_work:
        hindrance, message = Hindrance.BREAKER, _out_of_service(breaker)
        may_pass = _opens_within(breaker, state.now, patience_s)
    elif usable < need_mib:
        hindrance, may_pass, message = Hindrance.FOREIGN_USE, True, _taken(device, usable, foreign, abandoned, need_mib)
    return DeviceStanding(
        device_uuid=device.uuid,
        name=seen.name if seen else "",
        verdict=verdict,
        breaker=breaker.state,
        capacity_mib=device.capacity_mib,
        usable_mib=usable,
        foreign_mib=foreign,
        abandoned_mib=abandoned,
        leased_mib=sum(lease.leased_mib for lease in leases if not lease.is_abandoned),
        hindrance=hindrance,
        may_pass=may_pass,
        message=message,
    )


def _health(host: HostHealth, seen: DeviceHealth | None) -> tuple[HealthVerdict, tuple[HealthReason, ...]]:
    """What holds for one device. Of the host's faults only those count that leave nothing to say of a device."""
    codes = {reason.code for reason in host.reasons}
    if codes & DRIVER_CODES and _is_ill_itself(host, seen):
        return HealthVerdict.UNHEALTHY, host.reasons
    if codes & MUTE_CODES or (not seen and host.reasons and host.verdict is HealthVerdict.UNKNOWN):
        return HealthVerdict.UNKNOWN, host.reasons
    if seen:
        return seen.verdict, seen.reasons
    message = "the GPU agent does not find it on this host; correct NIGHTREEL_GPU_DEVICES, `nvidia-smi -L` lists them"
    return HealthVerdict.UNHEALTHY, (HealthReason(code=HealthCode.NOT_FOUND, message=message), *host.reasons)


def _is_ill_itself(host: HostHealth, seen: DeviceHealth | None) -> bool:
    # Its verdict is its worst device's where that is worse than its own, and each device has its own reasons then.
    is_by_a_device = any(device.verdict is HealthVerdict.UNHEALTHY for device in host.devices)
    return host.verdict is HealthVerdict.UNHEALTHY and not (seen and is_by_a_device)


def _usable_mib(device: GpuDevice, seen: DeviceHealth | None, foreign: int) -> int:
    total = seen.total_mib if seen and seen.total_mib is not None else device.vram_mib
    return max(0, min(device.capacity_mib, total - foreign))


def _opens_within(breaker: Breaker, now: datetime, patience_s: float) -> bool:
    if breaker.state is BreakerState.HALF_OPEN:
        return True
    return breaker.half_opens_at is not None and breaker.half_opens_at <= now + timedelta(seconds=max(0.0, patience_s))


def _well(verdict: HealthVerdict, reasons: Sequence[HealthReason], usable: int) -> str:
    why = f" ({_told(reasons)})" if reasons else ""
    return f"is {verdict}{why} and has {usable} MiB for stages"


def _too_small(device: GpuDevice, need_mib: int) -> str:
    return (
        f"has {device.capacity_mib} MiB for stages, too few for {need_mib}; build the image with a smaller model, or "
        "use a larger device"
    )


def _sick(verdict: HealthVerdict, reasons: Sequence[HealthReason]) -> str:
    return f"is {verdict}: {_told(reasons) or 'the GPU agent gives no reason'}"


def _out_of_service(breaker: Breaker) -> str:
    if breaker.state is BreakerState.HALF_OPEN:
        return f"failed before and is being tried by lease {breaker.trial_lease_id}; wait for that to end"
    if breaker.half_opens_at is None:
        return f"was taken out of service by {breaker.changed_by} ({breaker.reason}); close its breaker to put it back"
    return (
        f"failed ({breaker.reason}) and is out of service until {breaker.half_opens_at:%Y-%m-%d %H:%M:%S} UTC; "
        "close its breaker by hand when it is well"
    )


def _taken(device: GpuDevice, usable: int, foreign: int, abandoned: int, need_mib: int) -> str:
    takers = [f"other processes take {foreign}, `nvidia-smi` shows which"] if foreign else []
    takers += [f"containers of dead tasks hold {abandoned}, `make gpu` shows whose"] if abandoned else []
    return f"has {usable} of {device.capacity_mib} MiB left, where {need_mib} are needed: {'; '.join(takers)}; end them"


def _told(reasons: Sequence[HealthReason]) -> str:
    return "; ".join(reason.message for reason in reasons)
