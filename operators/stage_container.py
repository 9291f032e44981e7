"""One stage container on the engine: found by its name, started, followed, stopped, removed."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import docker
from docker.errors import APIError, NotFound
from requests.exceptions import Timeout

from operators.container import CPU, DEVICE_LABEL, TRY_LABEL, ContainerIdentity, is_refused_gpu
from operators.errors import NightreelError

# The supervisor kills a task five seconds after asking it to stop.
STOP_TIMEOUT_S = 2
LOOK_EVERY_S = 0.5


class ContainerRemoved(NightreelError):
    """Somebody removed the container while it was followed."""


class ContainerStuck(NightreelError):
    """The container does not end although it was stopped: its process hangs in the kernel."""


class GpuRefused(NightreelError):
    """The engine could not hand the GPU to the container."""


@dataclass(frozen=True)
class FoundContainer:
    """A container that an earlier try left. `device` is what it was given."""

    started_by: int
    is_running: bool
    device: str


@dataclass(frozen=True)
class EndedContainer:
    """How a container ended."""

    exit_code: int
    finished_at: datetime
    out_of_memory: bool


class StageContainer:
    """The one container that a task's tries share."""

    def __init__(self, client: docker.APIClient, identity: ContainerIdentity) -> None:
        self._client = client
        self._identity = identity
        self.container_id: str | None = None

    def find(self) -> FoundContainer | None:
        """The container that an earlier try left, running or ended."""
        try:
            found = self._client.inspect_container(self._identity.name)
        except NotFound:
            return None
        self.container_id = found["Id"]
        if found["State"]["Status"] == "created":
            # The earlier try died between create and start: nothing is lost with it.
            self.remove()
            return None
        labels = found["Config"]["Labels"]
        return FoundContainer(int(labels[TRY_LABEL]), bool(found["State"]["Running"]), labels[DEVICE_LABEL])

    def create(self, **configuration: Any) -> None:
        """Make it, not yet started."""
        made = self._client.create_container(name=self._identity.name, **configuration)
        self.container_id = made["Id"]

    def start(self, device: str = CPU) -> None:
        """Let it run on this device.

        Raises:
            GpuRefused: the driver or NVIDIA's container runtime did not give the GPU.
        """
        try:
            self._client.start(self.container_id)
        except APIError as error:
            if not is_refused_gpu(error.explanation or ""):
                raise
            raise self._refused(str(error.explanation)) from error
        except Timeout as error:
            if device == CPU:
                raise
            # A driver that hangs holds up the start.
            raise self._refused(f"the engine did not start the container in time ({error})") from error

    def _refused(self, said: str) -> GpuRefused:
        self.remove()
        return GpuRefused(
            f"the engine must be able to hand over the GPU: {said}; try `docker run --rm --gpus all nightreel/base:cpu "
            "true` on the host, and mend the driver or NVIDIA's container toolkit"
        )

    def follow(
        self, say: Callable[[str], None], is_given_up: Callable[[], bool], look: Callable[[], None] = lambda: None
    ) -> EndedContainer:
        """Pass its log on until it ends. `look` is called about twice a second while it runs.

        Raises:
            ContainerRemoved: it is gone.
            ContainerStuck: `is_given_up` says that it was stopped long ago, and it is still there.
        """
        reader = threading.Thread(target=self._read_log, args=(say,), daemon=True)
        reader.start()
        while reader.is_alive():
            reader.join(LOOK_EVERY_S)
            look()
            if is_given_up() and reader.is_alive():
                raise ContainerStuck(f"container {self.container_id} does not end: its process hangs in the kernel")
        try:
            exit_code = int(self._client.wait(self.container_id)["StatusCode"])
            state = self._client.inspect_container(self.container_id)["State"]
        except NotFound as error:
            raise ContainerRemoved(f"container {self.container_id} was removed before it ended") from error
        return EndedContainer(exit_code, datetime.fromisoformat(state["FinishedAt"]), bool(state["OOMKilled"]))

    def _read_log(self, say: Callable[[str], None]) -> None:
        try:
            for line in self._client.logs(self.container_id, stream=True, follow=True):
                say(line.decode(errors="replace").rstrip())
        except NotFound:
            # Told by `follow`, which asks for the exit code next.
            return

    def is_running(self) -> bool:
        """Whether it runs now. One that cannot be asked about counts as running."""
        return is_running(self._client, self._identity.name)

    def stop(self) -> None:
        """Ask it to end, then kill it; within the supervisor's window."""
        try:
            self._client.stop(self.container_id, timeout=STOP_TIMEOUT_S)
        except (NotFound, APIError, Timeout):
            return

    def remove(self) -> None:
        """Take it away, running or not. One that cannot be taken away now is left to the orphans' sweep."""
        try:
            self._client.remove_container(self.container_id, force=True)
        except (NotFound, APIError, Timeout):
            # 409: a removal is under way already. Time-out: it hangs in the kernel.
            return


def remove_container(client: docker.APIClient, identity: ContainerIdentity) -> str | None:
    """Remove the container of this name; returns its id, none when there was none."""
    container = StageContainer(client, identity)
    if container.find() is None:
        return None
    container.remove()
    return container.container_id


def is_running(client: docker.APIClient, name: str) -> bool:
    """Whether a container of this name runs. One that cannot be asked about counts as running."""
    try:
        found: Mapping[str, Any] = client.inspect_container(name)
    except NotFound:
        return False
    except (APIError, Timeout):
        return True
    return bool(found["State"]["Running"])
