"""The accounting of the simulated driver."""

import os
from datetime import UTC, datetime
from pathlib import Path

from tests.simulation.driver import held_memory, out_of_step
from tests.simulation.gpu_hook import GpuGrant
from tests.simulation.nvml_state import NvmlState, SimulatedGpu, SimulatedProcess, SimulatedSlice


def grant(work: Path, device: str, held_mib: int | None, pid: int = 7) -> GpuGrant:
    work.mkdir()
    if held_mib is not None:
        (work / "vram_mib").write_text(str(held_mib))
    return GpuGrant(datetime.now(UTC), os.urandom(32).hex(), pid, (device,), work, None)


def test_a_process_is_on_a_device_once_it_holds_memory(tmp_path):
    grants = [grant(tmp_path / "a", "GPU-1", 900, pid=11), grant(tmp_path / "b", "GPU-1", None, pid=12)]
    assert held_memory(grants) == {"GPU-1": (SimulatedProcess(pid=11, used_mib=900),)}


def test_a_slice_holds_its_own_processes():
    held = {"MIG-1": (SimulatedProcess(pid=11, used_mib=900),)}
    slices = (SimulatedSlice(uuid="MIG-1", total_mib=4864), SimulatedSlice(uuid="MIG-2", total_mib=4864))
    ((_, holding),) = out_of_step(NvmlState(gpus=(SimulatedGpu(uuid="GPU-1", total_mib=40960, slices=slices),)), held)
    assert [part.processes for part in holding.slices] == [held["MIG-1"], ()]
    assert holding.processes == ()


def test_what_a_container_held_that_is_gone_is_free():
    process = SimulatedProcess(pid=11, used_mib=900)
    gpus = (
        SimulatedGpu(uuid="GPU-1", total_mib=8192, processes=(process,)),
        SimulatedGpu(uuid="GPU-2", total_mib=8192),
    )
    ((before, after),) = out_of_step(NvmlState(gpus=gpus), {})
    assert (before.uuid, before.processes, after.processes) == ("GPU-1", (process,), ())
