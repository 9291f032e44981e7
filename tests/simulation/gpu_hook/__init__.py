"""The stand-in for NVIDIA's container hook, and what it noted: which container was handed which GPUs.

Docker serves requests for GPUs when a program named `nvidia-container-runtime-hook` is on its PATH. Ours notes each
request, brings the stand-in for NVIDIA's library into the container as the real one does the real library, and
fails when it is told to, as the real one does when the driver is broken.
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

HOOK_FOLDER = Path(__file__).resolve().parent
HOOK_FOLDER_VARIABLE = "NIGHTREEL_SIMULATED_GPUS"
"""Names the folder of the simulated GPUs to the hook, through the engine that calls it."""

GRANTS_FILE = "grants.jsonl"
BROKEN_FILE = "driver_is_broken"
LIBRARY_FOLDER = "nvml"
"""Below the folder: the library and the state that it answers from."""

DRIVER_MISMATCH = "nvidia-container-cli: initialization error: nvml error: driver/library version mismatch"
DRIVER_NOT_LOADED = "nvidia-container-cli: initialization error: nvml error: driver not loaded"


@dataclass(frozen=True)
class GpuGrant:
    """One container that asked for GPUs. `devices` are what it was to see: UUIDs, or `all`.

    `pid` is the container's first process as the host numbers it, `work` what the host has mounted as the
    container's /work. `refusal` is what the broken driver said;
    the container did not start then.
    """

    granted_at: datetime
    container_id: str
    pid: int
    devices: tuple[str, ...]
    work: Path | None
    refusal: str | None


def read_grants(gpus: Path) -> list[GpuGrant]:
    """All requests so far, the earliest first."""
    path = gpus / GRANTS_FILE
    if not path.exists():
        return []
    told = [json.loads(line) for line in path.read_text().splitlines()]
    return [
        GpuGrant(
            granted_at=datetime.fromtimestamp(entry["granted_at"], UTC),
            container_id=entry["container_id"],
            pid=entry["pid"],
            devices=tuple(entry["devices"]),
            work=Path(entry["work"]) if entry["work"] else None,
            refusal=entry["refusal"],
        )
        for entry in told
    ]


def break_driver(gpus: Path, message: str = DRIVER_MISMATCH) -> None:
    """From now on no container with a GPU starts; the engine passes `message` on."""
    part = gpus / f".{BROKEN_FILE}"
    part.write_text(message)
    part.replace(gpus / BROKEN_FILE)


def mend_driver(gpus: Path) -> None:
    """Containers with GPUs start again."""
    (gpus / BROKEN_FILE).unlink(missing_ok=True)
