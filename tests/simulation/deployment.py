"""A deployment whose stages run on a simulated GPU host. Its services run on the machine's own engine."""

import time
from collections.abc import Sequence
from pathlib import Path

from console.images import build_images
from tests.simulation.host import SimulatedHost
from tests.simulation.nvml_state import SimulatedGpu

COMPOSE_FILES = ("docker-compose.yaml", "compose.gpu.yaml", "tests/simulation/compose.simulation.yaml")
SERVICE_IMAGES = ("airflow", "gpu_agent")
# Two slots of it hold audio.transcribe with the simulated models, one vision.analyze.
BUDGET_MIB = 2304
LIMITS = {
    # Simulated stages compute nothing.
    "NIGHTREEL_STAGE_CPUS": "0.5",
    "NIGHTREEL_STAGE_MEMORY_MIB": "512",
    "NIGHTREEL_STAGE_PIDS": "64",
    "NIGHTREEL_CPU_SLOTS": "4",
}


def simulated_settings(
    host: SimulatedHost, gpus: Sequence[SimulatedGpu], budget_mib: int = BUDGET_MIB
) -> dict[str, str]:
    """What a deployment on this host is told of it."""
    return {
        "COMPOSE_FILE": ":".join(COMPOSE_FILES),
        "NIGHTREEL_SIMULATED_NVML": str(host.library),
        "NIGHTREEL_DOCKER_SOCKET": str(host.engine.socket),
        "NIGHTREEL_DOCKER_GID": "0",
        "NIGHTREEL_GPU_DEVICES": ",".join(device_uuids(gpus)),
        "NIGHTREEL_GPU_BUDGET_MIB": str(budget_mib),
        **LIMITS,
    }


def device_uuids(gpus: Sequence[SimulatedGpu]) -> list[str]:
    """What stages may use: the slices of a GPU that is cut up, else the GPU."""
    return [part.uuid for gpu in gpus for part in (gpu.slices or (gpu,))]


def build_service_images() -> None:
    """The images of the services that the deployment has. Its stages' come with the host."""
    build_images(SERVICE_IMAGES)


def write_film(archive: Path, name: str, *lines: str) -> str:
    """Put a media file with these lines into the archive; returns its location.

    The text differs each time, so that nothing is reused of an earlier film of that name.
    """
    path = archive / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([f"The film {name}, cut {time.time_ns()}", *lines]) + "\n")
    path.chmod(0o644)
    return f"archive/{name}"
