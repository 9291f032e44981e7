"""The agent as a real process, with the stand-in for NVIDIA's library."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from stage_contract.gpu_health import DeviceHealth, HealthCode, HostHealth
from tests.simulation.nvml_state import STATE_FILE, STATE_VARIABLE, NvmlStateFile

REPOSITORY = Path(__file__).resolve().parents[3]
MODULES = ("images/base", "images/gpu_agent")
READ_DEADLINE_S = 1.0
XID_MEMORY_S = 2.0
PATIENCE_S = 30.0
LISTENING = re.compile(r"listening on port (\d+)")


def agent_environment(library: Path, state: Path, **extra: str) -> dict[str, str]:
    """The environment of an agent that finds the stand-in, and reads often."""
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": ":".join(str(REPOSITORY / module) for module in MODULES),
        "LD_LIBRARY_PATH": str(library.parent),
        STATE_VARIABLE: str(state / STATE_FILE),
        "NIGHTREEL_GPU_READ_EVERY_S": "0.1",
        "NIGHTREEL_GPU_READ_DEADLINE_S": str(READ_DEADLINE_S),
        "NIGHTREEL_GPU_XID_MEMORY_S": str(XID_MEMORY_S),
        **extra,
    }


@dataclass(frozen=True)
class RunningAgent:
    """An agent that answers at `url`, and the state of the GPUs that it sees."""

    url: str
    nvml: NvmlStateFile
    pid: int

    def health(self) -> HostHealth:
        """What /health says now, by the strict contract."""
        answer = httpx.get(f"{self.url}/health", timeout=5)
        assert answer.status_code == 200
        return HostHealth.model_validate_json(answer.content)

    def until(self, wanted: Callable[[HostHealth], bool], within_s: float = PATIENCE_S) -> HostHealth:
        """The first answer that is as wanted."""
        until_s = time.monotonic() + within_s
        while not wanted(health := self.health()):
            assert time.monotonic() < until_s, f"not within {within_s} s; last: {health.model_dump_json(indent=1)}"
            time.sleep(0.05)
        return health

    def until_reason(self, code: HealthCode, device_uuid: str | None = None) -> HostHealth:
        """The first answer with this reason, of a device or of the host."""
        return self.until(lambda health: code in codes(health, device_uuid))

    def until_watching(self, *gpus: str) -> None:
        """Wait until the Xid events of these GPUs are watched."""
        until_s = time.monotonic() + PATIENCE_S
        while not set(gpus) <= {labels["gpu"] for labels in self.metric("nightreel_gpu_xid_watch")}:
            assert time.monotonic() < until_s, "Xid events should be watched"
            time.sleep(0.05)

    def metrics(self) -> dict[str, list[tuple[dict[str, str], float]]]:
        """Labels and values of all samples of /metrics, by name."""
        answer = httpx.get(f"{self.url}/metrics", timeout=5)
        assert answer.status_code == 200
        samples: dict[str, list[tuple[dict[str, str], float]]] = {}
        for family in text_string_to_metric_families(answer.text):
            for sample in family.samples:
                samples.setdefault(sample.name, []).append((sample.labels, sample.value))
        return samples

    def metric(self, name: str) -> list[dict[str, str]]:
        """Labels of the samples of one metric that are not 0."""
        return [labels for labels, value in self.metrics().get(name, []) if value]


def codes(health: HostHealth, device_uuid: str | None = None) -> set[HealthCode]:
    """The codes of a device's reasons, or of the host's own."""
    reasons = health.reasons if device_uuid is None else device(health, device_uuid).reasons
    return {reason.code for reason in reasons}


def device(health: HostHealth, device_uuid: str) -> DeviceHealth:
    """One device's health."""
    return next(device for device in health.devices if device.device_uuid == device_uuid)


@contextmanager
def running_agent(environment: Mapping[str, str], nvml: NvmlStateFile, log: Path) -> Iterator[RunningAgent]:
    """An agent on a free port, until the block ends; then none of its processes may be left."""
    command = [sys.executable, "-m", "gpu_agent", "--address", "127.0.0.1", "--port", "0"]
    with log.open("w") as output:
        process = subprocess.Popen(command, env=dict(environment), stderr=output, stdout=output)
    try:
        yield RunningAgent(f"http://127.0.0.1:{_port(process, log)}", nvml, process.pid)
        process.terminate()
        assert process.wait(15) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()


def _port(process: subprocess.Popen[bytes], log: Path) -> int:
    until_s = time.monotonic() + PATIENCE_S
    while not (told := LISTENING.search(log.read_text())):
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < until_s, "the agent should listen"
        time.sleep(0.05)
    return int(told[1])
