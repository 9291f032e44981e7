"""What one look at NVML brought to light, before anyone judges it. It passes from a child process as JSON."""

from enum import StrEnum

from stage_contract.gpu_health import HealthModel

# What the reading process is asked: the host, and `gpu 0`, a GPU by its index.
SYSTEM = "system"
GPU = "gpu"


class FaultKind(StrEnum):
    """How a read failed: NVML returned a code, did not return in time, or took its process with it."""

    ERROR = "error"
    HANG = "hang"
    DEATH = "death"


class Fault(HealthModel):
    """A read that failed. `code` is NVML's return code for an `error`; `what` says what was asked."""

    kind: FaultKind
    what: str
    code: int | None = None
    text: str = ""


class ProcessReading(HealthModel):
    """A process on a device. `used_mib` is null where the driver does not tell."""

    pid: int
    used_mib: int | None


class DeviceReading(HealthModel):
    """One GPU or MIG slice. Null is what the device does not support; what failed is null too, and in `faults`.

    `gpu_uuid` and `gpu_index` (from 0) are the physical GPU's, which a slice is a part of; `gpu_instance` is a
    slice's.
    """

    device_uuid: str
    gpu_uuid: str
    gpu_index: int
    name: str
    gpu_instance: int | None = None
    compute_capability: str | None = None
    total_mib: int | None = None
    used_mib: int | None = None
    utilization: float | None = None
    temperature_c: int | None = None
    power_w: float | None = None
    slowdowns: tuple[str, ...] = ()
    ecc_uncorrected: int | None = None
    rows_remapped: int | None = None
    remap_pending: bool | None = None
    remap_failed: bool | None = None
    pages_pending: bool | None = None
    recovery_action: str | None = None
    processes: tuple[ProcessReading, ...] = ()
    faults: tuple[Fault, ...] = ()


class SystemReading(HealthModel):
    """NVML's start and what it says of the host. With a `fault`, NVML did not start and the rest is empty.

    Versions are as NVML words them. `gpu_count` counts physical GPUs, lost ones included.
    """

    fault: Fault | None = None
    driver_version: str | None = None
    nvml_version: str | None = None
    cuda_version: int | None = None
    gpu_count: int = 0


class GpuReading(HealthModel):
    """A physical GPU: itself, or its slices where MIG is on. With a `fault`, it could not be read at all."""

    gpu_uuid: str | None = None
    devices: tuple[DeviceReading, ...] = ()
    fault: Fault | None = None


class HostReading(HealthModel):
    """One look at the host; `gpus` are in NVML's order. `stuck_pids` are readers that were killed and do not end."""

    system: SystemReading
    gpus: tuple[GpuReading, ...] = ()
    stuck_pids: tuple[int, ...] = ()

    @property
    def devices(self) -> tuple[DeviceReading, ...]:
        """All devices that could be read."""
        return tuple(device for gpu in self.gpus for device in gpu.devices)

    @property
    def gpu_uuids(self) -> frozenset[str]:
        """The physical GPUs that could be read."""
        return frozenset(gpu.gpu_uuid for gpu in self.gpus if gpu.gpu_uuid is not None)

    @property
    def gpu_faults(self) -> dict[int, Fault]:
        """Why GPUs could not be read, by index."""
        return {index: gpu.fault for index, gpu in enumerate(self.gpus) if gpu.fault is not None}
