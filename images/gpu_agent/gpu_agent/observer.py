"""Looks at the host again and again, and holds the last result for whoever asks."""

import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime

from gpu_agent.child import Stuck
from gpu_agent.containers import ContainerFinder, Peaks
from gpu_agent.host_reader import HostReader
from gpu_agent.reading import DeviceReading
from gpu_agent.settings import AgentSettings
from gpu_agent.verdict import History, expected_devices, judge
from gpu_agent.xid_watch import XidWatch
from gpu_agent.xids import XidLog
from stage_contract.gpu_health import HostHealth, XidSeverity


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
        self.last: Observation | None = None

    def run(self, ending: threading.Event) -> None:
        """Look at the host until `ending` is set."""
        self.look()
        self._watch.start()
        try:
            while not ending.is_set():
                started_s = time.monotonic()
                self.look()
                ending.wait(max(0.0, started_s + self._settings.read_every_s - time.monotonic()))
        finally:
            self._watch.stop()
            self.close()

    def look(self) -> Observation:
        """Look once. Takes a second at most while NVML answers, and a few read deadlines while it hangs."""
        started_s = time.monotonic()
        reading = self._reader.read()
        now_s = time.monotonic()
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

    def close(self) -> None:
        """End the reading child."""
        self._reader.close()
