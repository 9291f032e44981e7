"""The processes behind Airflow's running tasks, and their deaths: a task's own, and its supervisor's above it."""

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from console.engine import docker
from tests.deployment import Deployment


@dataclass(frozen=True)
class TaskProcesses:
    """One running task. `instance` is Airflow's id of the try; processes are numbered as on this machine."""

    instance: str
    task: int
    supervisor: int

    def kill(self, supervisor_too: bool, is_meant: Callable[[], bool] = lambda: True) -> datetime | None:
        """SIGKILL at once, while the task is at work and `is_meant` says so. Returns when; none when it was not."""
        try:
            if supervisor_too:
                # One that has ended its task waits for the next and holds the queue: killed then, it would block all
                # others for good. Halted, it stays at its task while we look.
                os.kill(self.supervisor, signal.SIGSTOP)
            if not is_meant() or not all(map(self._is_at_work, (self.task, self.supervisor))):
                os.kill(self.supervisor, signal.SIGCONT)
                return None
            killed_at = datetime.now(UTC)
            os.kill(self.task, signal.SIGKILL)
            if supervisor_too:
                os.kill(self.supervisor, signal.SIGKILL)
        except ProcessLookupError:
            return None
        return killed_at

    def _is_at_work(self, process: int) -> bool:
        try:
            return Path(f"/proc/{process}/cmdline").read_text().rstrip("\0 ").endswith(f" {self.instance}")
        except OSError:
            return False


def running_tasks(deployment: Deployment) -> dict[str, TaskProcesses]:
    """All tasks that have a process, by Airflow's id of the try."""
    tasks: dict[str, int] = {}
    supervisors: dict[str, int] = {}
    for line in docker("top", deployment.service("scheduler"), "-eo", "pid,args").splitlines():
        words = line.split()
        if len(words) > 2 and words[-2] in ("--", "LocalExecutor:"):
            (tasks if words[-2] == "--" else supervisors)[words[-1]] = int(words[0])
    return {
        instance: TaskProcesses(instance, tasks[instance], supervisors[instance])
        for instance in tasks.keys() & supervisors.keys()
    }
