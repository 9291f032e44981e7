"""Reads NVML through nvidia-ml-py. Only child processes import this, for any call may hang.

What a device does not support is null. What failed in another way is null and a fault.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pynvml  # type: ignore[import-untyped]

from gpu_agent.reading import DeviceReading, Fault, FaultKind, GpuReading, ProcessReading, SystemReading

Value = TypeVar("Value")

BYTES_PER_MIB = 1 << 20
# Not supported by this device, by this driver, or not told to this user: no fault of the device.
NOT_SUPPORTED = frozenset(
    {
        pynvml.NVML_ERROR_NOT_SUPPORTED,
        pynvml.NVML_ERROR_NO_PERMISSION,
        pynvml.NVML_ERROR_FUNCTION_NOT_FOUND,
        pynvml.NVML_ERROR_NO_DATA,
        pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH,
        pynvml.NVML_ERROR_DEPRECATED,
    }
)
SLOWDOWNS = {
    pynvml.nvmlClocksEventReasonSwPowerCap: "power_cap",
    pynvml.nvmlClocksEventReasonHwSlowdown: "hardware_slowdown",
    pynvml.nvmlClocksEventReasonSwThermalSlowdown: "software_thermal",
    pynvml.nvmlClocksEventReasonHwThermalSlowdown: "hardware_thermal",
    pynvml.nvmlClocksEventReasonHwPowerBrakeSlowdown: "power_brake",
}
RECOVERY_ACTIONS = {
    pynvml.NVML_GPU_RECOVERY_ACTION_NONE: "none",
    pynvml.NVML_GPU_RECOVERY_ACTION_GPU_RESET: "gpu_reset",
    pynvml.NVML_GPU_RECOVERY_ACTION_NODE_REBOOT: "node_reboot",
    pynvml.NVML_GPU_RECOVERY_ACTION_DRAIN_P2P: "drain_p2p",
    pynvml.NVML_GPU_RECOVERY_ACTION_DRAIN_AND_RESET: "drain_and_reset",
    pynvml.NVML_GPU_RECOVERY_ACTION_RECOVER_IMEX_DOMAIN: "recover_imex_domain",
    pynvml.NVML_GPU_RECOVERY_ACTION_BUS_RESET: "bus_reset",
    pynvml.NVML_GPU_RECOVERY_ACTION_SYSTEM_REBOOT: "system_reboot",
}


@dataclass
class Asker:
    """Asks for one value after another and keeps what failed."""

    faults: list[Fault] = field(default_factory=list)

    def ask(self, what: str, read: Callable[[], Value]) -> Value | None:
        """The value; null when it is not supported, or failed."""
        try:
            return read()
        except pynvml.NVMLError as error:
            if error.value not in NOT_SUPPORTED:
                self.faults.append(fault_of(what, error))
            return None


@dataclass(frozen=True)
class Memory:
    """MiB of a device, without what the driver keeps for itself where that is told."""

    total_mib: int
    used_mib: int


def fault_of(what: str, error: Any) -> Fault:
    """An NVML error as a fault; `what` is in words: `memory`."""
    return Fault(kind=FaultKind.ERROR, what=what, code=error.value, text=str(error))


def read_system(started: bool) -> SystemReading:
    """Start NVML anew, so that a driver that went away is noticed, and read what it says of the host."""
    try:
        if started:
            pynvml.nvmlShutdown()
        pynvml.nvmlInit()
        count = pynvml.nvmlDeviceGetCount()
    except pynvml.NVMLError as error:
        return SystemReading(fault=fault_of("the start of NVML", error))
    asker = Asker()
    return SystemReading(
        driver_version=asker.ask("driver version", pynvml.nvmlSystemGetDriverVersion),
        nvml_version=asker.ask("library version", pynvml.nvmlSystemGetNVMLVersion),
        cuda_version=asker.ask("CUDA version", pynvml.nvmlSystemGetCudaDriverVersion_v2),
        gpu_count=count,
    )


def read_gpu(index: int) -> GpuReading:
    """Read a physical GPU, or its slices where MIG is on. `index` counts GPUs from 0."""
    try:
        gpu = pynvml.nvmlDeviceGetHandleByIndex(index)
        gpu_uuid = str(pynvml.nvmlDeviceGetUUID(gpu))
        asker = Asker()
        mig = asker.ask("MIG mode", lambda: pynvml.nvmlDeviceGetMigMode(gpu))
        if mig is not None and mig[0] == pynvml.NVML_DEVICE_MIG_ENABLE:
            return GpuReading(
                gpu_uuid=gpu_uuid, devices=tuple(_read_device(piece, gpu, gpu_uuid, index) for piece in _slices(gpu))
            )
        return GpuReading(gpu_uuid=gpu_uuid, devices=(_read_device(gpu, gpu, gpu_uuid, index),))
    except pynvml.NVMLError as error:
        return GpuReading(fault=fault_of(f"GPU {index}", error))


def _slices(gpu: Any) -> list[Any]:
    found = []
    for index in range(pynvml.nvmlDeviceGetMaxMigDeviceCount(gpu)):
        try:
            found.append(pynvml.nvmlDeviceGetMigDeviceHandleByIndex(gpu, index))
        except pynvml.NVMLError as error:
            # Places for slices that were not made.
            if error.value not in (pynvml.NVML_ERROR_NOT_FOUND, pynvml.NVML_ERROR_INVALID_ARGUMENT):
                raise
    return found


def _read_device(device: Any, gpu: Any, gpu_uuid: str, gpu_index: int) -> DeviceReading:
    # A slice has memory and processes of its own; temperature, ECC and the like are its GPU's.
    asker = Asker()
    is_slice = device is not gpu
    memory = asker.ask("memory", lambda: _memory(device))
    capability = asker.ask("compute capability", lambda: pynvml.nvmlDeviceGetCudaComputeCapability(gpu))
    utilization = asker.ask("utilization", lambda: pynvml.nvmlDeviceGetUtilizationRates(device).gpu)
    power_mw = asker.ask("power", lambda: pynvml.nvmlDeviceGetPowerUsage(gpu))
    rows = asker.ask("remapped rows", lambda: pynvml.nvmlDeviceGetRemappedRows(gpu))
    pages = asker.ask("retired pages", lambda: pynvml.nvmlDeviceGetRetiredPagesPendingStatus(gpu))
    instance = asker.ask("GPU instance", lambda: pynvml.nvmlDeviceGetGpuInstanceId(device)) if is_slice else None
    return DeviceReading(
        device_uuid=pynvml.nvmlDeviceGetUUID(device),
        gpu_uuid=gpu_uuid,
        gpu_index=gpu_index,
        name=pynvml.nvmlDeviceGetName(device),
        gpu_instance=instance,
        compute_capability=f"{capability[0]}.{capability[1]}" if capability else None,
        total_mib=memory.total_mib if memory else None,
        used_mib=memory.used_mib if memory else None,
        utilization=None if utilization is None else utilization / 100,
        temperature_c=asker.ask("temperature", lambda: _temperature(gpu)),
        power_w=None if power_mw is None else power_mw / 1000,
        slowdowns=asker.ask("slowdowns", lambda: _slowdowns(gpu)) or (),
        ecc_uncorrected=asker.ask("ECC errors", lambda: _ecc_uncorrected(gpu)),
        rows_remapped=rows[0] + rows[1] if rows else None,
        remap_pending=bool(rows[2]) if rows else None,
        remap_failed=bool(rows[3]) if rows else None,
        pages_pending=None if pages is None else bool(pages),
        recovery_action=asker.ask("recovery action", lambda: _recovery_action(gpu)),
        processes=_processes(asker, device),
        faults=tuple(asker.faults),
    )


def _memory(device: Any) -> Memory:
    return _first_supported(lambda: _memory_v2(device), lambda: _memory_v1(device))


def _memory_v2(device: Any) -> Memory:
    told = pynvml.nvmlDeviceGetMemoryInfo(device, version=pynvml.nvmlMemory_v2)
    # Nobody can have the driver's reserve, 500 to 800 MiB of a large card: it is neither room nor use.
    return Memory((told.total - told.reserved) // BYTES_PER_MIB, told.used // BYTES_PER_MIB)


def _memory_v1(device: Any) -> Memory:
    # Drivers before 510. They do not tell the reserve; it is in what is used.
    told = pynvml.nvmlDeviceGetMemoryInfo(device)
    return Memory(told.total // BYTES_PER_MIB, told.used // BYTES_PER_MIB)


def _temperature(gpu: Any) -> int:
    sensor = pynvml.NVML_TEMPERATURE_GPU
    return _first_supported(
        lambda: int(pynvml.nvmlDeviceGetTemperatureV(gpu, sensor)),
        lambda: int(pynvml.nvmlDeviceGetTemperature(gpu, sensor)),
    )


def _slowdowns(gpu: Any) -> tuple[str, ...]:
    # Clocks event reasons were called throttle reasons before driver 535.
    bits = _first_supported(
        lambda: int(pynvml.nvmlDeviceGetCurrentClocksEventReasons(gpu)),
        lambda: int(pynvml.nvmlDeviceGetCurrentClocksThrottleReasons(gpu)),
    )
    return tuple(name for bit, name in SLOWDOWNS.items() if bits & bit)


def _first_supported(newer: Callable[[], Value], older: Callable[[], Value]) -> Value:
    try:
        return newer()
    except pynvml.NVMLError as error:
        if error.value not in NOT_SUPPORTED:
            raise
        return older()


def _ecc_uncorrected(gpu: Any) -> int:
    since_driver_load = pynvml.NVML_VOLATILE_ECC
    return int(pynvml.nvmlDeviceGetTotalEccErrors(gpu, pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, since_driver_load))


def _recovery_action(gpu: Any) -> str | None:
    (value,) = pynvml.nvmlDeviceGetFieldValues(gpu, [pynvml.NVML_FI_DEV_GET_GPU_RECOVERY_ACTION])
    # A driver that does not know the field calls it an invalid argument.
    if value.nvmlReturn == pynvml.NVML_ERROR_INVALID_ARGUMENT:
        return None
    if value.nvmlReturn != pynvml.NVML_SUCCESS:
        raise pynvml.NVMLError(value.nvmlReturn)
    number = int(value.value.uiVal)
    return RECOVERY_ACTIONS.get(number, f"action_{number}")


def _processes(asker: Asker, device: Any) -> tuple[ProcessReading, ...]:
    compute = asker.ask("compute processes", lambda: _compute_processes(device))
    graphics = asker.ask("graphics processes", lambda: _graphics_processes(device))
    # A process that does both is in both lists, each time with all that it uses.
    used_mib: dict[int, int | None] = {}
    for process in (*(compute or ()), *(graphics or ())):
        told = process.usedGpuMemory
        used_mib[process.pid] = None if told is None else told // BYTES_PER_MIB
    return tuple(ProcessReading(pid=pid, used_mib=mib) for pid, mib in sorted(used_mib.items()))


def _compute_processes(device: Any) -> list[Any]:
    return _first_supported(
        lambda: list(pynvml.nvmlDeviceGetComputeRunningProcesses_v3(device)),
        lambda: list(pynvml.nvmlDeviceGetComputeRunningProcesses_v2(device)),
    )


def _graphics_processes(device: Any) -> list[Any]:
    return _first_supported(
        lambda: list(pynvml.nvmlDeviceGetGraphicsRunningProcesses_v3(device)),
        lambda: list(pynvml.nvmlDeviceGetGraphicsRunningProcesses_v2(device)),
    )
