"""The stand-in for NVIDIA's library, as programs see it through nvidia-ml-py."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.simulation.nvml_state import (
    NvmlState,
    NvmlStateFile,
    RemappedRows,
    SimulatedGpu,
    SimulatedProcess,
    SimulatedSlice,
    SimulatedXid,
)
from tests.simulation.nvml_stub.build import LIBRARY, build_stub

SLICES = tuple(SimulatedSlice(uuid=f"MIG-{letter}", total_mib=4864) for letter in "ab")
HOST = NvmlState(
    gpus=(
        SimulatedGpu(uuid="GPU-1", total_mib=8192, reserved_mib=300, other_mib=100),
        SimulatedGpu(uuid="GPU-2", total_mib=40960, slices=SLICES),
        SimulatedGpu(uuid="GPU-3", total_mib=24576),
    )
)
DEVICES = """
told = []
for index in range(n.nvmlDeviceGetCount()):
    gpu = n.nvmlDeviceGetHandleByIndex(index)
    told.append(n.nvmlDeviceGetUUID(gpu))
    if n.nvmlDeviceGetMigMode(gpu)[0]:
        for place in range(n.nvmlDeviceGetMaxMigDeviceCount(gpu)):
            try:
                told.append(n.nvmlDeviceGetUUID(n.nvmlDeviceGetMigDeviceHandleByIndex(gpu, place)))
            except n.NVMLError_NotFound:
                pass
"""


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_stub(tmp_path_factory.mktemp("library"))


@pytest.fixture
def nvml(library: Path) -> NvmlStateFile:
    """The state, beside the library."""
    state = NvmlStateFile(library.parent)
    state.write(HOST)
    return state


def run(library: Path, program: str, **environment: str) -> object:
    """What a program leaves in `told`; NVML is started, as `n`."""
    whole = f"import json, time\nimport pynvml as n\nn.nvmlInit()\n{program}\nprint(json.dumps(told))\n"
    found = {"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": str(library.parent), **environment}
    done = subprocess.run([sys.executable, "-c", whole], env=found, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("granted", "seen"),
    [
        (None, ["GPU-1", "GPU-2", "MIG-a", "MIG-b", "GPU-3"]),
        ("all", ["GPU-1", "GPU-2", "MIG-a", "MIG-b", "GPU-3"]),
        ("GPU-3", ["GPU-3"]),
        ("GPU-3,GPU-1", ["GPU-1", "GPU-3"]),
        ("0,2", ["GPU-1", "GPU-3"]),
        ("MIG-b", ["GPU-2", "MIG-b"]),
        ("GPU-2", ["GPU-2", "MIG-a", "MIG-b"]),
        ("void", []),
        ("", []),
        ("GPU-9", []),
    ],
)
def test_a_program_sees_the_devices_that_it_was_granted(
    library: Path, nvml: NvmlStateFile, granted: str | None, seen: list[str]
) -> None:
    environment = {} if granted is None else {"NVIDIA_VISIBLE_DEVICES": granted}
    assert run(library, DEVICES, **environment) == seen


def test_memory_is_what_the_reserve_others_and_processes_take(library: Path, nvml: NvmlStateFile) -> None:
    nvml.change_gpu(
        "GPU-1",
        processes=(
            SimulatedProcess(pid=7, used_mib=1000),
            SimulatedProcess(pid=8, used_mib=None),
            SimulatedProcess(pid=9, used_mib=50, graphics=True),
        ),
    )
    program = """
gpu = n.nvmlDeviceGetHandleByUUID("GPU-1")
new, old = n.nvmlDeviceGetMemoryInfo(gpu, version=n.nvmlMemory_v2), n.nvmlDeviceGetMemoryInfo(gpu)
processes = n.nvmlDeviceGetComputeRunningProcesses(gpu), n.nvmlDeviceGetGraphicsRunningProcesses(gpu)
told = [[size >> 20 for size in (new.total, new.reserved, new.used, new.free, old.used, old.free)],
        [[[process.pid, process.usedGpuMemory] for process in kind] for kind in processes]]
"""
    sizes, processes = [8192, 300, 1150, 6742, 1450, 6742], [[[7, 1000 << 20], [8, None]], [[9, 50 << 20]]]
    assert run(library, program) == [sizes, processes]


def test_a_card_that_others_overfill_has_nothing_free(library: Path, nvml: NvmlStateFile) -> None:
    nvml.change_gpu("GPU-1", other_mib=99_000)
    program = "told = n.nvmlDeviceGetMemoryInfo(n.nvmlDeviceGetHandleByIndex(0)).free"
    assert run(library, program) == 0


def test_a_change_is_seen_by_a_program_that_runs(library: Path, nvml: NvmlStateFile) -> None:
    program = """
gpu = n.nvmlDeviceGetHandleByUUID("GPU-3")
told = [n.nvmlDeviceGetTemperature(gpu, 0)]
print("ready", flush=True)
for _ in range(400):
    time.sleep(0.05)
    try:
        if n.nvmlDeviceGetTemperature(gpu, 0) != told[-1]:
            told.append(n.nvmlDeviceGetTemperature(gpu, 0))
    except n.NVMLError_GpuIsLost:
        break
"""
    whole = f"import json, time\nimport pynvml as n\nn.nvmlInit()\n{program}\nprint(json.dumps(told))\n"
    environment = {"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": str(library.parent)}
    with subprocess.Popen([sys.executable, "-c", whole], env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        nvml.change_gpu("GPU-3", temperature_c=90)
        time.sleep(0.5)
        nvml.change_gpu("GPU-3", lost=True)
        assert json.loads(process.stdout.read()) == [45, 90]


def test_failures_are_given_by_function_and_by_device(library: Path, nvml: NvmlStateFile) -> None:
    nvml.change(failures={"nvmlDeviceGetPowerUsage": 3})
    nvml.change_gpu("GPU-3", failures={"nvmlDeviceGetName": 999, "nvmlDeviceGetPowerUsage": 4})
    program = """
told = []
for uuid in ("GPU-1", "GPU-3"):
    gpu = n.nvmlDeviceGetHandleByUUID(uuid)
    for read in (n.nvmlDeviceGetName, n.nvmlDeviceGetPowerUsage):
        try:
            told.append(read(gpu))
        except n.NVMLError as error:
            told.append(error.value)
"""
    assert run(library, program) == ["NVIDIA L4", 3, 999, 4]


def test_a_hang_ends_when_it_is_taken_away(library: Path, nvml: NvmlStateFile) -> None:
    nvml.change(delays_ms={"nvmlDeviceGetName": 3_600_000})
    program = "gpu = n.nvmlDeviceGetHandleByIndex(0)\nprint('asks', flush=True)\ntold = n.nvmlDeviceGetName(gpu)"
    whole = f"import pynvml as n\nn.nvmlInit()\n{program}\nprint(told)\n"
    environment = {"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": str(library.parent)}
    with subprocess.Popen([sys.executable, "-c", whole], env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "asks\n"
        time.sleep(0.5)
        assert process.poll() is None
        nvml.change(delays_ms={})
        assert process.stdout.read() == "NVIDIA L4\n"


def test_health_that_is_not_supported_says_so(library: Path, nvml: NvmlStateFile) -> None:
    nvml.change_gpu("GPU-1", ecc_uncorrected=None, remapped=None, recovery_action=None)
    nvml.change_gpu("GPU-3", ecc_uncorrected=2, remapped=RemappedRows(uncorrected=1, failed=True), recovery_action=2)
    program = """
told = []
for uuid in ("GPU-1", "GPU-3"):
    gpu = n.nvmlDeviceGetHandleByUUID(uuid)
    (action,) = n.nvmlDeviceGetFieldValues(gpu, [n.NVML_FI_DEV_GET_GPU_RECOVERY_ACTION])
    told.append([action.nvmlReturn, action.value.uiVal])
    for read in (lambda: n.nvmlDeviceGetTotalEccErrors(gpu, 1, 0), lambda: n.nvmlDeviceGetRemappedRows(gpu)):
        try:
            told.append(read())
        except n.NVMLError as error:
            told.append(repr(error.value))
"""
    assert run(library, program) == [[3, 0], "3", "3", [0, 2], 2, [0, 1, 0, 1]]


def test_without_a_state_file_there_is_no_driver(library: Path, tmp_path: Path) -> None:
    program = "told = None"
    with pytest.raises(AssertionError, match="DriverNotLoaded"):
        run(library, program, NVML_STUB_STATE=str(tmp_path / "nonesuch"))


def test_the_state_file_reads_back_as_it_was_written(tmp_path: Path) -> None:
    nvml = NvmlStateFile(tmp_path)
    nvml.write(HOST)
    nvml.change(failures={"nvmlInit": 9})
    nvml.raise_xid("GPU-3", 79)
    state = nvml.raise_xid("GPU-1", 31, gpu_instance=2)
    assert nvml.read() == state
    assert state.failures == {"nvmlInit": 9}
    assert state.gpus[2].xids == (SimulatedXid(sequence=1, xid=79),)
    assert state.gpus[0].xids == (SimulatedXid(sequence=2, xid=31, gpu_instance=2),)


def test_a_gpu_that_is_not_simulated_is_refused(nvml: NvmlStateFile) -> None:
    with pytest.raises(LookupError, match="GPU-9 is not among GPU-1, GPU-2, GPU-3"):
        nvml.change_gpu("GPU-9", lost=True)


def test_the_library_is_compiled_only_when_its_sources_changed(library: Path) -> None:
    before = library.stat().st_mtime_ns
    assert build_stub(library.parent).stat().st_mtime_ns == before
    assert library.name == LIBRARY
