"""Looks at the host again and again, and holds the last result for whoever asks."""

import logging
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime

from gpu_agent.child import Stuck
from gpu_agent.containers import ContainerFinder, Peaks
from gpu_agent.errors import DevicesTakenAway
from gpu_agent.host_reader import HostReader
from gpu_agent.news import verdict_changes
from gpu_agent.reading import DeviceReading, SystemReading
from gpu_agent.settings import AgentSettings
from gpu_agent.verdict import History, expected_devices, judge
from gpu_agent.xid_watch import XidWatch
from gpu_agent.xids import XidLog
from stage_contract.gpu_health import HealthVerdict, HostHealth, XidSeverity

UNKNOWN_ERROR = 999

log = logging.getLogger("gpu_agent")


@dataclass(frozen=True)
class Observation:
    """The host's health, and how reading it went. `xid_counts` are by GPU, since the agent's start."""

    health: HostHealth
    read_s: float
    reads: int
    hangs: int
    watched_gpus: frozenset[str]
    xid_counts: dict[tuple[str, XidSeverity], int]


class Observer:
    """Reads NVML, maps processes to containers, and judges. One thread looks; any may ask for `last`."""

    def __init__(self, settings: AgentSettings) -> None:
        self._settings = settings
        self._stuck = Stuck()
        self._reader = HostReader(settings.read_deadline_s, self._stuck)
        self._xids = XidLog()
        self._watch = XidWatch(self._xids, self._stuck)
        self._finder = ContainerFinder()
        self._peaks = Peaks()
        self._known: dict[str, DeviceReading] = {}
        self._reads = 0
        self._unknown_since_s: float | None = None
        self.last: Observation | None = None

    def run(self, ending: threading.Event) -> None:
        """Look at the host until `ending` is set.

        Raises:
            DevicesTakenAway: NVML's start has answered 999 for as long as is waited.
        """
        self._tell(None, self.look().health)
        self._watch.start()
        try:
            while not ending.is_set():
                started_s = time.monotonic()
                before = self.last
                self._tell(before.health if before else None, self.look().health)
                self._require_devices()
                ending.wait(max(0.0, started_s + self._settings.read_every_s - time.monotonic()))
        finally:
            self._watch.stop()
            self.close()

    def look(self) -> Observation:
        """Look once. Takes a second at most while NVML answers, and a few read deadlines while it hangs."""
        started_s = time.monotonic()
        reading = self._reader.read()
        now_s = time.monotonic()
        self._note_start(reading.system, now_s)
        self._watch.follow(reading.gpu_uuids)
        pids = sorted({process.pid for device in reading.devices for process in device.processes})
        containers = self._finder.find(pids)
        self._peaks.update(reading.devices, containers, now_s)
        history = History(self._known, self._xids.records(now_s), self._peaks.told(), containers)
        health = judge(reading, history, datetime.now(UTC), self._settings.xid_memory_s)
        self._known = expected_devices(reading, self._known)
        self._reads += 1
        self.last = Observation(
            health=health,
            read_s=now_s - started_s,
            reads=self._reads,
            hangs=self._reader.hangs,
            watched_gpus=self._watch.watched,
            xid_counts=self._xids.counts(),
        )
        return self.last

    def _tell(self, before: HostHealth | None, after: HostHealth) -> None:
        for verdict, line in verdict_changes(before, after):
            log.log(logging.INFO if verdict is HealthVerdict.HEALTHY else logging.WARNING, "%s", line)

    def _note_start(self, system: SystemReading, now_s: float) -> None:
        if system.fault is None or system.fault.code != UNKNOWN_ERROR:
            self._unknown_since_s = None
        elif self._unknown_since_s is None:
            self._unknown_since_s = now_s

    def _require_devices(self) -> None:
        # `systemctl daemon-reload` takes a running container's devices away, for good: NVML answers 999 from then on.
        # https://github.com/NVIDIA/nvidia-container-toolkit/issues/48
        if self._unknown_since_s is None:
            return
        lasted_s = time.monotonic() - self._unknown_since_s
        if lasted_s >= self._settings.unknown_error_s:
            raise DevicesTakenAway(
                f"NVML's start must not answer {UNKNOWN_ERROR} for {self._settings.unknown_error_s:g} s: it has for "
                f"{lasted_s:.0f} s; this container may have lost its devices, so the agent ends: Docker starts it "
                "anew, with its devices"
            )

    def close(self) -> None:
        """End the reading child."""
        self._reader.close()
