"""The simulated driver's accounting: what containers hold of the GPUs' memory becomes part of the GPUs' state.

`python -m tests.simulation.driver FOLDER` follows the containers that the hook noted until it is told to stop. A
container says how much it holds in its /work/vram_mib; what a dead one held is free again.
"""

import sys
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from tests.simulation.gpu_hook import GRANTS_FILE, LIBRARY_FOLDER, GpuGrant, read_grants
from tests.simulation.nvml_state import NvmlState, NvmlStateFile, SimulatedGpu, SimulatedProcess

LOOK_EVERY_S = 0.2
VRAM_FILE = "vram_mib"

Held = Mapping[str, tuple[SimulatedProcess, ...]]


def main(gpus: Path) -> None:
    """Keep the state's processes in step with the containers."""
    state_file = NvmlStateFile(gpus / LIBRARY_FOLDER)
    size, running = -1, list[GpuGrant]()
    while True:
        grants = gpus / GRANTS_FILE
        if grants.exists() and grants.stat().st_size != size:
            size = grants.stat().st_size
            running = [grant for grant in read_grants(gpus) if grant.refusal is None]
        running = [grant for grant in running if _lives(grant)]
        for gpu, holding in out_of_step(state_file.read(), held_memory(running)):
            state_file.change_gpu(gpu.uuid, processes=holding.processes, slices=holding.slices)
        time.sleep(LOOK_EVERY_S)


def held_memory(running: list[GpuGrant]) -> Held:
    """The processes on each device, by its UUID; those that hold nothing yet are not on it."""
    held: defaultdict[str, list[SimulatedProcess]] = defaultdict(list)
    for grant in running:
        held_mib = _held_mib(grant)
        for uuid in grant.devices if held_mib else ():
            held[uuid].append(SimulatedProcess(pid=grant.pid, used_mib=held_mib))
    return {uuid: tuple(processes) for uuid, processes in held.items()}


def _held_mib(grant: GpuGrant) -> int:
    try:
        return int((grant.work / VRAM_FILE).read_text()) if grant.work else 0
    except FileNotFoundError:
        return 0


def _lives(grant: GpuGrant) -> bool:
    # Process ids come again: it must be the container's still.
    try:
        return grant.container_id in Path(f"/proc/{grant.pid}/cgroup").read_text()
    except OSError:
        return False


def out_of_step(state: NvmlState, held: Held) -> list[tuple[SimulatedGpu, SimulatedGpu]]:
    """The GPUs whose processes are not those that hold their memory: as they are, and as they must be."""
    now = [(gpu, _holding(gpu, held)) for gpu in state.gpus]
    return [(gpu, holding) for gpu, holding in now if gpu != holding]


def _holding(gpu: SimulatedGpu, held: Held) -> SimulatedGpu:
    slices = tuple(part.model_copy(update={"processes": held.get(part.uuid, ())}) for part in gpu.slices)
    return gpu.model_copy(update={"processes": held.get(gpu.uuid, ()), "slices": slices})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
