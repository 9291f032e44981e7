from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.images.gpu_agent.running_agent import RunningAgent, agent_environment, running_agent
from tests.simulation.nvml_state import NvmlState, NvmlStateFile, SimulatedGpu
from tests.simulation.nvml_stub.build import build_stub

TWO_GPUS = NvmlState(
    gpus=(
        SimulatedGpu(uuid="GPU-1", total_mib=8192, reserved_mib=300, other_mib=100),
        SimulatedGpu(uuid="GPU-2", total_mib=24576, name="NVIDIA A10"),
    )
)


@pytest.fixture(scope="session")
def nvml_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stand-in for NVIDIA's library."""
    return build_stub(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def nvml(tmp_path: Path) -> NvmlStateFile:
    """Two healthy GPUs, GPU-1 and GPU-2."""
    state = NvmlStateFile(tmp_path / "state")
    state.write(TWO_GPUS)
    return state


@pytest.fixture
def agent(nvml_library: Path, nvml: NvmlStateFile, tmp_path: Path) -> Iterator[RunningAgent]:
    """An agent that has looked at the two GPUs."""
    environment = agent_environment(nvml_library, nvml.path.parent)
    with running_agent(environment, nvml, tmp_path / "agent.log") as agent:
        agent.until(lambda health: len(health.devices) == 2)
        yield agent
