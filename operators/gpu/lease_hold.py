"""A leased device while a container computes on it: the lease is renewed, and the device is watched."""

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

import docker
from docker.errors import DockerException
from requests.exceptions import RequestException
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from operators.device_hold import DeviceHold
from operators.gpu.agent_client import ask_agent
from operators.gpu.breaker import Breaker
from operators.gpu.breaker_store import fail, observe, succeed
from operators.gpu.configuration import GpuConfiguration
from operators.gpu.lease import Grant, LeaseLost, LeaseRequest, reclaim, release, renew
from operators.stage_container import StageContainer, is_running
from operators.stage_plan import Action, AttemptOutcome, Verdict
from stage_contract.gpu_health import HostHealth
from stage_contract.vocabulary import DeviceFault

RENEW_EVERY_S = 4.0
# After a container was stopped: what its process needs to end, unless it hangs in the driver.
END_WITHIN_S = 20.0
WORKED = {AttemptOutcome.DONE, AttemptOutcome.REJECTED, AttemptOutcome.STEPPED_ASIDE}
DEVICE_FAULTS = {DeviceFault.BROKEN, DeviceFault.UNSUITABLE}

log = logging.getLogger(__name__)


class LeasedDevice(DeviceHold):
    """A device under a lease, and what the end of its work says of it."""

    def __init__(self, database: Engine, configuration: GpuConfiguration, device: str, lease_id: int) -> None:
        self.device = device
        self.lease_id = lease_id
        self._database = database
        self._configuration = configuration

    def conclude(self, verdict: Verdict, fault: DeviceFault | None) -> None:
        """Tell the device's breaker what the container's end says of the device."""
        if fault in DEVICE_FAULTS:
            fail(self._database, self.device, verdict.message, self.lease_id, self._configuration.breaker_wait_s)
        elif verdict.outcome in WORKED:
            succeed(self._database, self.device, self.lease_id)


class LeaseHold(LeasedDevice):
    """Holds a granted lease until the block ends. Loses it when the device's breaker opens.

    `stop` ends a container on purpose; it is called from the watching thread.
    """

    def __init__(
        self,
        database: Engine,
        configuration: GpuConfiguration,
        grant: Grant,
        request: LeaseRequest,
        stop: Callable[[StageContainer], None],
    ) -> None:
        super().__init__(database, configuration, grant.device_uuid, grant.lease_id)
        self.need_mib = request.need_mib
        self.batch_size = request.batch_size
        self._stop = stop
        self._container: StageContainer | None = None
        self._lost: Verdict | None = None
        self._lost_at_s = 0.0
        self._ended = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="lease", daemon=True)

    def __enter__(self) -> Self:
        self._watcher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._watcher.join()
        if self._container and self._container.is_running():
            log.warning("The lease on %s stays until container %s has ended", self.device, self._container.container_id)
            return
        # What it took in its last moments counts too: running out of memory is the end of a container.
        with contextlib.suppress(LeaseLost):
            self._renew(ask_agent(self._configuration.agent_url))
        release(self._database, self.lease_id)

    @property
    def lost(self) -> Verdict | None:
        """The verdict on the task when the device may not be used any more; none while it may."""
        return self._lost

    @property
    def is_given_up(self) -> bool:
        """Whether the container was stopped for a lost device, and has had its time to end."""
        return self._lost is not None and time.monotonic() - self._lost_at_s > END_WITHIN_S

    def attend(self, container: StageContainer) -> None:
        """This container is about to start, or runs already: the lease lasts as long as it does."""
        self._container = container

    def confirm(self) -> None:
        """The container runs: what it takes of the device is ours from now on."""
        self._look_in_peace()
        if self._lost and self._container:
            self._stop(self._container)

    def _watch(self) -> None:
        while not self._ended.wait(RENEW_EVERY_S):
            self._look_in_peace()

    def _look_in_peace(self) -> None:
        try:
            self._look()
            with docker.APIClient() as engine:
                reclaim(self._database, lambda name: is_running(engine, name))
        except (SQLAlchemyError, DockerException, RequestException, OSError) as error:
            # While our container runs nobody takes the lease away, so it can wait for whoever is away.
            log.warning("The lease on %s could not be looked after, and will be again: %s", self.device, error)

    def _look(self) -> None:
        """Renew the lease, and stop the container when the device may not be used any more."""
        if self._lost:
            return
        health = ask_agent(self._configuration.agent_url)
        observe(self._database, health, self._configuration.breaker_wait_s)
        try:
            breaker = self._renew(health)
        except LeaseLost as error:
            self._lose(Verdict(Action.RETRY, AttemptOutcome.TRANSIENT, str(error)))
            return
        if not breaker.allows(self.lease_id):
            reason = f"the breaker of {self.device} opened ({breaker.changed_by}): {breaker.reason}"
            told = f"{reason}; finished items are kept, the rest goes to the CPU"
            self._lose(Verdict(Action.FAIL, AttemptOutcome.DEVICE_FAILED, told))

    def _renew(self, health: HostHealth) -> Breaker:
        container_id = self._container.container_id if self._container else None
        return renew(self._database, self.lease_id, container_id, _peak_mib(health, self.device, container_id))

    def _lose(self, verdict: Verdict) -> None:
        log.error("Stopping the container: %s", verdict.message)
        self._lost_at_s = time.monotonic()
        self._lost = verdict
        if self._container:
            self._stop(self._container)


def _peak_mib(health: HostHealth, device_uuid: str, container_id: str | None) -> int | None:
    """The most VRAM that the container was seen to take."""
    peaks = (peak for device in health.devices if device.device_uuid == device_uuid for peak in device.peaks)
    return next((peak.peak_mib for peak in peaks if peak.container_id == container_id), None)
