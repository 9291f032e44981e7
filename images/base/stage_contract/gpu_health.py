"""What the GPU agent tells about a host's devices: the JSON of its `/health`."""

from enum import StrEnum
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field


class HealthVerdict(StrEnum):
    """`degraded` devices work, slower or with a warning. `unknown` is treated as unhealthy."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"
    UNKNOWN = "unknown"


class HealthCode(StrEnum):
    """What is wrong, in a word. The first group is about the host, the second about one device."""

    DRIVER_MISMATCH = "driver_mismatch"
    DRIVER_NOT_LOADED = "driver_not_loaded"
    NVML_MISSING = "nvml_missing"
    NVML_HANGS = "nvml_hangs"
    NVML_ERROR = "nvml_error"
    UNREACHABLE = "unreachable"
    NONSENSE = "nonsense"

    GPU_LOST = "gpu_lost"
    NOT_FOUND = "not_found"
    RECOVERY_NEEDED = "recovery_needed"
    FATAL_XID = "fatal_xid"
    WATCHED_XID = "watched_xid"
    ECC_UNCORRECTED = "ecc_uncorrected"
    ROW_REMAP_FAILED = "row_remap_failed"
    ROW_REMAP_PENDING = "row_remap_pending"
    THERMAL_SLOWDOWN = "thermal_slowdown"
    POWER_BRAKE = "power_brake"


class XidSeverity(StrEnum):
    """Whose fault an Xid tells of: the application's, the device's, or one to watch."""

    APPLICATION = "application"
    WATCH = "watch"
    DEVICE = "device"


class HealthModel(BaseModel):
    """Unknown fields are refused: an answer that is not understood is `unknown`, not healthy."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class HealthReason(HealthModel):
    """Why a verdict is not `healthy`. `message` is for a person: what was found, and what to do."""

    code: HealthCode
    message: str


class XidEvent(HealthModel):
    """An error that the driver reported about a device, NVIDIA's number for it."""

    occurred_at: AwareDatetime
    xid: int = Field(ge=0)
    severity: XidSeverity


class GpuProcess(HealthModel):
    """A process on a device. `used_mib` is null where the driver does not tell.

    `container_id` is the Docker container that it runs in, null outside of one.
    """

    pid: int = Field(ge=0)
    used_mib: int | None = Field(ge=0)
    container_id: str | None = None


class ContainerPeak(HealthModel):
    """The most VRAM that a container's processes were seen to take together on a device, ended ones included."""

    container_id: str
    peak_mib: int = Field(ge=0)


class DeviceHealth(HealthModel):
    """One GPU or MIG slice. Null: the device does not report it (`not supported`), which is no fault.

    `total_mib` is what all processes together can take: the device's memory without what the driver keeps for
    itself. `used_mib` is what they take. Drivers before 510 do not tell their reserve: it is in both then.
    """

    device_uuid: str
    name: str
    verdict: HealthVerdict
    reasons: tuple[HealthReason, ...] = ()
    compute_capability: str | None = None
    total_mib: int | None = Field(default=None, ge=0)
    used_mib: int | None = Field(default=None, ge=0)
    utilization: float | None = Field(default=None, ge=0, le=1)
    temperature_c: int | None = None
    power_w: float | None = Field(default=None, ge=0)
    slowdowns: tuple[str, ...] = ()
    ecc_uncorrected: int | None = Field(default=None, ge=0)
    rows_remapped: int | None = Field(default=None, ge=0)
    recovery_action: str | None = None
    processes: tuple[GpuProcess, ...] = ()
    peaks: tuple[ContainerPeak, ...] = ()
    xids: tuple[XidEvent, ...] = ()


class HostHealth(HealthModel):
    """All devices of a host. The verdict is the worst of its devices', or the host's own where NVML fails.

    `observed_at` is when NVML was last asked, in vain or not; `reasons` are those about the host as a whole. A
    device that was read once is told until the agent ends, also when it is gone.
    """

    schema_version: Literal[1] = 1
    observed_at: AwareDatetime
    verdict: HealthVerdict
    reasons: tuple[HealthReason, ...] = ()
    driver_version: str | None = None
    library_version: str | None = None
    cuda_version: str | None = None
    devices: tuple[DeviceHealth, ...] = ()
