"""The tasks that hold GPUs, and how they die: a task's process, with it its supervisor, with it its container."""

import contextlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text

from console.airflow_api import RunState
from console.terminal import ConsoleError
from stage_contract.vocabulary import Stage
from tests.deployment import wait_until
from tests.e2e_gpu.conftest import GpuDeployment
from tests.task_processes import running_tasks

HOLDERS = """
select lease_id, dag_id, run_id, task_id, device_uuid, container_id from gpu_lease
where ended_at is null and container_id is not null
order by lease_id
"""
LEASES = """
select lease_id, run_id, task_id, stage, device_uuid, leased_mib, capacity_mib, foreign_mib, peak_mib, need_mib,
    container_id, asked_at, renewed_at, granted_at, ended_at, ending
from gpu_lease where run_id = any(:run_ids) order by lease_id
"""
FORGET_PEAKS = text("update gpu_lease set peak_mib = null where ended_at is not null")
# With a tenth more and rounded, what the stages take is about what the table says they need.
TAKES_MIB = {Stage.TRANSCRIBE: 4096, Stage.ANALYZE: 2048}
# Longer than a small and loaded machine needs to bring a run to its stage on a GPU.
HOLDS_WITHIN_S = 120.0


@dataclass(frozen=True)
class Holder:
    """A task whose container runs on the GPU that it leased."""

    lease_id: int
    dag_id: str
    run_id: str
    task_id: str
    device_uuid: str
    container_id: str


@dataclass(frozen=True)
class Kill:
    """What is killed beside the task's process. Airflow notices the loss of a task's supervisor after 120 s only."""

    supervisor: bool = False
    container: bool = False

    def __str__(self) -> str:
        also = ["supervisor"] * self.supervisor + ["container"] * self.container
        return " + ".join(["task", *also])


EVERYTHING = Kill(supervisor=True, container=True)


def holders(deployment: GpuDeployment) -> list[Holder]:
    """Who holds a GPU now, the earlier first."""
    return [Holder(**row) for row in deployment.rows(HOLDERS)]


def holder_of(deployment: GpuDeployment, run: RunState) -> Holder:
    """The run's holder, once its container is known."""

    def look() -> list[Holder]:
        return [holder for holder in holders(deployment) if holder.run_id == run.run_id]

    found: list[Holder] = wait_until(look, bool, HOLDS_WITHIN_S, 0.2)
    return found[0]


def leases_of(deployment: GpuDeployment, *runs: RunState) -> list[dict[str, Any]]:
    """What the lease log says of these runs, the earlier first."""
    return deployment.rows(LEASES, run_ids=[run.run_id for run in runs])


def forget_peaks(deployment: GpuDeployment) -> None:
    """Let needs be what the table says, whatever earlier tests took."""
    with deployment.media_database().begin() as connection:
        connection.execute(FORGET_PEAKS)


def kill(deployment: GpuDeployment, holder: Holder, how: Kill) -> datetime | None:
    """SIGKILL, all at once. Returns when; none when the holder's work had ended by itself."""
    tasks = deployment.api.tasks(holder.dag_id, holder.run_id)
    instance = next(task.instance_id for task in tasks if task.task_id == holder.task_id)
    found = running_tasks(deployment).get(instance)
    killed_at = found.kill(how.supervisor, lambda: _runs_container(deployment, holder)) if found else None
    if killed_at and how.container:
        # It may have ended in the last milliseconds.
        with contextlib.suppress(ConsoleError):
            deployment.stage_docker("kill", holder.container_id)
    return killed_at


def _runs_container(deployment: GpuDeployment, holder: Holder) -> bool:
    try:
        return deployment.stage_docker("inspect", "--format", "{{.State.Running}}", holder.container_id) == "true"
    except ConsoleError:
        return False
