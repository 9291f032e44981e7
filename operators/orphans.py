"""Finds stage containers that nobody waits for any more: their task process died and no retry is left."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import docker
from docker.errors import APIError
from requests.exceptions import Timeout

from operators.container import STACK_LABEL, task_of
from stage_contract.request import TaskKey

# A task in one of these states, or in none yet, will join its container or remove it by itself.
AWAITED = {None, "scheduled", "queued", "running", "restarting", "up_for_retry", "up_for_reschedule", "deferred"}

TaskStates = Mapping[str, Mapping[str, str | None]]


@dataclass(frozen=True)
class LeftContainer:
    """A container of this stack and the task that it was started for."""

    container_id: str
    task: TaskKey


def find_orphans(
    containers: Iterable[LeftContainer], states_of: Callable[[str, list[str]], TaskStates]
) -> list[LeftContainer]:
    """The containers whose task has ended or is not known.

    `states_of(dag_id, run_ids)` gives, by run id and task id, the task's state.
    """
    by_dag: dict[str, list[LeftContainer]] = defaultdict(list)
    for container in containers:
        by_dag[container.task.dag_id].append(container)
    orphans: list[LeftContainer] = []
    for dag_id, group in by_dag.items():
        states = states_of(dag_id, sorted({container.task.run_id for container in group}))
        orphans += [c for c in group if states.get(c.task.run_id, {}).get(c.task.task_id, "unknown") not in AWAITED]
    return orphans


def list_containers(client: docker.APIClient, stack: str) -> list[LeftContainer]:
    """All stage containers of `stack`, ended ones included."""
    found = client.containers(all=True, filters={"label": f"{STACK_LABEL}={stack}"})
    return [LeftContainer(container["Id"], task_of(container["Labels"])) for container in found]


def remove(client: docker.APIClient, container: LeftContainer) -> bool:
    """Remove one container; false when it was gone, is going already, or cannot be removed in time.

    One whose process hangs in the kernel keeps the engine from answering; it must not keep the others from going.
    """
    try:
        client.remove_container(container.container_id, force=True)
    except (APIError, Timeout):
        return False
    return True
