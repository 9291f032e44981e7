"""Which container a process runs in, and the most VRAM that each container took."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gpu_agent.reading import DeviceReading
from stage_contract.gpu_health import ContainerPeak

PROC = Path("/proc")
CONTAINER_ID = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
PEAKS_KEPT_S = 3600.0


def container_in(cgroup: str) -> str | None:
    """The container that a `/proc/PID/cgroup` names, 64 hex digits; null when it names none.

    cgroup v1 has a line for each controller, v2 one: `…/docker/<id>`, `…/docker-<id>.scope`. Of containers
    within containers it is the innermost.
    """
    found = [ids[-1] for ids in map(CONTAINER_ID.findall, cgroup.splitlines()) if ids]
    return found[0] if found else None


class ContainerFinder:
    """Finds the containers of processes, and remembers them as long as the processes are listed.

    A process that just ended has no folder in /proc, and may be on its device a moment longer.
    """

    def __init__(self, proc: Path = PROC) -> None:
        self._proc = proc
        self._known: dict[int, str] = {}

    def find(self, pids: Sequence[int]) -> Mapping[int, str]:
        """Containers by process id; processes outside of containers are left out."""
        found = {}
        for pid in pids:
            try:
                container = container_in((self._proc / str(pid) / "cgroup").read_text())
            except OSError:
                container = self._known.get(pid)
            if container is not None:
                found[pid] = container
        self._known = found
        return found


@dataclass(frozen=True)
class _Peak:
    peak_mib: int
    seen_s: float


class Peaks:
    """The most that each container's processes took together, per device; kept an hour after the last sight."""

    def __init__(self) -> None:
        self._peaks: dict[tuple[str, str], _Peak] = {}

    def update(self, devices: Sequence[DeviceReading], containers: Mapping[int, str], now_s: float) -> None:
        """Take in a reading. `now_s` is monotonic."""
        for device in devices:
            for container, used_mib in _use(device, containers).items():
                key = (device.device_uuid, container)
                before = self._peaks.get(key)
                self._peaks[key] = _Peak(max(used_mib, before.peak_mib if before else 0), now_s)
        self._peaks = {key: peak for key, peak in self._peaks.items() if now_s - peak.seen_s <= PEAKS_KEPT_S}

    def told(self) -> dict[str, tuple[ContainerPeak, ...]]:
        """Peaks by device."""
        told: dict[str, tuple[ContainerPeak, ...]] = {}
        for (device, container), peak in self._peaks.items():
            told[device] = (*told.get(device, ()), ContainerPeak(container_id=container, peak_mib=peak.peak_mib))
        return told


def _use(device: DeviceReading, containers: Mapping[int, str]) -> dict[str, int]:
    use: dict[str, int] = {}
    for process in device.processes:
        container = containers.get(process.pid)
        if container is not None and process.used_mib is not None:
            use[container] = use.get(container, 0) + process.used_mib
    return use
