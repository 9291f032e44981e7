"""The agent as a container, set up as Compose does, but for the GPUs: the stand-in is mounted instead."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml  # type: ignore[import-untyped]

from console.engine import docker, docker_succeeds
from console.images import Image
from stage_contract.gpu_health import HealthCode, HealthVerdict
from tests.images.gpu_agent.running_agent import REPOSITORY, RunningAgent, device
from tests.simulation.nvml_state import STATE_FILE, STATE_VARIABLE, NvmlStateFile, SimulatedProcess
from tests.stage_container import image_user

TAG = Image("gpu_agent", "cpu").tag
SERVICE = yaml.safe_load((REPOSITORY / "compose.gpu.yaml").read_text())["services"]["gpu-agent"]


@contextmanager
def agent_container(library: Path, nvml: NvmlStateFile) -> Iterator[tuple[RunningAgent, str]]:
    mounted = {library.parent: "/run/nvml", nvml.path.parent: "/run/nvml-state"}
    container = docker(
        *("run", "--detach", "--pull", "never", "--read-only", "--cap-drop", "ALL"),
        *("--security-opt", "no-new-privileges:true", "--pid", "host", "--publish", "127.0.0.1::9410"),
        *("--tmpfs", "/tmp:mode=1777"),
        *(part for source, target in mounted.items() for part in ("--volume", f"{source}:{target}:ro")),
        *("--env", "LD_LIBRARY_PATH=/run/nvml", "--env", f"{STATE_VARIABLE}=/run/nvml-state/{STATE_FILE}"),
        TAG,
    )
    try:
        port = docker("port", container, "9410/tcp").splitlines()[0].rpartition(":")[2]
        yield RunningAgent(f"http://127.0.0.1:{port}", nvml, pid=0), container
    finally:
        docker("rm", "--force", container)


def test_the_container_tells_health_finds_containers_and_ends_quickly(nvml_library: Path, nvml: NvmlStateFile) -> None:
    for folder in (nvml_library.parent, nvml.path.parent):
        folder.chmod(0o755)
    with agent_container(nvml_library, nvml) as (agent, container):
        await_answer(container)
        agent.until(lambda health: health.verdict is HealthVerdict.HEALTHY)
        pid = int(docker("inspect", "--format", "{{.State.Pid}}", container))
        nvml.change_gpu("GPU-1", processes=(SimulatedProcess(pid=pid, used_mib=700),))
        health = agent.until(lambda health: bool(device(health, "GPU-1").processes))
        assert device(health, "GPU-1").processes[0].container_id == container
        nvml.change(init_code=18)
        agent.until_reason(HealthCode.DRIVER_MISMATCH)
        assert docker_succeeds("exec", container, *SERVICE["healthcheck"]["test"][1:]), "it answers, so it is well"
        docker("stop", "--time", "8", container)
        assert docker("inspect", "--format", "{{.State.ExitCode}}", container) == "0"


def test_the_image_runs_as_a_normal_user() -> None:
    assert image_user(TAG) == "nightreel"


def test_compose_gives_the_agent_all_devices_and_no_rights() -> None:
    (devices,) = SERVICE["deploy"]["resources"]["reservations"]["devices"]
    assert devices == {"driver": "nvidia", "count": "all", "capabilities": ["gpu", "utility"]}
    assert (SERVICE["pid"], SERVICE["read_only"], SERVICE["cap_drop"]) == ("host", True, ["ALL"])
    assert SERVICE["image"] == TAG
    assert all(re.match(r"127\.0\.0\.1:", port) for port in SERVICE["ports"])


def await_answer(container: str) -> None:
    check = ("exec", container, *SERVICE["healthcheck"]["test"][1:])
    assert any(docker_succeeds(*check) for _ in range(100)), docker("logs", container)
