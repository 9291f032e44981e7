"""How a stage container is made: its name, its labels, and what it may not do."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from docker.types import DeviceRequest, LogConfig, Mount

from operators.settings import MEDIA_MOUNT, RESULTS_MOUNT, WORK_MOUNT, ContainerLimits, Folders
from operators.shard import path_name
from stage_contract.request import RequestItem, TaskKey
from stage_contract.resources import THREADS_VARIABLE
from stage_contract.vocabulary import Stage

STACK_LABEL = "nightreel.stack"
TRY_LABEL = "nightreel.try_number"
DEVICE_LABEL = "nightreel.device"
CPU = "cpu"
STAGE_USER = "10001:10001"
SCRATCH_MIB = 1024


@dataclass(frozen=True)
class ContainerIdentity:
    """Whose container it is. Tries of one task share the name, so that there is never more than one."""

    stack: str
    task: TaskKey

    @property
    def name(self) -> str:
        """Unique in the engine, and known before the container exists."""
        task = self.task
        return f"{self.stack}-{task.task_id}-{path_name(f'{task.dag_id} {task.run_id} {task.map_index}')}"

    @property
    def labels(self) -> dict[str, str]:
        """The task key, exact."""
        task = self.task
        return {
            STACK_LABEL: self.stack,
            "nightreel.dag_id": task.dag_id,
            "nightreel.run_id": task.run_id,
            "nightreel.task_id": task.task_id,
            "nightreel.map_index": str(task.map_index),
            TRY_LABEL: str(task.try_number),
        }


def task_of(labels: dict[str, str]) -> TaskKey:
    """The task key that a container's labels name."""
    return TaskKey(
        dag_id=labels["nightreel.dag_id"],
        run_id=labels["nightreel.run_id"],
        task_id=labels["nightreel.task_id"],
        map_index=int(labels["nightreel.map_index"]),
        try_number=int(labels[TRY_LABEL]),
    )


def mounts(folders: Folders, attempt: str, stage: Stage, items: Sequence[RequestItem]) -> list[Mount]:
    """The media and all results read-only; writable only the attempt's folder and each item's own."""
    media = [
        Mount(str(MEDIA_MOUNT / root), str(host), type="bind", read_only=True)
        for root, host in folders.host_media_roots.items()
    ]
    own = [f"assets/{item.asset_id}/{stage}" for item in items]
    return [
        *media,
        Mount(str(RESULTS_MOUNT), str(folders.host_results), type="bind", read_only=True),
        *(Mount(str(RESULTS_MOUNT / path), str(folders.host_results / path), type="bind") for path in own),
        Mount(str(WORK_MOUNT), str(folders.host_work / attempt), type="bind"),
    ]


def restrictions(limits: ContainerLimits) -> dict[str, Any]:
    """The part of the host configuration that keeps untrusted media and its decoders inside.

    Scratch space is memory: it counts towards the memory limit.
    """
    memory = f"{limits.memory_mib}m"
    return {
        "network_mode": "none",
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "mem_limit": memory,
        "memswap_limit": memory,
        "nano_cpus": round(limits.cpus * 1e9),
        "pids_limit": limits.pids,
        "tmpfs": {"/tmp": f"rw,noexec,nosuid,nodev,size={SCRATCH_MIB}m"},  # noqa: S108 - inside the container
        "init": True,
        "log_config": LogConfig(type="json-file", config={"max-size": "10m", "max-file": "1"}),
    }


# What NVIDIA's prestart hook, its library and the engine say when a GPU cannot be handed over.
GPU_REFUSALS = ("nvidia", "nvml", "could not select device driver", "cdi device")


def is_refused_gpu(explanation: str) -> bool:
    """Whether the engine's words about a failed start are about the GPU."""
    return any(word in explanation.lower() for word in GPU_REFUSALS)


def environment(limits: ContainerLimits) -> dict[str, str]:
    """Threads as many as CPUs: more would cost time, see `stage_contract.resources`."""
    return {THREADS_VARIABLE: str(max(1, int(limits.cpus)))}


def gpu_request(device: str) -> list[DeviceRequest]:
    """Hand the container this one GPU, by its UUID; nothing for the CPU."""
    if device == CPU:
        return []
    return [DeviceRequest(device_ids=[device], capabilities=[["gpu"]])]
