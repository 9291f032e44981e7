"""The state of the simulated GPUs: what the `libnvidia-ml` stand-in answers, changed while things run.

    nvml = NvmlStateFile(folder)                 # beside the library, or where NVML_STUB_STATE points
    nvml.write(NvmlState(gpus=(SimulatedGpu(uuid="GPU-1", total_mib=8192),)))
    nvml.change_gpu("GPU-1", other_mib=7000)     # another program takes VRAM
    nvml.raise_xid("GPU-1", 79)
    nvml.change(init_code=DRIVER_MISMATCH)
    nvml.change(delays_ms={"*": 60_000})         # every call hangs, until this is taken away again

The file is replaced whole, so that a reader sees a state or the next. Any number of processes may change it.
"""

import fcntl
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field

STATE_FILE = "nvml.state"
STATE_VARIABLE = "NVML_STUB_STATE"
EVERY_FUNCTION = "*"
JSON_MARK = "#json "
XIDS_KEPT = 200

# NVML's return codes that a test asks for.
NOT_SUPPORTED = 3
DRIVER_NOT_LOADED = 9
FUNCTION_NOT_FOUND = 13
GPU_IS_LOST = 15
RESET_REQUIRED = 16
DRIVER_MISMATCH = 18
UNKNOWN_ERROR = 999

# Bits of the clocks event reasons.
SW_POWER_CAP = 0x04
HW_SLOWDOWN = 0x08
SW_THERMAL_SLOWDOWN = 0x20
HW_THERMAL_SLOWDOWN = 0x40
HW_POWER_BRAKE = 0x80


class StateModel(BaseModel):
    """Frozen: a change makes another one."""

    model_config = ConfigDict(frozen=True, extra="forbid")


Model = TypeVar("Model", bound=StateModel)


class SimulatedProcess(StateModel):
    """A process on a device. `used_mib` is null where the driver does not tell; then it counts in `other_mib`."""

    pid: int
    used_mib: int | None
    graphics: bool = False


class SimulatedXid(StateModel):
    """An error that was reported. Sequence numbers rise over all devices; a watcher gets those after its start."""

    sequence: int
    xid: int
    gpu_instance: int | None = None


class RemappedRows(StateModel):
    """What row remapping says of itself."""

    corrected: int = 0
    uncorrected: int = 0
    pending: bool = False
    failed: bool = False


class SimulatedSlice(StateModel):
    """A MIG slice: memory and processes of its own, the rest as its GPU. The first of a GPU has GPU instance 1."""

    uuid: str
    total_mib: int
    name: str = "NVIDIA A100-SXM4-40GB MIG 1g.5gb"
    reserved_mib: int = 0
    other_mib: int = 0
    processes: tuple[SimulatedProcess, ...] = ()


class SimulatedGpu(StateModel):
    """A GPU. Null is what this kind of GPU does not support, as a GeForce does not support ECC.

    The device reports as used: `other_mib` and what its processes use; `reserved_mib` is the driver's own. `slowdowns`
    are bits of the clocks event reasons. `failures` and `delays_ms` are by NVML function, for this device only. A
    `lost` GPU answers `GPU is lost` to everything. MIG is on when there are slices.
    """

    uuid: str
    total_mib: int
    name: str = "NVIDIA L4"
    capability: str = "8.9"
    reserved_mib: int = 0
    other_mib: int = 0
    processes: tuple[SimulatedProcess, ...] = ()
    utilization: int | None = 0
    temperature_c: int | None = 45
    power_mw: int | None = 30_000
    slowdowns: int | None = 0
    ecc_uncorrected: int | None = 0
    remapped: RemappedRows | None = RemappedRows()
    pages_pending: bool | None = None
    recovery_action: int | None = 0
    lost: bool = False
    slices: tuple[SimulatedSlice, ...] = ()
    xids: tuple[SimulatedXid, ...] = ()
    failures: Mapping[str, int] = Field(default_factory=dict)
    delays_ms: Mapping[str, int] = Field(default_factory=dict)


class NvmlState(StateModel):
    """A host. `failures` give a return code, `delays_ms` hold a call up, both by NVML function.

    Functions are named without a version suffix, but for `nvmlDeviceGetMemoryInfo_v2`; `*` is every one.
    """

    gpus: tuple[SimulatedGpu, ...] = ()
    init_code: int = 0
    driver_version: str = "570.86.15"
    library_version: str = "12.570.86.15"
    cuda_version: int = 12080
    failures: Mapping[str, int] = Field(default_factory=dict)
    delays_ms: Mapping[str, int] = Field(default_factory=dict)


class NvmlStateFile:
    """The file in a folder, `nvml.state`. The folder may be mounted into containers; the file alone may not."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / STATE_FILE

    def write(self, state: NvmlState) -> None:
        """Make this the state."""
        with self._alone():
            self._replace(state)

    def read(self) -> NvmlState:
        """The state as it is now."""
        first = self.path.read_text().partition("\n")[0]
        return NvmlState.model_validate_json(first.removeprefix(JSON_MARK))

    def change(self, **values: Any) -> NvmlState:
        """Change the host's fields, and return the new state."""
        with self._alone():
            return self._replace(_changed(self.read(), values))

    def change_gpu(self, uuid: str, **values: Any) -> NvmlState:
        """Change one GPU's fields, and return the new state."""
        with self._alone():
            state = self.read()
            _gpu(state, uuid)
            gpus = tuple(_changed(gpu, values) if gpu.uuid == uuid else gpu for gpu in state.gpus)
            return self._replace(_changed(state, {"gpus": gpus}))

    def raise_xid(self, uuid: str, xid: int, gpu_instance: int | None = None) -> NvmlState:
        """Report an error of a GPU, once, to whoever watches now; `gpu_instance` is the MIG slice's that it is of."""
        with self._alone():
            state = self.read()
            sequence = 1 + max((told.sequence for gpu in state.gpus for told in gpu.xids), default=0)
            raised = SimulatedXid(sequence=sequence, xid=xid, gpu_instance=gpu_instance)
            kept = (*_gpu(state, uuid).xids, raised)[-XIDS_KEPT:]
            gpus = tuple(_changed(gpu, {"xids": kept}) if gpu.uuid == uuid else gpu for gpu in state.gpus)
            return self._replace(_changed(state, {"gpus": gpus}))

    def _replace(self, state: NvmlState) -> NvmlState:
        new = self.path.with_name(f"{STATE_FILE}.new")
        new.write_text(state_text(state))
        new.chmod(0o644)
        new.replace(self.path)
        return state

    @contextmanager
    def _alone(self) -> Iterator[None]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.with_name(f"{STATE_FILE}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def state_text(state: NvmlState) -> str:
    """The file's text. Its first line is the state as JSON, which the library passes over."""
    lines = [
        JSON_MARK + json.dumps(state.model_dump(mode="json")),
        f"init {state.init_code}",
        f"driver {state.driver_version}",
        f"library {state.library_version}",
        f"cuda {state.cuda_version}",
        *_rule_lines(state),
    ]
    for gpu in state.gpus:
        lines += _gpu_lines(gpu)
    return "\n".join(lines) + "\n"


def _gpu_lines(gpu: SimulatedGpu) -> list[str]:
    rows = gpu.remapped
    lines = [
        f"device {gpu.uuid}",
        *_memory_lines(gpu),
        f"capability {gpu.capability}",
        f"utilization {_number(gpu.utilization)}",
        f"temperature {_number(gpu.temperature_c)}",
        f"power_mw {_number(gpu.power_mw)}",
        f"slowdowns {_number(gpu.slowdowns)}",
        f"ecc {_number(gpu.ecc_uncorrected)}",
        f"pages_pending {_number(gpu.pages_pending)}",
        f"recovery {_number(gpu.recovery_action)}",
        f"mig {int(bool(gpu.slices))}",
        f"lost {int(gpu.lost)}",
        f"remapped {rows.corrected} {rows.uncorrected} {int(rows.pending)} {int(rows.failed)}"
        if rows
        else "remapped - - - -",
        *(f"xid {xid.sequence} {xid.xid} {_number(xid.gpu_instance)}" for xid in gpu.xids),
        *_rule_lines(gpu),
    ]
    for mig_slice in gpu.slices:
        lines += [f"slice {mig_slice.uuid}", *_memory_lines(mig_slice)]
    return lines


def _memory_lines(device: SimulatedGpu | SimulatedSlice) -> list[str]:
    processes = (
        f"process {process.pid} {_number(process.used_mib)} {'graphics' if process.graphics else 'compute'}"
        for process in device.processes
    )
    sizes = (f"{name} {getattr(device, name)}" for name in ("name", "total_mib", "reserved_mib", "other_mib"))
    return [*sizes, *processes]


def _rule_lines(state: NvmlState | SimulatedGpu) -> list[str]:
    failures = [f"fail {function} {code}" for function, code in state.failures.items()]
    return failures + [f"delay_ms {function} {delay_ms}" for function, delay_ms in state.delays_ms.items()]


def _number(value: int | None) -> str:
    return "-" if value is None else str(int(value))


def _gpu(state: NvmlState, uuid: str) -> SimulatedGpu:
    found = next((gpu for gpu in state.gpus if gpu.uuid == uuid), None)
    if found is None:
        known = ", ".join(gpu.uuid for gpu in state.gpus) or "none"
        raise LookupError(f"the GPU must be one of the simulated ones: {uuid} is not among {known}")
    return found


def _changed(model: Model, values: Mapping[str, Any]) -> Model:
    return type(model).model_validate({**{name: getattr(model, name) for name in type(model).model_fields}, **values})
