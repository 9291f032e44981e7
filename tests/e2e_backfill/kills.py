"""What may die in a night."""

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from console.engine import docker
from console.terminal import ConsoleError
from tests.deployment import wait_until
from tests.e2e_backfill.conftest import ArchiveDeployment
from tests.task_processes import running_tasks

UP_WITHIN_S = 120.0


@dataclass
class Killer:
    """Kills one thing after the other with SIGKILL, at random moments, and counts what it hit.

    Services come back by Docker's restart policy, the engine by being started again.
    """

    deployment: ArchiveDeployment
    chance: random.Random
    survived: Counter[str] = field(default_factory=Counter)

    @property
    def kinds(self) -> dict[str, Callable[[], bool]]:
        """What can be killed; each says whether it was there to be killed."""
        return {
            "scheduler": lambda: self._kill_service("scheduler"),
            "worker": self._kill_worker,
            "engine": self._kill_engine,
            "postgres": lambda: self._kill_service("postgres"),
            "triggerer": lambda: self._kill_service("triggerer"),
        }

    def strike(self, rounds: int, pause_s: tuple[float, float], is_over: Callable[[], bool]) -> None:
        """Kill each kind `rounds` times in random order, with random pauses, for as long as there is a night."""
        order = list(self.kinds) * rounds
        self.chance.shuffle(order)
        for kind in order:
            time.sleep(self.chance.uniform(*pause_s))
            if is_over():
                return
            if self.kinds[kind]():
                self.survived[kind] += 1

    def _kill_service(self, service: str) -> bool:
        # `docker kill` would count as a person's wish, and the service would stay down.
        container = wait_until(lambda: self.deployment.service(service), bool, UP_WITHIN_S)
        process = int(docker("inspect", "--format", "{{.State.Pid}}", container))
        if process == 0:
            return False
        os.kill(process, signal.SIGKILL)
        return True

    def _kill_worker(self) -> bool:
        try:
            tasks = sorted(running_tasks(self.deployment).values(), key=lambda task: task.instance)
        except ConsoleError:
            return False
        return bool(tasks) and self.chance.choice(tasks).kill(supervisor_too=True) is not None

    def _kill_engine(self) -> bool:
        """On one machine the services' containers die with their engine; here only the scheduler's has its socket."""
        engine = self.deployment.host.engine
        engine.kill()
        engine.start()
        self._kill_service("scheduler")
        return True
