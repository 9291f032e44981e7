"""A deployment on a simulated GPU host: two small GPUs and a large one, and little patience."""

import os
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from operators.gpu.breaker_store import breakers, close_by_hand
from operators.gpu.routing_store import set_routing
from operators.routing import GPU_STAGES, DevicePolicy
from stage_contract.gpu_health import HealthVerdict
from tests.deployment import Deployment, deployed, open_to_all, own_settings, wait_until
from tests.simulation.agent import AgentControl
from tests.simulation.deployment import build_service_images, simulated_settings, write_film
from tests.simulation.host import DEFAULT_GPUS, SimulatedHost, spare_host

PATIENCE_S = 4
BREAKER_WAIT_S = 8
XID_MEMORY_S = 10
AGENT_SEES_WITHIN_S = 30.0


@dataclass(frozen=True)
class GpuDeployment(Deployment):
    """The running stack and its simulated GPU host."""

    host: SimulatedHost

    @property
    def agent(self) -> AgentControl:
        """The GPU agent; the environment must be the deployment's, as it is during the tests."""
        return AgentControl(self.settings)

    def film(self, name: str, *lines: str) -> str:
        """A new film in the archive that says `lines` to the stages; returns its location."""
        return write_film(self.settings.archive, name, *lines)

    def await_verdict(self, *verdicts: HealthVerdict) -> None:
        """Wait until the agent has seen what a test did to the GPUs."""
        wait_until(lambda: self.agent.health().verdict, lambda seen: seen in verdicts, AGENT_SEES_WITHIN_S, 0.2)

    def heal(self) -> None:
        """GPUs, agent, breakers and routing as on the first day."""
        self.host.heal()
        self.agent.restore()
        self.await_verdict(HealthVerdict.HEALTHY)
        # Watching begins anew when a GPU comes back: an Xid that a test raises before then is heard by nobody.
        every_gpu = {gpu.uuid for gpu in DEFAULT_GPUS}
        wait_until(self.agent.watched_gpus, lambda watched: watched == every_gpu, AGENT_SEES_WITHIN_S, 0.2)
        database = self.media_database()
        for uuid in breakers(database):
            close_by_hand(database, uuid, "test", "a new test begins")
        for stage in GPU_STAGES:
            set_routing(database, stage, DevicePolicy.AUTO, "test", "a new test begins")
        database.dispose()


@pytest.fixture(scope="package")
def gpu_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GpuDeployment]:
    """The deployment, once for all tests of the folder."""
    if os.geteuid() != 0:
        pytest.skip("a simulated GPU host needs an engine of its own, which only root may start")
    folder = tmp_path_factory.mktemp("gpu-deployment")
    open_to_all(folder)
    (folder / "archive").mkdir()
    build_service_images()
    with spare_host() as host, pytest.MonkeyPatch.context() as patch:
        environment = {
            **own_settings(folder, f"nightreel-gpu-test-{os.getpid()}"),
            **simulated_settings(host, DEFAULT_GPUS),
            "NIGHTREEL_GPU_PATIENCE_S": str(PATIENCE_S),
            "NIGHTREEL_GPU_BREAKER_WAIT_S": str(BREAKER_WAIT_S),
            "NIGHTREEL_GPU_XID_MEMORY_S": str(XID_MEMORY_S),
        }
        with deployed(environment) as running:
            for name, value in environment.items():
                patch.setenv(name, value)
            yield GpuDeployment(running.settings, running.api, running.environment, host)


@pytest.fixture
def gpu_deployment(gpu_stack: GpuDeployment) -> GpuDeployment:
    """The deployment, all well."""
    gpu_stack.heal()
    return gpu_stack
